"""Every hot query is answered from an index, however much the tables grow.

The statements are the store's own: they are overheard while the public calls run, and
SQLite is then asked how it would answer each.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from bot.config import LearningConfig
from bot.store import Store
from tests.store.samples import HERE, NOW, exchange, message, vote

Call = Callable[[Store], Awaitable[Any]]

HOT: dict[str, Call] = {
    "history": lambda store: store.history(HERE, 20),
    "last_exchange": lambda store: store.last_exchange(HERE),
    "exchange": lambda store: store.exchange(1),
    "exchange_of": lambda store: store.exchange_of(HERE, "r1"),
    "votes_of": lambda store: store.votes_of(1),
    "count_votes since": lambda store: store.count_votes(NOW),
    "like_rate of an adapter": lambda store: store.like_rate("v0001"),
    "votes_since": lambda store: store.votes_since("fingerprint", NOW),
    "votes_since on a few": lambda store: store.votes_since("fingerprint", NOW, [1, 2]),
    "last_ends": lambda store: store.last_ends("v0001", "fingerprint", 100, 2000),
    "mark": lambda store: store.mark(),
    "newest_votes": lambda store: store.newest_votes(2000),
    "newest_timings": lambda store: store.newest_timings(200),
    "last_sentence": lambda store: store.last_sentence(),
    "outcomes": lambda store: store.outcomes(),
    "persona": lambda store: store.persona(HERE),
    "channel_adapters": lambda store: store.channel_adapters(),
    "champion": lambda store: store.champion(),
    "adapters": lambda store: store.adapters(),
    "verdict": lambda store: store.verdict("v0001"),
    "unfinished_runs": lambda store: store.unfinished_runs(),
    "curve": lambda store: store.curve(1),
    "events": lambda store: store.events("swap"),
    "get_setting": lambda store: store.get_setting("paused"),
    "message_text": lambda store: store.message_text(1),
    "newest_messages": lambda store: store.newest_messages(HERE, NOW, 25),
    "on_record": lambda store: store.on_record([(HERE, "m1")]),
    "change_message": lambda store: store.change_message([(HERE, "m1")], "new"),
    "delete_messages": lambda store: store.delete_messages([(HERE, "m1")]),
    "add_message": lambda store: store.add_message(message(2)),
    "history before": lambda store: store.history(HERE, 20, before=2),
    "settle": lambda store: store.settle(1),
    "add_exchange": lambda store: store.add_exchange(exchange(platform_ids=("r2",))),
    "add_vote": lambda store: store.add_vote(vote(1, "cid", -1)),
    "ban": lambda store: store.ban("bob", "web/op", NOW),
    "reset": lambda store: store.reset(HERE, NOW),
    "consent_of": lambda store: store.consent_of("console", "ann"),
    "set_consent": lambda store: store.set_consent("console", "ann", True, NOW),
    "mark_asked": lambda store: store.mark_asked("console", "ann", NOW),
    "data_of": lambda store: store.data_of("console", "ann"),
    "forget": lambda store: store.forget("console", "ann", NOW),
    "liked": lambda store: store.liked(HERE, LearningConfig(), 1000),
}
AGGREGATES: dict[str, tuple[Call, str]] = {
    # These are about all current votes, so they read all of them: in the order of the
    # key, and for the rate from the index alone. Raw votes and exchanges stay unread.
    "current_votes": (lambda store: store.current_votes(), "SCAN current_votes"),
    "like_rate of all": (
        lambda store: store.like_rate(),
        "SCAN current_votes USING COVERING INDEX ix_current_votes_adapter_value",
    ),
    # Counting everything reads one narrow index; the table itself is not touched.
    "count_votes": (
        lambda store: store.count_votes(),
        "SCAN votes USING COVERING INDEX ix_votes_time_value",
    ),
    "count_exchanges": (
        lambda store: store.count_exchanges(),
        "SCAN exchanges USING COVERING INDEX ix_exchanges_channel_id_id",
    ),
}
BESIDES = {
    # The votes of banned people, which are taken off, are found by who gave them.
    "count_votes": (
        "SEARCH votes USING INDEX ix_votes_rater (rater=?)",
        "SEARCH bans USING INTEGER PRIMARY KEY (rowid=?)",
        "SCAN bans USING COVERING INDEX ix_bans_rater",
    ),
}
"""What else a query about everything does, in which no big table is read through."""
FRAME = re.compile(r"SCAN CONSTANT ROW|(SCALAR|LIST) SUBQUERY \d+")
BIG = re.compile(r"SCAN (messages|exchanges|exchange_\w+|votes|current_votes|curve_points)\b")


async def plan_of(store: Store, file: Path, call: Call) -> list[str]:
    """How SQLite answers each statement that `call` runs, sorts included."""
    heard: list[tuple[str, Any]] = []

    def hear(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        if statement.split()[0] in ("SELECT", "INSERT", "UPDATE", "DELETE"):
            heard.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", hear)
    try:
        await call(store)
    finally:
        event.remove(Engine, "before_cursor_execute", hear)
    assert heard
    with closing(sqlite3.connect(file)) as connection:
        return [
            str(row[3])
            for statement, parameters in heard
            for row in connection.execute(
                f"EXPLAIN QUERY PLAN {statement}",
                parameters[0] if isinstance(parameters, list) else parameters,
            )
        ]


async def fill(store: Store) -> None:
    """Enough that no query is left out for want of a row."""
    await store.add_message(message(1))
    await store.add_exchange(exchange(platform_ids=("r1",)))
    await store.add_vote(vote(1))


@pytest.mark.parametrize("name", HOT)
async def test_a_hot_query_reads_no_whole_table_and_sorts_nothing(
    store: Store, tmp_path: Path, name: str
) -> None:
    await fill(store)
    plan = await plan_of(store, tmp_path / "data" / "rapport.db", HOT[name])
    assert [step for step in plan if BIG.search(step) or "TEMP B-TREE" in step] == []


@pytest.mark.parametrize("name", AGGREGATES)
async def test_a_query_about_everything_reads_one_index_and_no_more(
    store: Store, tmp_path: Path, name: str
) -> None:
    await fill(store)
    call, expected = AGGREGATES[name]
    plan = await plan_of(store, tmp_path / "data" / "rapport.db", call)
    steps = [step for step in plan if not FRAME.fullmatch(step)]
    assert steps == [expected, *BESIDES.get(name, ())]


async def test_the_plan_of_a_query_without_an_index_would_be_noticed(
    store: Store, tmp_path: Path
) -> None:
    plan = await plan_of(
        store,
        tmp_path / "data" / "rapport.db",
        lambda store: store._read(
            lambda connection: connection.exec_driver_sql(
                "SELECT * FROM votes WHERE source = 'x' ORDER BY source"
            ).all()
        ),
    )
    assert [step for step in plan if BIG.search(step)]
