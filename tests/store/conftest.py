"""An open store on a folder of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from bot.store import Store


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """A new store in ``tmp_path/data``, closed after the test."""
    async with await Store.open(tmp_path / "data") as opened:
        yield opened
