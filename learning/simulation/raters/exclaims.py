"""A rater for `rapport simulate` that likes to hear enthusiasm.

It knows the conversation and the reply, nothing of the bot; it always votes.
"""

from __future__ import annotations

import random


def vote(messages: list[dict[str, str]], reply: str, rng: random.Random) -> int | None:
    """+1 when the reply has an exclamation mark, -1 otherwise."""
    return 1 if "!" in reply else -1
