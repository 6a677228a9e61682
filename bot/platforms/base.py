"""What a platform is: a place where people write, and that can show what comes back.

A platform turns its own events into three things: a `Message` for `Conversation.respond`,
a `Command` for `Commands.run`, and votes for `Conversation.vote`. It renders three things:
the events of a reply as they come, the blocks of an answer, and notices. Everything else
(admission, order, history, powers, learning) is decided elsewhere, once for all of them.

`platform_id` of a message is whatever the platform redelivers it under, so that a second
delivery is known; the ids of a posted reply go to `Conversation.posted`, so that a
reaction finds its exchange.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

NoticeKind = Literal["progress", "verdict", "swap", "learning", "problem"]


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the bot does by itself that its operators want to see."""

    kind: NoticeKind
    text: str
    """One sentence."""
    share: float | None = None
    """How much of the work is done, from 0 to 1, for ``progress``."""
    run: int | None = None
    """The run that this is about."""
    last: bool = False
    """Whether the run that this is about has ended with it."""
    adapter: str = ""
    """The version that this is about."""


Listener = Callable[[Notice], None]
"""Called on the event loop; returns at once."""


class Platform(Protocol):
    """One place to talk; `bot.app` runs it until it returns or is cancelled."""

    name: str
    """The first part of its `ChannelKey`s, such as ``console`` or ``discord``."""

    async def run(self) -> None:
        """Serve until the platform's people have left or the task is cancelled."""

    def notice(self, notice: Notice) -> None:
        """Show a notice to the operators, now or when there is room; never blocks."""

    def waits_for(self) -> str:
        """What it still waits for before it can talk, in a few words; empty once connected."""
