"""Tells which of several replies people would like best, for versions that have learned it.

A version that has learned from votes what is liked brings a head (`learning.taste.kept`). An
engine around the engine reads it when the version is loaded and forgets it with the version; who
draws several replies (`bot.engine.choosing`) asks it for the version's ranker. What a head was
fitted on, and whether choosing helps, is not known here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bot.engine.base import Around, Delta, Engine, Ranker, Request
from learning.taste.features import Looks, dimensions
from learning.taste.head import Head
from learning.taste.kept import read_head


@dataclass(frozen=True, slots=True)
class Taste:
    """A ranker that goes by a head."""

    head: Head
    looks: Looks
    log_probs: ClassVar[bool] = False

    async def scores(self, request: Request, replies: Sequence[Delta]) -> Sequence[float]:
        """How well each would be liked, as the head tells."""
        features = await self.looks.at([(request.prompt_ids, one.ids) for one in replies])
        return [float(one) for one in self.head.score(features)]


class Liked(Around):
    """An engine around an engine that knows what people would like of its versions' replies."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._looks = Looks(engine)
        self._heads: dict[str, Head] = {}

    def ranker(self, adapter: str) -> Taste | None:
        """What this version's replies are told apart by, if it has learned that."""
        head = self._heads.get(adapter)
        return Taste(head, self._looks) if head is not None else None

    async def load(self, name: str, folder: Path) -> None:
        """Make a checkpoint servable, with its head where it has one; see `Engine.load`."""
        head = await asyncio.to_thread(read_head, folder, dimensions(self.info.hidden))
        await super().load(name, folder)
        if head is not None:
            self._heads[name] = head

    async def unload(self, name: str) -> None:
        """Forget an adapter once its last reply has ended; see `Engine.unload`."""
        self._heads.pop(name, None)
        await super().unload(name)


if TYPE_CHECKING:

    def _keeps_the_protocol(ranker: Taste) -> Ranker:
        return ranker
