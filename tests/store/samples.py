"""Values to put into a store, with every field different from its default."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from bot.types import ChannelKey, Exchange, Message, Sampling, Timings, Turn, Vote, VoteValue

NOW = datetime(2026, 11, 21, 18, 30, 0, 123456, tzinfo=UTC)
HERE = ChannelKey("console", "local", "general")
THERE = ChannelKey("console", "local", "random")


def later(seconds: float) -> datetime:
    """So many seconds after `NOW`."""
    return NOW + timedelta(seconds=seconds)


def message(number: int, channel: ChannelKey = HERE, **changes: Any) -> Message:
    """The message `m<number>` of ann."""
    fields: dict[str, Any] = {
        "channel": channel,
        "author": "ann",
        "text": f"question {number} 🙂",
        "platform_id": f"m{number}",
        "time": NOW,
        "author_name": "Ann",
        "private": True,
    }
    return Message(**(fields | changes))


def exchange(channel: ChannelKey = HERE, **changes: Any) -> Exchange:
    """An exchange with everything in it."""
    fields: dict[str, Any] = {
        "channel": channel,
        "asker": "ann",
        "authors": ("bob", "ann"),
        "prompt": (Turn("system", "Be kind."), Turn("user", "hi\n\x00 é 🙂")),
        "prompt_ids": (0, 1, 65_536, 2**32 - 1),
        "reply_ids": (7, 2),
        "reply": "hello",
        "finish": "length",
        "adapter": "v0001",
        "base": "fingerprint",
        "sampling": Sampling(
            0.5, 7, 0.9, 1.3, 60, 42, 0.1, 4, ((5,), (6, 7)), ((8, -1.5),), ("\nUser:", "🙂")
        ),
        "timings": Timings(0.1, 0.2, 0.3, 4, 2, 2),
        "time": NOW,
        "private": True,
        "platform_ids": (),
        "examples": (3, 4),
    }
    return Exchange(**(fields | changes))


def vote(exchange_id: int, rater: str = "bob", value: VoteValue = 1, seconds: float = 0.0) -> Vote:
    """A vote given so many seconds after `NOW`."""
    return Vote(exchange_id, rater, value, "reaction", later(seconds))
