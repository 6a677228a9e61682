"""Versions that come and go while all channels talk: is a word lost, mixed up or late?

Every channel says something, hears a reply of the version that serves, and goes on. Every second a
new version is loaded and takes over for new replies, and the old one is unloaded, which waits for
the replies that run on it. Afterwards each reply is held against its own version, which answers the
same prompt alone, with nothing kept, on an engine of its own.

Sums of floats depend on the shape of the batch, so where two tokens are all but equally likely the
same version may say either. A token that differs is therefore a tie when its own version, asked
by `score`, finds it within `TIE` nats of the one said alone; what follows is then held against what
that version says after the token that was said. So every token is checked, and any difference that
is no tie is a mismatch. Whether a mismatch would be seen at all, `told_apart` says.

A gap belongs to a swap when it overlaps the loading of a version, or the moment in which the old
one was gone, or one median gap before or after.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.scenarios.channels import Channel, Heard, greedy, hear
from benchmarks.scenarios.models import RANK, endless, write_adapters
from bot.config import EngineConfig
from bot.engine.base import Request, ScoreItem
from bot.engine.local import LocalEngine
from bot.engine.model import LoadedModel
from bot.engine.prefix import common
from bot.errors import RapportError

REPLY, LONGEST = 16, 160
"""Tokens: of a reply, and of a prompt."""
TIE = 1e-3
"""Nats between two tokens of which either may be said."""


@dataclass(frozen=True)
class Result:
    """What became of the replies."""

    swaps: int
    replies: int
    dropped: int
    """Replies that ended early, or not at all."""
    mixed: int
    """Replies that are not wholly what their version says alone."""
    stale: int
    """Those of them that reused a kept prefix, and replies that reused more than their own version
    had read in the channel."""
    longest_stall_steps: int
    """The longest gap between two tokens of a reply around a swap, less one, in median gaps."""
    longest_otherwise_steps: int
    """The same of all other gaps."""
    step_ms: float
    """The median gap."""
    reusing: int
    """Replies that reused a kept prefix."""
    ties: int
    """Tokens where either of two could be said."""
    told_apart: float
    """Of one reply for each swap, the share that the version before would not have said."""

    def __str__(self) -> str:
        return (
            f"swap: {self.swaps} swaps, {self.replies} replies ({self.reusing} on kept prefixes): "
            f"{self.dropped} dropped, {self.mixed} mixed, {self.stale} stale; longest stall "
            f"{self.longest_stall_steps} steps of {self.step_ms:.0f} ms "
            f"({self.longest_otherwise_steps} away from swaps); {self.ties} ties, "
            f"{self.told_apart:.0%} told apart"
        )


async def measure(
    loaded: LoadedModel, seconds: float, channels: int = 16, every: float = 1.0
) -> Result:
    """Talk and swap for so many seconds, then check every reply."""
    config = EngineConfig(rows=channels, queue=channels, adapter_rank=RANK)
    with TemporaryDirectory() as folder:
        count = math.ceil(seconds / every) + 1
        places = await asyncio.to_thread(write_adapters, loaded, Path(folder), count)
        engine = LocalEngine(endless(loaded), config, share=0.25)
        try:
            talk = Talk(engine, places)
            vocabulary = int(loaded.model.config.vocab_size)
            await talk.run(channels, seconds, every, vocabulary)
        finally:
            await engine.close()
        alone = LocalEngine(endless(loaded), EngineConfig(rows=1, adapter_rank=RANK), share=0.25)
        try:
            return await _checked(talk, Judge(alone, places))
        finally:
            await alone.close()


@dataclass
class Talk:
    """Channels on one engine, and whoever swaps its versions."""

    engine: LocalEngine
    places: Sequence[Path]
    """The folder of each version's adapter."""
    heard: list[Heard] = field(default_factory=list)
    dropped: int = 0
    suspects: list[Heard] = field(default_factory=list)
    """Replies that reused more than their version had read in the channel."""
    swaps: list[tuple[float, float]] = field(default_factory=list)
    """When something was done to the bank: a version loaded, or gone."""
    serving: int = 0
    """The version of new replies."""

    async def run(self, channels: int, seconds: float, every: float, vocabulary: int) -> None:
        """Until the time is up and all replies have ended."""
        await self.engine.load(version(0), self.places[0])
        until = time.perf_counter() + seconds
        rooms = [Channel(f"channel {n}", vocabulary, LONGEST) for n in range(channels)]
        await asyncio.gather(self._swap(until, every), *(self._talk(room, until) for room in rooms))

    async def _talk(self, channel: Channel, until: float) -> None:
        read: dict[str, int] = {}
        while time.perf_counter() < until:
            request = channel.asks(version(self.serving), REPLY)
            try:
                heard = await hear(self.engine, request)
            except RapportError:
                self.dropped += 1
                continue
            channel.answered(heard.ids)
            if heard.finish in ("error", "cancelled") or len(heard.ids) < REPLY:
                self.dropped += 1
                continue
            self.heard.append(heard)
            if heard.timings.reused_tokens > read.get(request.adapter, 0):
                self.suspects.append(heard)
            read[request.adapter] = len(channel.ids)

    async def _swap(self, until: float, every: float) -> None:
        start = time.perf_counter()
        for number in range(1, len(self.places)):
            await asyncio.sleep(max(0.0, start + number * every - time.perf_counter()))
            began = time.perf_counter()
            if began >= until:
                return
            await self.engine.load(version(number), self.places[number])
            self.swaps.append((began, time.perf_counter()))
            old, self.serving = self.serving, number
            await self.engine.unload(version(old))
            gone = time.perf_counter()
            self.swaps.append((gone, gone))

    def stalls(self) -> tuple[float, float, float]:
        """The median gap, the longest one around a swap and the longest of all others; seconds."""
        gaps = [(one.times[at], gap) for one in self.heard for at, gap in enumerate(one.gaps)]
        usual = median(gap for _, gap in gaps)
        longest = {True: 0.0, False: 0.0}
        for began, gap in gaps:
            near = any(
                began < end + usual and began + gap > start - usual for start, end in self.swaps
            )
            longest[near] = max(longest[near], gap)
        return usual, longest[True], longest[False]


