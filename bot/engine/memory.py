"""What the engine's memory goes to, and how much of what is free each part may have.

Weights are loaded; what running replies may take follows from the configuration, and what is kept
of conversations gets a share of what is free. Knows no request and writes no tensor.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

import torch

from bot.engine.forward import Forward, position_bytes
from bot.engine.free import free_memory
from bot.engine.reserve import Reserve
from bot.units import size

log = logging.getLogger(__name__)

KEPT_SHARE = 0.2
"""Of the memory that is free once the model is loaded, for what is kept of conversations."""
KEPT_LEAST, KEPT_MOST = 64 * 2**20, 4096 * 2**20
"""Bytes between which that share lies."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Bytes, as they are once the model is loaded."""

    weights: int
    packed: int
    """Copies of the weights that are read faster."""
    arena: int
    """Running replies, if all were as long as they could be."""
    kept: int
    """Most that is kept of conversations."""
    free: int
    """What all that is not weights has to go into."""

    @classmethod
    def of(
        cls, forward: Forward, *, rows: int, context: int, kept_mb: int | Literal["auto"]
    ) -> Plan:
        """For so many replies of so many tokens."""
        free = free_memory(forward.device)
        kept = kept_limit(free) if kept_mb == "auto" else kept_mb * 2**20
        arena = rows * context * position_bytes(forward)
        return cls(forward.weights, forward.packed, arena, kept, free)

    @property
    def fits(self) -> bool:
        """Whether there is memory for all of it at once."""
        return self.arena + self.kept <= self.free

    def reserve(self, device: torch.device) -> Reserve | None:
        """Room for the running replies; None where they have to grow."""
        if device.type != "cpu":
            return None
        try:
            return Reserve(self.arena)
        except (OSError, ValueError, OverflowError) as error:
            log.info("running replies grow by copying, because of the system: %s", error)
            return None

    def tell(self, rows: int, context: int) -> None:
        """Log it, as a warning with what to do where it cannot fit."""
        log.info(
            "memory: weights %s, packed copies %s; running replies nothing yet, %s at most (%d "
            "rows of %d tokens); kept beginnings %s at most; %s are free",
            *map(size, (self.weights, self.packed, self.arena)), rows, context,
            *map(size, (self.kept, self.free)),
        )
        if not self.fits:
            log.warning(
                "%d replies of %d tokens take %s and kept beginnings %s, but only %s are free: "
                "lower engine.rows, engine.context or engine.prefix_cache_mb",
                rows, context, *map(size, (self.arena, self.kept, self.free)),
            )


def kept_limit(free: int) -> int:
    """Bytes for what is kept of conversations, where so many are free."""
    return int(min(KEPT_MOST, max(KEPT_LEAST, KEPT_SHARE * free)))
