"""Group commit: what concurrent, failing and cancelled writes do to each other."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, event, text

from bot.errors import StoreError
from bot.store import Store
from tests.store.samples import HERE, exchange, message, vote


class Commits:
    """Counts the commits of every engine while it is listened to."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, connection: Connection) -> None:
        self.count += 1


@pytest.fixture
def commits() -> object:
    """The commits of this test, counted by SQLAlchemy's own event."""
    counter = Commits()
    event.listen(Engine, "commit", counter)
    yield counter
    event.remove(Engine, "commit", counter)


async def test_concurrent_writes_share_commits(store: Store, commits: Commits) -> None:
    key = await store.add_exchange(exchange())
    commits.count = 0
    await asyncio.gather(*(store.add_vote(vote(key, f"r{n}")) for n in range(200)))
    assert 1 <= commits.count <= 20
    assert len(await store.current_votes()) == 200


async def test_a_write_on_its_own_has_a_commit_of_its_own(store: Store, commits: Commits) -> None:
    key = await store.add_exchange(exchange())
    commits.count = 0
    for number in range(3):
        await store.add_vote(vote(key, f"r{number}"))
    assert commits.count == 3


async def test_a_confirmed_write_is_seen_by_another_connection(
    store: Store, tmp_path: Path
) -> None:
    await store.add_message(message(1))
    other = sqlite3.connect(tmp_path / "data" / "rapport.db")
    assert other.execute("SELECT count(*) FROM messages").fetchone() == (1,)
    other.close()


async def test_a_failing_write_fails_alone(store: Store, commits: Commits) -> None:
    key = await store.add_exchange(exchange())
    gate = threading.Event()
    held = asyncio.create_task(store._write(lambda connection: gate.wait(10)))
    writes = [
        store.add_vote(vote(key, "ann")),
        store.add_vote(vote(999, "bob")),
        store.add_curve_points(999, [(1, "loss", 1.0)]),
        store._write(lambda connection: 1 // 0),
        store.add_vote(vote(key, "cid")),
    ]
    tasks = [asyncio.create_task(write) for write in writes]
    await asyncio.sleep(0)
    commits.count = 0
    gate.set()
    await held
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert commits.count <= 2, "the writes did not share a transaction"
    kinds = [type(answer) for answer in answers]
    assert kinds == [type(None), StoreError, StoreError, ZeroDivisionError, type(None)]
    assert [held.rater for held in await store.current_votes()] == ["ann", "cid"]


async def test_what_a_failing_write_did_before_it_failed_is_undone(store: Store) -> None:
    def half(connection: Connection) -> None:
        connection.execute(text("INSERT INTO settings (key, value) VALUES ('half', '1')"))
        raise StoreError("changed my mind")

    with pytest.raises(StoreError, match="changed my mind"):
        await store._write(half)
    assert await store.get_setting("half") is None


async def test_a_cancelled_caller_neither_loses_nor_halves_its_write(store: Store) -> None:
    gate = threading.Event()
    held = asyncio.create_task(store._write(lambda connection: gate.wait(10)))
    caller = asyncio.create_task(store.add_exchange(exchange(platform_ids=("r1", "r2"))))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    gate.set()
    assert await held
    await store.add_message(message(1))
    found = await store.last_exchange(HERE)
    assert found is not None
    assert found.platform_ids == ("r1", "r2")


async def test_cancelled_reads_leave_the_store_readable(store: Store) -> None:
    key = await store.add_exchange(exchange())
    for spins in range(30):
        reader = asyncio.create_task(store.exchange(key))
        for _ in range(spins):
            await asyncio.sleep(0)
        reader.cancel()
        await asyncio.wait([reader])
    assert len(await asyncio.gather(*(store.exchange(key) for _ in range(8)))) == 8


async def test_a_full_disk_refuses_the_write_and_says_what_to_do(store: Store) -> None:
    key = await store.add_exchange(exchange())

    def fill(connection: Connection) -> None:
        pages = connection.scalar(text("PRAGMA page_count"))
        connection.execute(text(f"PRAGMA max_page_count={pages + 1}"))

    await store._write(fill)
    with pytest.raises(StoreError, match="full: free some disk space") as refused:
        await store.add_message(message(1, text="x" * 100_000))
    assert "\n" not in str(refused.value)
    await store.add_vote(vote(key))
    assert len(await store.current_votes()) == 1


async def test_closing_finishes_the_writes_that_wait(store: Store, tmp_path: Path) -> None:
    writes = [asyncio.create_task(store.add_message(message(n))) for n in range(300)]
    await asyncio.sleep(0)
    await store.close()
    assert all(await asyncio.gather(*writes))
    async with await Store.open(tmp_path / "data") as reopened:
        assert len(await reopened.history(HERE, 500)) == 300


async def test_a_closed_store_says_so(store: Store, tmp_path: Path) -> None:
    await store.close()
    await store.close()
    with pytest.raises(StoreError, match="the store is closed"):
        await store.add_message(message(1))
    with pytest.raises(StoreError, match="the store is closed"):
        await store.history(HERE)
    with pytest.raises(StoreError, match="the store is closed"):
        await store.backup(tmp_path / "copy.db")
