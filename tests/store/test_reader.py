"""What becomes of reads that nobody waits for any more."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import pytest

from bot.errors import StoreError
from bot.store import Store
from tests.store.samples import HERE


@pytest.mark.parametrize("steps", range(8))
async def test_a_read_given_up_at_any_moment_leaves_no_connection_behind(
    tmp_path: Path, steps: int
) -> None:
    store = await Store.open(tmp_path)
    asking = asyncio.create_task(store.last_exchange(HERE))
    for _ in range(steps):
        await asyncio.sleep(0)
    asking.cancel()
    await store.close()
    gc.collect()  # a connection that was never closed is a warning here, and so an error


async def test_the_end_waits_for_reads_and_takes_no_more(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    asked = [asyncio.create_task(store.last_exchange(HERE)) for _ in range(20)]
    await asyncio.sleep(0)
    await store.close()
    assert await asyncio.gather(*asked) == [None] * 20
    with pytest.raises(StoreError, match="the store is closed"):
        await store.last_exchange(HERE)
