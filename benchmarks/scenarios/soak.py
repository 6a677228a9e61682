"""Many short replies in a row: does memory grow, and do replies become slower?

Channels talk without a pause. Their histories grow and begin anew; some replies are left after
their first tokens, some channels are forgotten, and five times in each tenth of the run another
version takes over. Memory is that of the whole process, which listens as well; conversations that
are kept have a small limit, which is soon reached, and are told apart from what else grows. The
slope is that of the line of least squares through the second half of the run.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil

from benchmarks.figures import milliseconds
from benchmarks.scenarios.channels import Channel, Heard, hear
from benchmarks.scenarios.models import RANK, endless, write_adapters
from bot.config import EngineConfig
from bot.engine.local import LocalEngine
from bot.engine.model import LoadedModel
from bot.errors import RapportError

REPLIES, LONGEST = (4, 16), 256
"""Tokens: of a reply, the least and the most, and of a prompt."""
LEFT, FORGOTTEN = 0.05, 0.02
"""Shares of replies that nobody hears to their end, and after which a channel is forgotten."""
TENTHS, SWAPS, ADAPTERS = 10, 5, 4
"""Parts of the run, swaps in each, and different adapters."""
KEPT_MB = 16
"""Most memory for conversations that were read."""


@dataclass(frozen=True)
class Row:
    """One tenth of the run."""

    tenth: int
    replies: int
    """Heard to their end."""
    seconds: float
    rss_mb: float
    """The process's memory at the end of it."""
    kept_mb: float
    """Of that, conversations already read."""
    ttft_p50_ms: float
    ttft_p95_ms: float
    p50_ms: float
    """Until the last token."""
    p95_ms: float


@dataclass(frozen=True)
class Result:
    """The whole run."""

    rows: list[Row]
    replies: int
    left: int
    failed: int
    """Replies that ended with an error, or early."""
    forgotten: int
    swaps: int
    open: int
    """Replies that the engine still counts when all is over."""
    mb_per_1000_replies: float
    """Slope of the memory beside the kept conversations, over the second half."""
    p95_ms_per_1000_replies: float
    """Slope of the replies' p95, over the second half."""

    def __str__(self) -> str:
        lines = [
            f"soak {one.tenth:2d}/{TENTHS}  {one.replies} replies in {one.seconds:.1f} s  "
            f"{one.rss_mb:.1f} MB, {one.kept_mb:.1f} of them kept  "
            f"TTFT {one.ttft_p50_ms:.0f}/{one.ttft_p95_ms:.0f} ms  "
            f"reply {one.p50_ms:.0f}/{one.p95_ms:.0f} ms"
            for one in self.rows
        ]
        return "\n".join([
            *lines,
            f"{self.replies} replies, {self.left} left, {self.failed} failed, {self.forgotten} "
            f"channels forgotten, {self.swaps} swaps, {self.open} still open",
            f"a thousand replies add {self.mb_per_1000_replies:+.2f} MB and "
            f"{self.p95_ms_per_1000_replies:+.1f} ms to the p95",
        ])


async def measure(loaded: LoadedModel, replies: int, channels: int = 16) -> Result:
    """So many replies, the ones that are left included."""
    config = EngineConfig(
        rows=channels, queue=channels, adapter_rank=RANK, prefix_cache_mb=KEPT_MB
    )
    with TemporaryDirectory() as folder:
        places = await asyncio.to_thread(write_adapters, loaded, Path(folder), ADAPTERS)
        engine = LocalEngine(endless(loaded), config, share=0.25)
        try:
            soak = Soak(engine, places, replies, int(loaded.model.config.vocab_size))
            return await soak.run(channels)
        finally:
            await engine.close()


class Soak:
    """Channels that share out so many replies."""

    def __init__(
        self, engine: LocalEngine, places: Sequence[Path], replies: int, vocabulary: int
    ) -> None:
        self._engine = engine
        self._places = places
        self._replies = replies
        self._vocabulary = vocabulary
        self._serving = self._swaps = 0
        self._asked = self._done = self._left = self._failed = self._forgotten = 0
        self._heard: list[Heard] = []
        self._rows: list[Row] = []
        self._began = 0.0
        self._swapping = asyncio.Lock()
        self._process = psutil.Process()

    async def run(self, channels: int) -> Result:
        """Until all replies have ended."""
        await self._engine.load("v0", self._places[0])
        self._began = time.perf_counter()
        await asyncio.gather(*(self._talk(f"channel {one}") for one in range(channels)))
        # Waits for the replies that were left, too.
        await self._engine.unload(f"v{self._serving}")
        stats, rows = self._engine.stats(), self._rows
        return Result(
            rows, self._done, self._left, self._failed, self._forgotten, self._serving,
            stats.running + stats.queued, self._slope([one.rss_mb - one.kept_mb for one in rows]),
            self._slope([one.p95_ms for one in rows]),
        )  # fmt: skip

    async def _talk(self, name: str) -> None:
        channel = Channel(name, self._vocabulary, LONGEST, turn=8)
        while self._asked < self._replies:
            self._asked += 1
            await self._reply(channel)
            if channel.rng.random() < FORGOTTEN:
                self._engine.forget_prefix(name)
                channel.ids.clear()
                self._forgotten += 1
            self._done += 1
            if self._done * TENTHS * SWAPS // self._replies > self._swaps:
                await self._swap()
            if self._done * TENTHS // self._replies > len(self._rows):
                self._rows.append(self._row())

    async def _reply(self, channel: Channel) -> None:
        leaves = channel.rng.random() < LEFT
        request = channel.asks(f"v{self._serving}", channel.rng.randint(*REPLIES))
        try:
            heard = await hear(self._engine, request, leave_after=2 if leaves else 0)
        except RapportError:
            self._failed += 1
            return
        channel.answered(heard.ids)
        if leaves:
            self._left += 1
        elif heard.finish == "length" and len(heard.ids) == request.sampling.max_tokens:
            self._heard.append(heard)
        else:
            self._failed += 1

    async def _swap(self) -> None:
        """Let another version take over, one swap at a time."""
        self._swaps += 1
        async with self._swapping:
            old, new = self._serving, self._serving + 1
            await self._engine.load(f"v{new}", self._places[new % len(self._places)])
            self._serving = new
            await self._engine.unload(f"v{old}")

    def _row(self) -> Row:
        """What this tenth came to; the next one begins."""
        heard, self._heard = self._heard, []
        began, self._began = self._began, time.perf_counter()
        first, total = [one.first for one in heard], [one.total for one in heard]
        return Row(
            len(self._rows) + 1, len(heard), round(self._began - began, 2),
            round(self._process.memory_info().rss / 2**20, 1),
            round(self._engine.stats().cache_bytes / 2**20, 1),
            milliseconds(first, 0.5), milliseconds(first, 0.95),
            milliseconds(total, 0.5), milliseconds(total, 0.95),
        )  # fmt: skip

    def _slope(self, values: Sequence[float]) -> float:
        """Of a figure of each tenth, for a thousand replies, over the second half of the run."""
        half = values[len(values) // 2 :]
        at = np.arange(len(half)) * self._replies / TENTHS / 1000
        return round(float(np.polyfit(at, half, 1)[0]), 3)
