"""A verdict as people can read it, in words and as a picture."""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bot.engine.local import LocalEngine
from bot.errors import LearningError
from bot.store import Store
from bot.types import BASE
from learning.reports.picture import draw_verdict
from learning.reports.summary import report_of
from tests.engine.tiny import load, make_model
from tests.learning.rated import SLOTS, config, world

NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)
CHECKS: list[dict[str, Any]] = [
    {"name": "learned", "passed": True, "value": 0.2, "limit": 0.0, "reason": "It moved +0.2."},
    {"name": "anchors", "passed": False, "value": math.inf, "limit": 0.0, "reason": "None."},
]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await Store.open(tmp_path) as opened:
        yield opened


async def judged(store: Store, name: str, outcome: str, status: str = "candidate") -> None:
    """A version with a verdict, of a run with a curve."""
    run = await store.start_run("manual", {})
    await store.add_curve_points(run, [(1, "loss", 3.0), (2, "loss", 2.0), (2, "held_out", 2.5)])
    await store.add_adapter(name, run, status, "tiny", NOON, {})
    sample = ("Hello", "Hm.", "Hello!")
    await store.add_verdict(name, BASE, outcome, f"{name} is so.", CHECKS, NOON, [sample])


def size_of(picture: bytes) -> tuple[int, int]:
    """Width and height of a PNG, from its first chunk."""
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", picture[16:24])
    return width, height


async def test_the_verdict_of_a_real_run_is_told_with_checks_replies_and_a_picture(
    tmp_path: Path,
) -> None:
    engine = LocalEngine(load(make_model(tmp_path / "model"), SLOTS), SLOTS, 0.25)
    try:
        async with world(engine, tmp_path / "data", config()) as here:
            await here.rate(16)
            assert (await here.learn()).kind == "finished"
            report = await here.loop.report()
    finally:
        await engine.close()
    assert (report.adapter, report.champion) == ("v0001", BASE)
    assert (report.outcome, report.state) == ("shadow", "shadow")
    assert "Too few votes to judge by" in report.sentence
    assert {"learned", "memory"} <= {check.name for check in report.checks}
    assert all(check.reason for check in report.checks)
    assert len(report.samples) == 5
    assert all(prompt for prompt, _, _ in report.samples)
    assert size_of(report.picture) == (1000, 560)


@pytest.mark.parametrize(
    ("status", "outcome", "state"),
    [("waiting", "promote", "waiting"), ("rejected", "promote", "turned away"),
     ("retired", "promote", "retired"), ("broken", "promote", "retired"),
     ("shadow", "shadow", "shadow"), ("candidate", "promote", "serving"),
     ("candidate", "reject", "turned away")],
)  # fmt: skip
async def test_a_report_says_how_the_version_stands(
    store: Store, status: str, outcome: str, state: str
) -> None:
    await judged(store, "v0001", outcome, status)
    report = await report_of(store)
    assert (report.outcome, report.state) == (outcome, state)
    assert report.samples == (("Hello", "Hm.", "Hello!"),)
    assert [(check.name, check.passed) for check in report.checks] == [
        ("learned", True), ("anchors", False),
    ]  # fmt: skip


async def test_a_report_is_of_the_newest_verdict_or_of_the_version_named(store: Store) -> None:
    await judged(store, "v0001", "promote")
    await store.set_champion("v0001", "better", NOON)
    await judged(store, "v0002", "reject", "rejected")
    assert (await report_of(store)).sentence == "v0002 is so."
    named = await report_of(store, "v0001")
    assert (named.sentence, named.state) == ("v0001 is so.", "serving")


async def test_what_was_never_judged_has_no_report(store: Store) -> None:
    with pytest.raises(LearningError, match="nothing has been judged yet"):
        await report_of(store)
    await judged(store, "v0001", "reject")
    with pytest.raises(LearningError, match="v0002 was never judged"):
        await report_of(store, "v0002")
    with pytest.raises(LearningError, match="no verdict"):
        await report_of(store, BASE)


async def test_without_matplotlib_a_report_has_no_picture(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await judged(store, "v0009", "reject")  # of which nothing was drawn before
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    report = await report_of(store)
    assert (report.picture, report.sentence) == (b"", "v0009 is so.")


async def test_a_picture_is_drawn_once_while_the_verdict_and_the_curve_are_the_same(
    store: Store
) -> None:
    await judged(store, "v0001", "promote", "waiting")
    first = await report_of(store, "v0001")
    await store.set_champion("v0001", "approved", NOON)
    later = await report_of(store, "v0001")
    assert (first.state, later.state) == ("waiting", "serving")
    assert later.picture is first.picture
    await judged(store, "v0002", "promote")
    assert (await report_of(store, "v0002")).picture != first.picture


@pytest.mark.parametrize("curve", [[], [(1, "loss", math.nan), (2, "loss", math.inf)]])
def test_a_picture_is_drawn_of_whatever_was_recorded(
    curve: list[tuple[int, str, float]],
) -> None:
    sentence = "Rejected: 3 replies break a rule, such as the pattern $^\\frac; none may. " * 9
    picture = draw_verdict(sentence, CHECKS, curve, adapter="v0001", champion="v0002")
    assert size_of(picture) == (1000, 560)
