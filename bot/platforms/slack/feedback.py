"""👍 and 👎 as buttons under a reply.

The exchange stands in the button's value, so that nothing has to be remembered; whether it
belongs to the conversation is looked up again when it is pressed. Pure: it makes the block,
and reads what Slack tells of a press.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from bot.platforms.slack.incoming import channel_key, thread_of
from bot.types import ChannelKey, VoteValue

ACTION = "rapport_vote"
_VALUE = re.compile(r"(up|down):([0-9]{1,15})")


@dataclass(frozen=True, slots=True)
class Press:
    """A button that somebody pressed."""

    channel: ChannelKey
    exchange: int
    person: str
    value: VoteValue


def feedback(exchange: int) -> dict[str, Any]:
    """Both buttons of a reply, as a block."""
    return {
        "type": "context_actions",
        "elements": [{
            "type": "feedback_buttons",
            "action_id": ACTION,
            "positive_button": _button("up", exchange, "Good", "This reply was good"),
            "negative_button": _button("down", exchange, "Bad", "This reply was bad"),
        }],
    }


def pressed(body: dict[str, Any], team: str) -> Press | None:
    """The vote that a press is; None where it makes no sense."""
    place = body.get("container") or {}
    message = body.get("message") or {"ts": place.get("message_ts"), **place}
    found = _VALUE.fullmatch(str(body["actions"][0].get("value", "")))
    if found is None or not place.get("channel_id"):
        return None
    key = channel_key(team, place["channel_id"], thread_of(message))
    return Press(key, int(found[2]), body["user"]["id"], 1 if found[1] == "up" else -1)


def _button(sign: str, exchange: int, text: str, label: str) -> dict[str, Any]:
    return {
        "text": {"type": "plain_text", "text": text},
        "value": f"{sign}:{exchange}",
        "accessibility_label": label,
    }
