"""Opening: new folders, old schemas, and files that are something else."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from bot.errors import StoreError, StoreVersionError
from bot.store import Store
from bot.store.database import migrate, writing_engine
from bot.store.schema import metadata
from bot.types import Sampling, Timings, Turn
from tests.store.samples import HERE, NOW, exchange, message

OLDEST = Path(__file__).with_name("oldest.sql")
"""A database of revision 0001, as SQL. It stays as it is when the schema moves on."""


def write_oldest(folder: Path) -> Path:
    """Put the oldest database into `folder`."""
    file = folder / "rapport.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(OLDEST.read_text(encoding="utf-8"))
    return file


def schema_of(file: Path) -> list[tuple[str, ...]]:
    """Every statement that made a table or an index of `file`."""
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()


async def test_a_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    async with await Store.open(tmp_path / "a" / "b") as store:
        await store.add_message(message(1))
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["rapport.db"]


async def test_a_store_opened_again_is_the_same_store(tmp_path: Path) -> None:
    for number in range(3):
        async with await Store.open(tmp_path) as store:
            await store.add_message(message(number))
            assert len(await store.history(HERE)) == number + 1


async def test_two_stores_on_one_folder_can_both_write(tmp_path: Path) -> None:
    one, two = await asyncio.gather(Store.open(tmp_path), Store.open(tmp_path))
    async with one, two:
        for round_ in range(0, 40, 4):
            messages = [message(number) for number in range(round_, round_ + 4)]
            told = await asyncio.gather(*(s.add_message(m) for m in messages for s in (one, two)))
            assert told.count(None) == 4
        names = await asyncio.gather(*(s.next_version() for s in (one, two)))
        assert len(set(names)) == 2
        assert len(await two.history(HERE)) == 40


async def test_the_oldest_schema_is_brought_up_to_date_with_everything_in_it(
    tmp_path: Path,
) -> None:
    write_oldest(tmp_path)
    async with await Store.open(tmp_path) as store:
        expected = exchange(
            authors=("ann",),
            prompt=(Turn("user", "hello"),),
            prompt_ids=(1, 2**32 - 1),
            reply="hi ann",
            finish="stop",
            sampling=Sampling(temperature=0.5),
            timings=Timings(total=0.25),
            time=NOW,
            private=False,
            id=1,
            platform_ids=("r1",),
            examples=(),
        )
        assert await store.exchange(1) == expected
        held = [(vote.exchange_id, vote.rater, vote.value) for vote in await store.current_votes()]
        assert held == [(1, "bob", -1), (2, "ann", 1)]
        assert await store.like_rate("v0001") == (0, 1)
        assert [turn.content for turn in await store.history(HERE)] == [
            "hello",
            "hi ann",
            "hi again",
        ]
        assert await store.persona(HERE) == "Be kind."
        assert await store.next_version() == "v0003"


async def test_a_verdict_from_before_samples_were_kept_has_none(tmp_path: Path) -> None:
    with closing(sqlite3.connect(write_oldest(tmp_path))) as connection:
        connection.execute(
            "INSERT INTO verdicts (adapter, champion, outcome, sentence, time, checks)"
            " VALUES ('v0001', 'base', 'reject', 'Rejected.', 0, '[]')"
        )
        connection.commit()
    async with await Store.open(tmp_path) as store:
        verdict = await store.verdict("v0001")
        assert verdict is not None
        assert (verdict["sentence"], verdict["samples"]) == ("Rejected.", [])


def test_all_migrations_together_make_exactly_the_schema(tmp_path: Path) -> None:
    file = tmp_path / "rapport.db"
    migrate(file)
    engine = writing_engine(file)
    with engine.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()
    direct = writing_engine(tmp_path / "direct.db")
    metadata.create_all(direct)
    direct.dispose()
    ours = [row for row in schema_of(file) if "alembic" not in row[0]]
    # An added column stands on the line of the one before it.
    assert [str(sql).split() for _, sql in ours] == [
        str(sql).split() for _, sql in schema_of(tmp_path / "direct.db")
    ]


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    file = write_oldest(tmp_path)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE INDEX ix_current_votes_adapter_value ON votes (value)")
    before = schema_of(file)
    with pytest.raises(StoreError, match="already"):
        migrate(file)
    assert schema_of(file) == before


async def test_a_newer_schema_is_refused_with_a_way_out(tmp_path: Path) -> None:
    file = write_oldest(tmp_path)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(StoreVersionError, match=r"schema 9999.*run that version or a newer one"):
        await Store.open(tmp_path)


async def test_a_file_that_is_not_a_database_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "rapport.db").write_text("not a database, but long enough to look like one " * 50)
    await refused(tmp_path, "not a database: move the file away")


async def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "rapport.db")) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    await refused(tmp_path, "another program; choose another data folder")
    assert [name for name, _ in schema_of(tmp_path / "rapport.db")] == ["recipes"]


async def test_a_file_where_the_folder_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    await refused(tmp_path / "data", "cannot make the data folder .*choose another folder")
    await refused(tmp_path / "data" / "below", "cannot make the data folder")


async def test_a_folder_where_the_file_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rapport.db").mkdir()
    await refused(tmp_path, "unable to open .*check that it is a file")


async def refused(folder: Path, reason: str) -> None:
    """Opening fails with one line that gives the reason."""
    with pytest.raises(StoreError, match=reason) as error:
        await Store.open(folder)
    assert "\n" not in str(error.value)
