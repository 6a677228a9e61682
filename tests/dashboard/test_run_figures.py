"""Runs, versions, and what went wrong, as the pages show them."""

from __future__ import annotations

import math
from datetime import timedelta

from bot.dashboard.figures.runs import check_rows, run_curves, run_rows
from bot.dashboard.figures.troubles import troubles
from bot.dashboard.figures.versions import called, reigns, version_rows
from bot.likerate import LikeRate
from bot.store import Store
from tests.store.samples import NOW, exchange, later, vote

CHECKS = [
    {"name": "length", "passed": True, "reason": "long enough"},
    {"name": "learned", "passed": False, "reason": "not enough to rule out luck"},
]


async def judged(store: Store, name: str, outcome: str) -> int:
    """A finished run with its version and verdict."""
    run = await store.start_run("votes", {})
    started = (await store.runs(1))[0].started
    await store.update_run(
        run, adapter=name, status="finished", message="done", finished=started + timedelta(90),
    )
    await store.add_adapter(name, run, "rejected", "base", NOW, {})
    await store.add_verdict(name, "base", outcome, f"{name} is so.", CHECKS, NOW)
    return run


async def test_a_run_is_told_with_its_length_its_version_and_its_verdict(store: Store) -> None:
    await judged(store, "v0001", "reject")
    (row,) = await run_rows(store, NOW)
    assert (row.id, row.trigger, row.status, row.adapter) == (1, "votes", "finished", "v0001")
    assert (row.seconds, row.outcome, row.sentence) == (90 * 86_400, "reject", "v0001 is so.")


async def test_a_run_that_is_on_is_told_by_its_message_and_how_long_it_has_taken(
    store: Store,
) -> None:
    run = await store.start_run("command", {})
    await store.update_run(run, message="training")
    started = (await store.runs(1))[0].started
    (row,) = await run_rows(store, started + timedelta(seconds=7))
    assert (row.seconds, row.adapter, row.outcome, row.sentence) == (7.0, "", "", "training")


async def test_the_newest_runs_come_first_and_no_more_than_asked_for(store: Store) -> None:
    for _ in range(3):
        await store.start_run("command", {})
    assert [row.id for row in await run_rows(store, NOW, 2)] == [3, 2]


async def test_points_of_a_curve_that_are_no_numbers_are_left_out(store: Store) -> None:
    run = await store.start_run("command", {})
    await store.add_curve_points(
        run, [(1, "loss", 2.0), (2, "loss", math.nan), (2, "held_out", 1.5), (2, "rate", 0.1)]
    )
    found = await run_curves(store, run)
    assert (found.loss, found.held_out) == (((1, 2.0),), ((2, 1.5),))


async def test_checks_that_failed_come_first(store: Store) -> None:
    await judged(store, "v0001", "reject")
    assert [(one.name, one.passed) for one in await check_rows(store, "v0001")] == [
        ("learned", False), ("length", True),
    ]
    assert await check_rows(store, "v0002") == []


async def test_versions_are_told_newest_first_with_how_they_are_liked(store: Store) -> None:
    await judged(store, "v0001", "promote")
    await judged(store, "v0002", "reject")
    key = await store.add_exchange(exchange(adapter="v0001"))
    await store.add_vote(vote(key, "bob", 1))
    await store.add_vote(vote(key, "cid", -1))
    rows = await version_rows(store)
    assert [(row.name, row.outcome, row.against, row.rate) for row in rows] == [
        ("v0002", "reject", "base", LikeRate(0, 0)), ("v0001", "promote", "base", LikeRate(1, 2)),
    ]
    assert [row.name for row in await version_rows(store, 1)] == ["v0002"]


async def test_a_reign_lasts_until_the_next_begins(store: Store) -> None:
    await judged(store, "v0001", "promote")
    await store.set_champion("v0001", "fit", NOW)
    await store.set_champion("base", "rolled back", later(60))
    assert [(one.name, one.since, one.until) for one in await reigns(store)] == [
        ("base", later(60), None), ("v0001", NOW, later(60)),
    ]
    assert (called("base"), called("v0001")) == ("the base model", "v0001")


async def test_a_failed_run_is_told_once_and_the_newest_trouble_first(store: Store) -> None:
    told = await store.start_run("command", {})
    untold = await store.start_run("command", {})
    fine = await store.start_run("command", {})
    for run, status in ((told, "failed"), (untold, "failed"), (fine, "finished")):
        await store.update_run(run, status=status, message="the disk is full", finished=later(30))
    await store.add_event("failed", {"text": f"run {told} failed", "run": told}, later(10))
    await store.add_event("swapped", {"text": "v0001 serves now", "run": told}, later(20))
    await store.add_event("rolled_back", {"text": "back to base"}, later(40))
    assert [(one.kind, one.text) for one in await troubles(store)] == [
        ("rolled_back", "back to base"), ("failed", "run 2: the disk is full"),
        ("failed", "run 1 failed"),
    ]
    assert len(await troubles(store, 1)) == 1