class Judge:
    """An engine where versions answer alone, one at a time."""

    def __init__(self, engine: LocalEngine, places: Sequence[Path]) -> None:
        self.engine = engine
        self._places = places

    async def sit(self, number: int) -> None:
        """Have a version and the one before loaded, and no other."""
        wanted = {version(one): self._places[one] for one in (number - 1, number) if one >= 0}
        loaded = set(self.engine.loaded())
        for name in loaded - wanted.keys():
            await self.engine.unload(name)
        for name in wanted.keys() - loaded:
            await self.engine.load(name, wanted[name])

    async def ties(self, adapter: str, heard: Heard) -> int | None:
        """Ties in a reply that a version would have said as well; None where it would not."""
        prompt, said, ties = list(heard.request.prompt_ids), list(heard.ids), 0
        while said:
            alone = await hear(self.engine, Request(prompt, adapter, greedy(len(said))))
            same = common(alone.ids, said)
            if same == len(said):
                break
            prompt += said[:same]
            items = [ScoreItem(prompt, [one], adapter) for one in (alone.ids[same], said[same])]
            own, other = (one.log_probs[0] for one in await self.engine.score(items))
            if own - other > TIE:
                return None
            prompt, said, ties = [*prompt, said[same]], said[same + 1 :], ties + 1
        return ties


async def _checked(talk: Talk, judge: Judge) -> Result:
    mixed = stale = ties = asked = apart = 0
    by_version: defaultdict[str, list[Heard]] = defaultdict(list)
    for one in talk.heard:
        by_version[one.request.adapter].append(one)
    for number in range(talk.serving + 1):
        await judge.sit(number)
        replies = by_version[version(number)]
        for one in replies:
            found = await judge.ties(version(number), one)
            ties += found or 0
            mixed += found is None
            stale += one in talk.suspects or (found is None and one.timings.reused_tokens > 0)
        if number and replies:
            asked += 1
            apart += await judge.ties(version(number - 1), replies[0]) is None
    usual, near, far = talk.stalls()
    return Result(
        swaps=talk.serving, replies=len(talk.heard) + talk.dropped, dropped=talk.dropped,
        mixed=mixed, stale=stale, longest_stall_steps=_steps(near, usual),
        longest_otherwise_steps=_steps(far, usual), step_ms=round(1e3 * usual, 2),
        reusing=sum(one.timings.reused_tokens > 0 for one in talk.heard), ties=ties,
        told_apart=round(apart / asked, 3) if asked else 0.0,
    )  # fmt: skip


def _steps(gap: float, usual: float) -> int:
    return max(0, math.floor(gap / usual) - 1) if usual else 0


def version(number: int) -> str:
    """The name of a version."""
    return f"v{number}"
