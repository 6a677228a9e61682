"""What was confirmed is there after ``kill -9``, and a backup is whole."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from pathlib import Path

import pytest

from bot.errors import StoreError
from bot.store import Store
from tests.store.samples import HERE, exchange, message, vote

ROOT = Path(__file__).parents[2]
LINES = 60


async def kill_while_writing(folder: Path) -> list[list[str]]:
    """Let the voter work on `folder`, kill it in the middle; what it had confirmed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("voter.py")),
        str(folder),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    lines = [await process.stdout.readline() for _ in range(LINES)]
    process.send_signal(signal.SIGKILL)
    # What it had printed before the signal came counts as confirmed too.
    lines += (await process.stdout.read()).splitlines(keepends=True)
    assert await process.wait() == -signal.SIGKILL
    return [line.decode().split() for line in lines if line.endswith(b"\n")]


def names_in(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


async def test_after_kill_9_every_confirmed_vote_is_there_and_no_version_comes_again(
    tmp_path: Path,
) -> None:
    confirmed = await kill_while_writing(tmp_path)
    raters = {name for kind, name in confirmed if kind == "vote"}
    versions = [name for kind, name in confirmed if kind == "version"]
    assert len(raters) > LINES // 2
    assert len(versions) == len(set(versions)) > 0
    async with await Store.open(tmp_path) as store:
        current = {item.rater for item in await store.current_votes()}
        assert raters <= current
        assert {item.rater for item in await store.votes_of(1)} == current, "half a vote was kept"
        assert await store.next_version() > max(versions)


async def test_the_file_is_opened_as_durably_as_promised(store: Store) -> None:
    names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
    found = await store._write(
        lambda connection: [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in names
        ]
    )
    assert found == ["wal", 2, 1, 10_000]


async def test_a_reading_connection_cannot_write(store: Store) -> None:
    with pytest.raises(StoreError, match="readonly"):
        await store._read(
            lambda connection: connection.exec_driver_sql("DELETE FROM votes").rowcount
        )


async def test_a_backup_taken_while_writing_is_whole_and_opens(
    store: Store, tmp_path: Path
) -> None:
    key = await store.add_exchange(exchange())
    target = tmp_path / "copies" / "rapport.db"
    target.parent.mkdir()
    before = [asyncio.create_task(store.add_vote(vote(key, f"a{n}"))) for n in range(20)]
    await asyncio.gather(*before)
    during = [asyncio.create_task(store.add_vote(vote(key, f"b{n}"))) for n in range(100)]
    await store.backup(target)
    assert names_in(target.parent) == ["rapport.db"]
    await asyncio.gather(*during)
    copy = sqlite3.connect(target)
    assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert copy.execute("PRAGMA foreign_key_check").fetchall() == []
    copy.close()
    async with await Store.open(target.parent) as opened:
        held = {item.rater for item in await opened.current_votes()}
        assert held == {item.rater for item in await opened.votes_of(key)}
        assert {f"a{n}" for n in range(20)} <= held
        await opened.add_message(message(1))
        assert len(await opened.history(HERE)) == 2


async def test_a_backup_never_overwrites(store: Store, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    target.write_text("precious")
    with pytest.raises(StoreError, match="exists already; choose another name"):
        await store.backup(target)
    assert target.read_text() == "precious"


async def test_a_backup_that_cannot_be_written_says_so_and_leaves_nothing(
    store: Store, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match=r"backup to .*missing") as refused:
        await store.backup(tmp_path / "missing" / "copy.db")
    assert "\n" not in str(refused.value)
    assert names_in(tmp_path) == ["data"]
