"""How the machine fares: how fast replies come, how many wait, and what memory holds.

Timings are those stored with the newest replies. Memory is asked of the system, and that of a
graphics card of its driver's own program, so that no model library is needed. Knows no page.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.engine.base import Engine
from bot.store import Store, Timed

NEWEST = 200
"""Replies whose timings are shown."""
STATM = Path("/proc/self/statm")
_MEMORY = ("--query-gpu=memory.used,memory.total", "--format=csv,noheader,nounits")
_PATIENCE = 5.0
"""Seconds that the driver may take to answer."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle and the far end of some numbers; both None where there are none."""

    median: float | None = None
    high: float | None = None
    """What 95 % of them do not exceed."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the newest replies came, oldest first."""

    replies: tuple[int, ...]
    """Their numbers."""
    first_token: tuple[float, ...]
    """Seconds from the question to the first token."""
    speed: tuple[float, ...]
    """Tokens a second of each, from its turn to its end, of those that said anything."""

    @property
    def waited(self) -> Spread:
        """Of the first tokens, in seconds."""
        return spread(self.first_token)

    @property
    def fast(self) -> Spread:
        """Of the speeds."""
        return spread(self.speed)


@dataclass(frozen=True, slots=True)
class Memory:
    """What memory holds, in bytes."""

    process: int
    """Of this process, resident."""
    cache: int
    """Kept beginnings."""
    cache_limit: int
    arena: int
    """Running replies."""
    arena_limit: int
    packed: int
    """Copies of the weights that are read faster."""
    card: tuple[int, int] | None
    """(in use by all programs, in all) of the graphics card; None where none is used."""


async def pace(store: Store, limit: int = NEWEST) -> Pace:
    """The timings of the newest replies, read by their keys."""
    return pace_of(await store.newest_timings(limit))


def pace_of(timed: Sequence[Timed]) -> Pace:
    """The same from values."""
    said = [one for one in timed if one.timings.reply_tokens]
    return Pace(
        tuple(one.exchange_id for one in said),
        tuple(one.timings.first_token for one in said),
        tuple(
            one.timings.reply_tokens / taken
            for one in said if (taken := one.timings.total - one.timings.queued) > 0
        ),
    )


def spread(numbers: Sequence[float]) -> Spread:
    """By nearest rank."""
    if not numbers:
        return Spread()
    ranked = sorted(numbers)
    return Spread(ranked[(len(ranked) - 1) // 2], ranked[-(-len(ranked) * 95 // 100) - 1])


async def memory(engine: Engine) -> Memory:
    """What memory holds now."""
    stats = engine.stats()
    on_card = engine.info.device.startswith("cuda")
    return Memory(
        resident(), stats.cache_bytes, stats.cache_limit, stats.arena_bytes, stats.arena_limit,
        stats.packed_bytes, await _card() if on_card else None,
    )  # fmt: skip


def resident() -> int:
    """Bytes of this process that lie in memory; their peak where only that is told."""
    try:
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


async def _card() -> tuple[int, int] | None:
    """Memory of the first card; None where its driver cannot be asked."""
    try:
        asked = await asyncio.create_subprocess_exec(
            "nvidia-smi", *_MEMORY, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return None
    try:
        told, _ = await asyncio.wait_for(asked.communicate(), _PATIENCE)
    except TimeoutError:
        return None
    finally:
        if asked.returncode is None:
            asked.kill()
            await asked.wait()
    return card_of(told.decode(errors="replace"))


def card_of(told: str) -> tuple[int, int] | None:
    """(in use, in all) of the first line that the driver says, which counts in MiB."""
    try:
        used, whole = (int(part) << 20 for part in told.splitlines()[0].split(","))
    except (ValueError, IndexError):
        return None
    return used, whole
