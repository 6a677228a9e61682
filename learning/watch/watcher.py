"""Watches a version from its promotion until it has shown itself, and takes it back if it fails.

It reads what the store knows of the version and of the one before it, asks
`learning.watch.comparison` whether that is a loss and `learning.watch.health` whether it is an
illness, and says what follows: roll back, or let all channels follow. Nobody who votes or talks
waits for it: they leave a note, and `run` looks.

Nothing of its own is stored. A version is watched while it serves for the first time: the
table of champions tells since when and after which one, an event that the watch has ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.config import WatchConfig
from bot.errors import EngineClosed, LearningError, RapportError
from bot.learning_port import EventKind
from bot.likerate import like_rate
from bot.store import Said, Store
from bot.types import BASE, FinishReason, Vote
from learning.announcements import Announcements
from learning.serving import Serving, called
from learning.watch.comparison import rated_otherwise, worse
from learning.watch.health import BEFORE, Health, is_sick

log = logging.getLogger(__name__)

LATELY = 2000
"""How far back among all replies one looks for how they ended and how many were rated."""
COUNTED = timedelta(hours=1)
"""The time in which a reply must be rated to count as rated, the same for both versions."""
OFTEN = 20
"""Replies of the version between two looks at how many are rated."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A version that is watched."""

    name: str
    before: str
    """The version that it took the place of."""
    since: datetime
    record: Sequence[Vote]
    """The votes that hold for what that version said until then."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The votes at one look."""

    watched: Watched
    now: Sequence[Vote]
    live: Sequence[Vote]
    """Those on the version before, in the channels that have stayed on it."""

    def sentence(self, *, live: bool = False) -> str:
        """The numbers, against the record or against the channels that stayed."""
        now, old = _counted(self.now), _counted(self.live if live else self.watched.record)
        where = f"where {called(self.watched.before)} went on" if live else "before"
        return f"{now} liked against {old} {where}"


