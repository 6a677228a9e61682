"""Turn-taking: one at a time in a place, first come first served.

A place is whatever has a name: a channel, a message. Knows nothing of what is done in a turn.
A place costs memory only while somebody is in it or waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Gate:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Turns:
    """The places in which somebody is, or waits for, a turn."""

    def __init__(self) -> None:
        self._gates: dict[Hashable, _Gate] = {}

    @asynccontextmanager
    async def turn(self, place: Hashable) -> AsyncIterator[None]:
        """A turn in the place, once everybody who came before has had theirs."""
        gate = self._gates.setdefault(place, _Gate())
        gate.users += 1
        try:
            async with gate.lock:
                yield
        finally:
            gate.users -= 1
            if not gate.users:
                del self._gates[place]

    def others_wait(self, place: Hashable) -> bool:
        """Whether somebody waits behind the one whose turn it is."""
        gate = self._gates.get(place)
        return gate is not None and gate.users > 1
