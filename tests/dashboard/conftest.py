"""An open store on a folder of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.store import Store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """A new store, closed after the test."""
    async with await Store.open(tmp_path / "data") as opened:
        yield opened
