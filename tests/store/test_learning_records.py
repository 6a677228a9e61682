"""Runs, adapters, champions, verdicts, events and settings."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bot.errors import StoreError
from bot.store import Event, Store
from bot.store.store import FILE
from bot.types import BASE, AdapterRef
from tests.store.samples import NOW, later


async def add_adapter(store: Store, name: str, base: str = "b", seconds: float = 0) -> None:
    """A candidate of no run."""
    await store.add_adapter(name, None, "candidate", base, later(seconds), {"auc": 0.7})


async def test_a_run_keeps_what_was_said_of_it_last(store: Store) -> None:
    key = await store.start_run("vote", {"seed": 3, "objective": "sft"})
    await store.update_run(key, stage="train", progress=0.5, message="half-way")
    await store.update_run(key, status="failed", finished=later(9), metrics={"loss": 1.5})
    await store.update_run(key, adapter="v0001", snapshot="abc")
    await store.update_run(key)
    (run,) = await store.runs()
    assert (run.id, run.trigger, run.settings) == (key, "vote", {"seed": 3, "objective": "sft"})
    assert (run.status, run.stage, run.progress) == ("failed", "train", 0.5)
    assert (run.adapter, run.snapshot, run.message) == ("v0001", "abc", "half-way")
    assert run.finished == later(9)
    assert run.metrics == {"loss": 1.5}
    assert run.started.tzinfo is not None
    with pytest.raises(StoreError, match="there is no run 99"):
        await store.update_run(99, status="done")


async def test_runs_come_newest_first_and_unfinished_ones_can_be_asked_for(store: Store) -> None:
    keys = [await store.start_run("cron", {}) for _ in range(4)]
    await store.update_run(keys[1], status="done", finished=NOW)
    assert [run.id for run in await store.runs(limit=3)] == keys[:0:-1]
    assert [run.id for run in await store.unfinished_runs()] == [keys[0], keys[2], keys[3]]


async def test_a_curve_keeps_every_point_and_a_resumed_run_may_repeat_some(store: Store) -> None:
    key = await store.start_run("manual", {})
    await store.add_curve_points(key, [(2, "loss", 2.0), (1, "loss", 3.0), (1, "kl", math.inf)])
    await store.add_curve_points(key, [(2, "loss", 1.9), (3, "loss", math.nan)])
    await store.add_curve_points(key, [])
    *points, diverged = await store.curve(key)
    assert points == [(1, "kl", math.inf), (1, "loss", 3.0), (2, "loss", 1.9)]
    assert diverged[:2] == (3, "loss")
    assert math.isnan(diverged[2])
    with pytest.raises(StoreError, match="FOREIGN KEY"):
        await store.add_curve_points(99, [(1, "loss", 1.0)])


async def test_adapters_come_newest_last_with_their_newest_verdict(store: Store) -> None:
    await add_adapter(store, "v0001", seconds=5)
    await add_adapter(store, "v0002")
    await store.set_adapter_status("v0002", "shadow")
    for sentence in ("first thought", "second thought"):
        await store.add_verdict("v0001", BASE, "reject", sentence, [], NOW)
    assert await store.adapters() == [
        AdapterRef("v0001", "candidate", later(5), "second thought"),
        AdapterRef("v0002", "shadow", NOW, ""),
    ]


async def test_an_adapter_is_never_made_twice_nor_changed_when_unknown(store: Store) -> None:
    await add_adapter(store, "v0001")
    with pytest.raises(StoreError, match="v0001 already"):
        await add_adapter(store, "v0001")
    with pytest.raises(StoreError, match="there is no adapter v0009"):
        await store.set_adapter_status("v0009", "rejected")
    with pytest.raises(StoreError, match="no adapter status"):
        await store.set_adapter_status("v0001", "splendid")
    with pytest.raises(StoreError, match="set_champion"):
        await store.set_adapter_status("v0001", "champion")


async def test_a_new_champion_retires_the_old_one_and_history_is_kept(store: Store) -> None:
    assert await store.champion() == BASE
    await add_adapter(store, "v0001")
    await add_adapter(store, "v0002")
    steps = [("v0001", "better"), ("v0002", "better still"), (BASE, "rolled back")]
    seen = []
    for seconds, (name, reason) in enumerate(steps):
        await store.set_champion(name, reason, later(seconds))
        assert await store.champion() == name
        seen.append([adapter.status for adapter in await store.adapters()])
    assert seen == [["champion", "candidate"], ["retired", "champion"], ["retired", "retired"]]
    assert await store.champions() == [
        (name, reason, later(seconds)) for seconds, (name, reason) in enumerate(steps)
    ]


async def test_an_unknown_champion_changes_nothing(store: Store) -> None:
    await add_adapter(store, "v0001")
    await store.set_champion("v0001", "better", NOW)
    with pytest.raises(StoreError, match="there is no adapter v0002"):
        await store.set_champion("v0002", "who?", NOW)
    assert await store.champion() == "v0001"
    assert (await store.adapters())[0].status == "champion"


async def test_a_verdict_comes_back_with_its_checks(store: Store) -> None:
    assert await store.verdict("v0001") is None
    await add_adapter(store, "v0001", base="small")
    await add_adapter(store, "v0002", base="large")
    checks: list[dict[str, Any]] = [{"name": "auc", "value": 0.7, "passed": True}]
    samples = [("Hello", "Hm.", "Hello!"), ("How are you?", "Well.", "Well, and you?")]
    for name in ("v0001", "v0002"):
        await store.add_verdict(name, BASE, "promote", "It is better.", checks, NOW, samples)
    expected = {
        "adapter": "v0001",
        "champion": BASE,
        "outcome": "promote",
        "sentence": "It is better.",
        "checks": checks,
        "time": NOW,
        "samples": samples,
    }
    assert await store.verdict("v0001") == expected
    assert await store.verdicts(base="small") == [expected]
    assert [verdict["adapter"] for verdict in await store.verdicts()] == ["v0001", "v0002"]


async def test_what_is_no_number_is_kept_as_unknown_so_that_every_program_can_read_it(
    store: Store, tmp_path: Path
) -> None:
    run = await store.start_run("manual", {"limits": [math.inf, 1.0]})
    await store.update_run(run, metrics={"perplexity": math.inf, "auc": 0.7})
    await store.add_adapter("v0001", run, "candidate", "b", NOW, {"loss": math.nan})
    checks = [{"name": "learned", "value": -math.inf, "limit": 0.0, "passed": False}]
    await store.add_verdict("v0001", BASE, "reject", "It is worse.", checks, NOW)
    kept = await store.verdict("v0001")
    assert kept is not None
    assert kept["checks"] == [{"name": "learned", "value": None, "limit": 0.0, "passed": False}]
    found = await store.run(run)
    assert found is not None
    assert found.metrics == {"perplexity": None, "auc": 0.7}
    assert found.settings == {"limits": [None, 1.0]}
    with closing(sqlite3.connect(tmp_path / "data" / FILE)) as connection:
        for table, column in (("verdicts", "checks"), ("adapters", "metrics"),
                              ("runs", "metrics"), ("runs", "settings")):  # fmt: skip
            query = f"SELECT json_valid({column}) FROM {table}"
            assert connection.execute(query).fetchall() == [(1,)], column
    assert await store.run(99) is None


async def test_wiping_samples_leaves_the_rest_of_those_verdicts_and_all_of_others(
    store: Store,
) -> None:
    sample = [("Hello", "Hm.", "Hello!")]
    pairs = [("v0001", BASE), ("v0002", "v0001"), ("v0003", BASE)]
    for name, champion in pairs:
        await store.add_verdict(name, champion, "reject", "It is worse.", [], NOW, sample)
    before = await store.verdicts()
    await store.wipe_samples({"v0001"})
    assert await store.verdicts() == [
        {**before[0], "samples": []}, {**before[1], "samples": []}, before[2],
    ]  # fmt: skip


async def test_the_run_that_made_a_version_is_known(store: Store) -> None:
    run = await store.start_run("manual", {})
    await store.add_adapter("v0001", run, "candidate", "b", NOW, {})
    await add_adapter(store, "v0002")
    assert [await store.run_of(name) for name in ("v0001", "v0002", "v0009")] == [run, None, None]


async def test_events_come_newest_first_and_by_kind(store: Store) -> None:
    for number, kind in enumerate(("swap", "alarm", "swap")):
        await store.add_event(kind, {"number": number}, later(number))
    swaps = await store.events("swap")
    assert swaps == [
        Event(3, "swap", {"number": 2}, later(2)),
        Event(1, "swap", {"number": 0}, NOW),
    ]
    assert [event.kind for event in await store.events(limit=2)] == ["swap", "alarm"]


async def test_settings_survive_a_restart(store: Store, tmp_path: Path) -> None:
    assert await store.get_setting("paused") is None
    await store.set_setting("paused", False)
    await store.set_setting("paused", True)
    await store.set_setting("tries", {"a": [1, None]})
    await store.close()
    async with await Store.open(tmp_path / "data") as reopened:
        assert await reopened.get_setting("paused") is True
        assert await reopened.get_setting("tries") == {"a": [1, None]}


async def test_versions_are_numbered_and_never_given_twice(store: Store) -> None:
    assert [await store.next_version() for _ in range(3)] == ["v0001", "v0002", "v0003"]
