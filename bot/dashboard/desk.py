"""What the dashboard's pages are given: the rooms they read, and who acts on them.

Pages fill the slot that is open when they are called. Who may see them, under which address, and
what stands around them is settled elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from bot.config import Config
from bot.engine.base import Engine
from bot.learning_port import Learning
from bot.store import Store


@dataclass(frozen=True, slots=True)
class Desk:
    """One operator at work."""

    config: Config
    store: Store
    engine: Engine
    learning: Learning
    operator: str
    """Who acts, as ``platform/person``."""