class Watcher:
    """Watches what serves.

    Args:
        clock: the time, with a time zone.
    """

    def __init__(
        self, store: Store, serving: Serving, announcements: Announcements,
        config: WatchConfig, clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._serving = serving
        self._announcements = announcements
        self._config = config
        self._clock = clock
        self._watched: Watched | None = None
        self._known = ""
        """The champion when `_watched` was settled."""
        self._votes: dict[str, list[Vote]] | None = None
        """Those that hold for what versions said while it is watched; None before a look."""
        self._voted_on: list[int] = []
        """Exchanges whose votes have changed since those were read."""
        self._reading = asyncio.Lock()
        self._health = Health()
        self._unheeded = 0
        """Replies of the champion since ratings were last compared."""
        self._wake = asyncio.Event()

    async def recover(self) -> None:
        """At start: go on watching, with the same channels on the version before."""
        async with self._reading:
            watched = await self._settle()
        names = {self._serving.champion} | ({watched.before} if watched else set())
        for name in names:
            for end in await self._store.last_ends(name, self._serving.base, BEFORE, LATELY):
                self._health.note(name, is_sick(end.finish, end.text, end.ids))
        self._wake.set()

    def voted(self, exchange_id: int) -> None:
        """Take note that a vote was given, changed or taken back."""
        self._voted_on.append(exchange_id)
        self._wake.set()

    def replied(
        self, adapter: str, finish: FinishReason, text: str, ids: Sequence[int]
    ) -> None:
        """Take note of how a reply ended."""
        sick = is_sick(finish, text, ids)
        self._health.note(adapter, sick)
        self._unheeded += adapter == self._serving.champion
        if sick or self._unheeded % OFTEN == 0:
            self._wake.set()

    def forget(self) -> None:
        """Take note that votes were deleted: nothing of them is kept here."""
        self._known = ""

    async def run(self) -> None:
        """Look whenever there is something new, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.look()
            except EngineClosed:
                return
            except RapportError as error:
                log.warning("the watch goes on at the next vote: %s", error)
            except Exception:  # the job border: what serves must not end with its watch
                log.exception("a look at %s failed", self._serving.champion)

    async def look(self) -> None:
        """Decide whether the version goes on, and for how long it is watched."""
        seen = await self._look_at_votes()
        if seen is None:
            return
        watched = seen.watched
        if self._health.ill(watched.name, watched.before, self._config.sick):
            why = self._health.sentence(watched.name, watched.before)
            await self._take_back(watched, why)
            return
        lost = await asyncio.to_thread(
            worse, watched.record, seen.live, seen.now, self._config.error
        )
        if lost:
            await self._take_back(watched, seen.sentence(live=lost == "live"))
            return
        await self._tell_ratings(watched)
        days = self._clock() - watched.since >= timedelta(days=self._config.days)
        if days or len(seen.now) >= self._config.votes:
            await self._announcements.tell(
                "watched", f"{watched.name} was watched and goes on: {seen.sentence()}",
                adapter=watched.name,
            )
            self.forget()
            await self._look_at_votes()

    async def sentence(self) -> str:
        """How the version that is watched is doing; empty when none is."""
        seen = await self._look_at_votes()
        return "" if seen is None else f"{seen.watched.name} is watched: {seen.sentence()}"

    async def _look_at_votes(self) -> Seen | None:
        """The votes on what is watched now; of those known before, only changed ones are read."""
        async with self._reading:
            watched = await self._settle()
            changed = list(self._voted_on)
            if watched is not None and (changed or self._votes is None):
                on = None if self._votes is None else changed
                read = await self._store.votes_since(self._serving.base, watched.since, on)
                self._votes = _merged(self._votes or {}, changed, read)
            del self._voted_on[: len(changed)]  # what was voted on meanwhile is read next time
            if watched is None or self._votes is None:
                return None
            now, live = (self._votes.get(name, []) for name in (watched.name, watched.before))
            return Seen(watched, now, live)

    async def _settle(self) -> Watched | None:
        """What is watched now."""
        name = self._serving.champion
        if name == self._known:
            return self._watched
        watched = await self._begin(name)
        await self._serving.stay(name, None if watched is None else watched.before)
        self._watched, self._known, self._votes = watched, name, None
        self._unheeded = OFTEN
        return watched

    async def _begin(self, name: str) -> Watched | None:
        champions = await self._store.champions()
        times = [time for one, _, time in champions if one == name]
        if not self._config.enabled or name == BASE or len(times) != 1:
            return None
        (since,) = times
        days = self._clock() - since >= timedelta(days=self._config.days)
        if days or await self._told("watched", name):
            return None
        before = self._serving.line[-2] if len(self._serving.line) > 1 else BASE
        record = await self._store.votes_before(before, self._serving.base, since)
        return Watched(name, before, since, record)

    async def _take_back(self, watched: Watched, why: str) -> None:
        try:
            await self._serving.rollback(None, of=watched.name, why=why)
        except LearningError as error:  # an operator was faster
            log.info("%s is not rolled back: %s", watched.name, error)
        await self._look_at_votes()

    async def _tell_ratings(self, watched: Watched) -> None:
        """Tell operators, once, that replies are rated more or less often than before."""
        if self._unheeded < OFTEN:
            return
        self._unheeded = 0
        if await self._told("drift", watched.name):
            return
        said = await self._store.last_said(self._serving.base, LATELY)
        until = self._clock() - COUNTED
        old = _rated(one for one in said if one.adapter == watched.before and one.time <= until)
        new = _rated(one for one in said if one.adapter == watched.name and one.time <= until)
        if rated_otherwise(old, new) >= 1 / self._config.error:
            more = "more" if new[0] * old[1] > old[0] * new[1] else "less"
            await self._announcements.tell(
                "drift",
                f"{watched.name} is rated {more} often: {new[0]} of {new[1]} replies within an "
                f"hour, against {old[0]} of {old[1]} before",
                adapter=watched.name,
            )

    async def _told(self, kind: EventKind, name: str) -> bool:
        return any(event.data.get("adapter") == name for event in await self._store.events(kind))


def _merged(
    known: dict[str, list[Vote]], changed: Sequence[int], read: dict[str, list[Vote]]
) -> dict[str, list[Vote]]:
    """Votes by version, those on changed exchanges as they were just read."""
    old = set(changed)
    return {
        name: [one for one in known.get(name, []) if one.exchange_id not in old]
        + read.get(name, [])
        for name in {*known, *read}
    }


def _counted(votes: Iterable[Vote]) -> str:
    rate = like_rate(vote.value for vote in votes)
    return f"{rate.likes} of {rate.rated}"


def _rated(said: Iterable[Said]) -> tuple[int, int]:
    """How many replies were rated in the time that counts, and how many there were."""
    times = [(one.time, one.rated) for one in said]
    rated = [at for time, at in times if at is not None and at - time <= COUNTED]
    return len(rated), len(times)
