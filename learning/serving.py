"""Which version answers: champion, tries of single channels, roll-back, and what is loaded.

It knows nothing of votes, training or verdicts. The store says who is champion, the
registry which versions are whole, the engine holds them; here the three are kept in
agreement. A swap is: loaded, then durable in the store, then a pointer in memory. New
replies ask `current` and start on the new version; running ones finish on theirs. The
champion before this one stays loaded while slots allow, so that going back is at once. While
a new champion is watched (by whom is not known here), a share of the channels stays on it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from bot.engine.base import Engine
from bot.errors import AdapterError, LearningError
from bot.store import Store
from bot.types import BASE, LOCAL, AdapterRef, ChannelKey
from learning.announcements import Announcements
from learning.registry import Registry

log = logging.getLogger(__name__)

TRIABLE = ("champion", "retired", "shadow", "waiting")


class Serving:
    """The versions of one engine.

    Args:
        slots: how many adapters the engine can hold besides the base.
        share: of the channels stays on the champion before while a new one is watched.
    """

    def __init__(
        self,
        engine: Engine,
        store: Store,
        registry: Registry,
        announcements: Announcements,
        slots: int,
        clock: Callable[[], datetime],
        share: float = 0.0,
    ) -> None:
        self._engine = engine
        self._store = store
        self._registry = registry
        self._announcements = announcements
        self._slots = slots
        self._clock = clock
        self._share = share
        self._lock = asyncio.Lock()
        self._held: set[str] = set()
        self.champion = BASE
        self.line: list[str] = []
        """Champions that led to the one that serves, which is last; roll-backs cut it."""
        self.tries: dict[ChannelKey, str] = {}
        self.before: str | None = None
        """The champion before this one while channels stay on it."""

    @property
    def base(self) -> str:
        """Fingerprint of the model that runs."""
        return self._engine.info.fingerprint

    def current(self, channel: ChannelKey) -> str:
        """The adapter for a new reply in `channel`."""
        if channel in self.tries:
            return self.tries[channel]
        if self.before is not None and stays(channel, self.champion, self._share):
            return self.before
        return self.champion

    async def stay(self, champion: str, before: str | None) -> None:
        """While `champion` serves, let the share of channels stay on `before`; with None nobody.

        Where `before` cannot be loaded, all follow as well.
        """
        async with self._lock:
            if self.champion != champion:
                return
            try:
                if before is not None:
                    await self._load(before)
            except (AdapterError, LearningError) as error:
                log.info("no channel stays on %s: %s", before, error)
                before = None
            self.before = before if self._share else None

    async def recover(self) -> None:
        """At start: bring engine, disk and store into agreement.

        A champion that is missing, damaged, of another base or of a higher rank than
        `engine.adapter_rank` is replaced by the newest good one before it, or by the base, and
        the operators are told. What is only of another base or rank is kept, not served.
        """
        async with self._lock:
            name = await self._store.champion()
            self.line = lineage(name for name, _, _ in await self._store.champions())
            try:
                await self._load(name)
                self.champion = name
            except AdapterError as error:
                await self._fall_back(name, str(error))
            for channel, tried in (await self._store.channel_adapters()).items():
                try:
                    await self._load(tried)
                    self.tries[channel] = tried
                except (AdapterError, LearningError) as error:
                    await self._store.set_channel_adapter(channel, None)
                    await self._announcements.tell(
                        "fallback", f"{channel} no longer tries {tried}: {error}", adapter=tried
                    )

    async def _fall_back(self, name: str, reason: str) -> None:
        goal = await self._good_before()
        text = f"{name} cannot serve ({reason}); {called(goal)} serves instead"
        await self._swap(goal, text)
        if await asyncio.to_thread(self._damaged, name):
            await self._store.set_adapter_status(name, "broken")
        await self._announcements.tell("fallback", text, adapter=goal)

    async def hold(self, name: str) -> None:
        """Load a version so that it can be judged; until `release` it keeps its slot."""
        async with self._lock:
            await self._load(name)
            self._held.add(name)

    @asynccontextmanager
    async def lent(self, name: str, folder: Path) -> AsyncIterator[None]:
        """A slot for what is no version and never serves, for as long as the context lasts."""
        async with self._lock:
            await self._make_room()
            await self._engine.load(name, folder)
            self._held.add(name)
        try:
            yield
        finally:
            await self.release(name)

    async def release(self, name: str) -> None:
        """End `hold`; a version that serves nowhere leaves the engine."""
        async with self._lock:
            self._held.discard(name)
            await self._let_go(name)

    async def promoted(self, name: str) -> bool:
        """Whether a version has ever been champion."""
        return name in {one for one, _, _ in await self._store.champions()}

    async def promote(self, name: str, reason: str, *, over: str) -> bool:
        """Let a version serve everywhere, if `over` is still champion; False if it is not."""
        async with self._lock:
            if self.champion != over:
                return False
            await self._load(name)
            await self._swap(name, reason)
            self.before = over if self._share else None
        return True

    async def rollback(self, to: str | None, *, of: str | None = None, why: str = "") -> str:
        """Serve the champion before this one, or `to`; returns the name that serves now.

        Args:
            of: the version to roll back from, where no other is meant.
            why: the numbers that speak for it.

        Raises:
            AdapterError: `to` is unknown, damaged or of another base.
            LearningError: nothing to go back to, `to` never was champion, or `of` no longer is.
        """
        async with self._lock:
            before = self.champion
            if of not in (None, before):
                raise LearningError(f"{called(before)} is serving, and no longer {of}")
            if to == before or (to is None and before == BASE):
                raise LearningError(f"{called(before)} is serving; there is nothing to roll back")
            if to is None:
                to = await self._good_before()
            elif to != BASE:
                ref = await self._known(to)
                if not await self.promoted(to):
                    raise LearningError(
                        f"{to} is {ref.status} and never was champion; try it in one channel first"
                    )
                await self._load(to)
            because = f": {why}" if why else ""
            await self._swap(to, f"rolled back from {called(before)}{because}")
            text = f"rolled back from {called(before)} to {called(to)}{because}"
            await self._announcements.tell("rolled_back", text, adapter=to)
            return to

    async def forget(self, exchanges: Collection[int]) -> list[str]:
        """Let no version serve that was trained on any of these; gives their names.

        Replies they are in the middle of are finished first. Their files are removed, so
        that nothing can bring them back; the newest champion that is left serves, or the base.
        Replies of theirs that verdicts hold as samples are wiped.
        """
        async with self._lock:
            gone = await asyncio.to_thread(self._registry.trained_on, exchanges)
            known = {ref.name for ref in await self._store.adapters()}
            if exchanges:
                untold = await asyncio.to_thread(self._untold, known)
                await self._store.wipe_samples({*gone, *untold})
            if self.champion in gone:
                name = self.champion
                goal = await self._good_before(gone)
                text = f"words {name} was trained on were deleted; {called(goal)} serves instead"
                await self._swap(goal, text)
                await self._announcements.tell("fallback", text, adapter=goal)
            if self.before in gone:
                self.before = None
            await self._end_tries(gone, "words in it were deleted")
            for name in gone:
                self._held.discard(name)
                if name in known:
                    await self._store.set_adapter_status(name, "retired")
                if name in self._engine.loaded():
                    await self._engine.unload(name)
                await asyncio.to_thread(self._registry.remove, name)
            return gone

    async def dismiss(self, name: str) -> None:
        """Let no channel try a version that an operator turned away."""
        async with self._lock:
            await self._end_tries([name], "an operator turned it away")
            await self._let_go(name)

    async def _end_tries(self, names: Collection[str], why: str) -> None:
        for channel, name in tuple(self.tries.items()):
            if name in names:
                await self._store.set_channel_adapter(channel, None)
                del self.tries[channel]
                text = f"{channel} no longer tries {name}: {why}"
                await self._announcements.tell("fallback", text, adapter=name)

    async def _let_go(self, name: str) -> None:
        if name in self._engine.loaded() and name not in {*self._needed(), self.before}:
            await self._engine.unload(name)

    async def try_version(self, channel: ChannelKey, name: str | None) -> None:
        """Let one channel talk with a version (or BASE), or with None follow the champion.

        Raises:
            AdapterError: unknown, damaged or of another base.
            LearningError: not judged, rejected, or no slot is free.
        """
        async with self._lock:
            if name is not None and name != BASE:
                ref = await self._known(name)
                if ref.status not in TRIABLE:
                    why = "is not judged yet" if ref.status == "candidate" else f"is {ref.status}"
                    raise LearningError(f"{name} {why} and cannot be tried")
                await self._load(name)
            await self._store.set_channel_adapter(channel, name)
            if name is None:
                self.tries.pop(channel, None)
            else:
                self.tries[channel] = name

    async def _known(self, name: str) -> AdapterRef:
        await asyncio.to_thread(self._registry.verify, name, self.base)
        for ref in await self._store.adapters():
            if ref.name == name:
                return ref
        raise AdapterError(f"there is no adapter {name}; see the list of adapters")

    async def _load(self, name: str) -> None:
        """Have a whole version of this base in the engine; the base always is."""
        if name == BASE or name in self._engine.loaded():
            return
        folder = await asyncio.to_thread(self._registry.verify, name, self.base)
        await self._make_room()
        await self._engine.load(name, folder)

    async def _make_room(self) -> None:
        loaded = [name for name in self._engine.loaded() if name != BASE]
        idle = [name for name in loaded if name not in self._needed()]
        idle.sort(key=lambda name: (name == self.before, name in self.line[-2:]))
        for name in idle[: max(0, len(loaded) - self._slots + 1)]:
            if name == self.before:  # a run or a try is worth more than the comparison
                self.before = None
            await self._engine.unload(name)
            loaded.remove(name)
        if len(loaded) >= self._slots:
            raise LearningError(
                f"all {self._slots} adapter slots are in use ({', '.join(loaded)}); end a "
                "channel's try or raise engine.adapter_slots"
            )

    async def kept(self) -> set[str]:
        """Versions whose files must stay."""
        waiting = {ref.name for ref in await self._store.adapters() if ref.status == "waiting"}
        stayed = {self.before} if self.before else set()
        return {*waiting, *stayed, *self._engine.loaded(), *self.line[-2:], *self.tries.values()}

    def _needed(self) -> set[str]:
        return {self.champion, *self.tries.values(), *self._held}

    async def _swap(self, name: str, reason: str) -> None:
        await self._store.set_champion(name, reason, self._clock())
        self.champion, self.before = name, None
        self.line = lineage(name for name, _, _ in await self._store.champions())

    async def _good_before(self, gone: Collection[str] = ()) -> str:
        """The newest champion before this one that can serve, loaded; or BASE."""
        for name in reversed(self.line[:-1]):
            if name in gone:
                continue
            try:
                await self._load(name)
                return name
            except AdapterError:
                continue
        return BASE

    def _untold(self, names: Collection[str]) -> set[str]:
        """Those of which nobody can tell any more what they were trained on."""
        untold = set()
        for name in names:
            try:
                self._registry.manifest(name)
            except AdapterError:
                untold.add(name)
        return untold

    def _damaged(self, name: str) -> bool:
        """Whether its files are not what they were; being of another base is no damage.

        Nor is a rank that the engine has no room for any more: the operator can give it room.
        """
        try:
            self._registry.verify(name, self._registry.manifest(name).base)
        except AdapterError:
            return True
        return False


def lineage(history: Iterable[str]) -> list[str]:
    """Champions in the order served, without those that were rolled back; BASE is none.

    >>> lineage(["v0001", "v0002", "v0003", "v0002", "v0004"])
    ['v0001', 'v0002', 'v0004']
    """
    line: list[str] = []
    for name in history:
        if name in line:
            del line[line.index(name) + 1 :]
        elif name == BASE:
            line.clear()
        else:
            line.append(name)
    return line


def stays(channel: ChannelKey, version: str, share: float) -> bool:
    """Whether a channel is one of the share that does not follow a new version at once.

    For one version always the same channels, for another one others; never the operator's own,
    where one wants to see what was learned.
    """
    if channel.platform in LOCAL:
        return False
    digest = hashlib.blake2b(f"{version}/{channel}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) < share * 2**64


def called(name: str) -> str:
    """How to speak of a version, or of the base."""
    return "the base model" if name == BASE else name
