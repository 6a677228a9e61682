"""What people are told where there is no reply, or less than a whole one.

Words only: when each is said is the knowledge of whoever asked for the reply.
"""

from __future__ import annotations

from bot.errors import Busy, PromptTooLong
from bot.moderation import Withheld
from bot.types import FinishReason

SHORTENED = "That was more than I can read at once; I read the beginning."
NOTHING_SAID = "I have no words for that just now; ask me again, or differently."
WITHHELD = "I would rather not say what came to my mind. Ask me something else."
FAILED = "Something went wrong while I was answering; please try again."
EXPIRED = "So many people are talking to me that I did not get round to this. Please ask me again."
CUT = "I ran out of time and stopped here."


def refused(refusal: Busy | PromptTooLong | Withheld) -> str:
    """What is said where the model was not asked, or must not be heard."""
    if isinstance(refusal, Withheld):
        return WITHHELD
    if isinstance(refusal, PromptTooLong):
        return f"I cannot read that: {refusal}"
    seconds = max(1, round(refusal.estimate))
    return (
        "Many people are talking to me just now. Please ask me again in about "
        f"{seconds} second{'' if seconds == 1 else 's'}."
    )


def shown(text: str, finish: FinishReason) -> tuple[str, str]:
    """What is shown of a reply that ended so, and what is said about it besides."""
    if finish == "expired":
        return EXPIRED, ""
    if finish == "error":
        return text, FAILED
    return text if text.strip() else NOTHING_SAID, CUT if finish == "timeout" else ""
