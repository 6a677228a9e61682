"""Turn-taking: one at a time in a channel, first come first served.

Knows nothing of what is done in a turn. A channel costs memory only while somebody is in it
or waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from bot.types import ChannelKey


@dataclass(slots=True)
class _Gate:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Turns:
    """The channels in which somebody is, or waits for, a turn."""

    def __init__(self) -> None:
        self._gates: dict[ChannelKey, _Gate] = {}

    @asynccontextmanager
    async def turn(self, channel: ChannelKey) -> AsyncIterator[None]:
        """A turn in the channel, once everybody who came before has had theirs."""
        gate = self._gates.setdefault(channel, _Gate())
        gate.users += 1
        try:
            async with gate.lock:
                yield
        finally:
            gate.users -= 1
            if not gate.users:
                del self._gates[channel]

    def others_wait(self, channel: ChannelKey) -> bool:
        """Whether somebody waits behind the one whose turn it is."""
        gate = self._gates.get(channel)
        return gate is not None and gate.users > 1
