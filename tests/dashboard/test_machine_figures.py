"""How fast replies come, what memory holds, and tables as files."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path

from bot.dashboard.figures.machine import card_of, memory, pace, resident, spread
from bot.dashboard.figures.sheet import as_csv
from bot.dashboard.fresh import RESTS, STALE, Seldom
from bot.engine.local import LocalEngine
from bot.store import Store
from bot.types import Timings
from tests.engine.tiny import load, make_model
from tests.learning.rated import SLOTS
from tests.store.samples import exchange

ROOT = Path(__file__).parents[2]


def test_the_middle_and_the_far_end_are_numbers_that_were_measured() -> None:
    assert spread([]) == spread(())
    assert (spread([]).median, spread([]).high) == (None, None)
    assert (spread([3.0]).median, spread([3.0]).high) == (3.0, 3.0)
    hundred = [float(number) for number in range(100, 0, -1)]
    assert (spread(hundred).median, spread(hundred).high) == (50.0, 95.0)


async def test_speed_counts_from_a_replys_turn_and_empty_replies_are_left_out(
    store: Store,
) -> None:
    for timings in (
        Timings(queued=1.0, first_token=1.5, total=3.0, reply_tokens=20),
        Timings(total=1.0),
        Timings(queued=0.0, first_token=0.2, total=1.0, reply_tokens=30),
    ):
        await store.add_exchange(exchange(timings=timings))
    found = await pace(store)
    assert (found.replies, found.first_token, found.speed) == ((1, 3), (1.5, 0.2), (10.0, 30.0))
    assert (await pace(store, 1)).replies == (3,)


async def test_memory_is_that_of_this_process_and_of_the_engines_cache(tmp_path: Path) -> None:
    engine = LocalEngine(load(make_model(tmp_path), SLOTS), SLOTS, 0.25)
    try:
        found = await memory(engine)
    finally:
        await engine.close()
    assert found.process > 1 << 26  # a process with a model in it
    stats = engine.stats()
    assert (found.cache, found.cache_limit) == (0, stats.cache_limit)
    assert (found.arena, found.arena_limit, found.packed) == (
        0, stats.arena_limit, stats.packed_bytes,
    )  # fmt: skip
    assert found.card is None


def test_what_is_held_is_counted() -> None:
    before = resident()
    held = b"x" * (128 << 20)
    assert resident() - before > len(held) * 0.9


def test_the_drivers_answer_is_read_and_anything_else_is_no_answer() -> None:
    assert card_of("1024, 143771\n512, 143771\n") == (1 << 30, 143771 << 20)
    assert card_of("") is None
    assert card_of("NVIDIA-SMI has failed\n") is None


def test_a_spreadsheet_runs_nothing_of_a_saved_table() -> None:
    text = as_csv(("who", "votes"), [("=1+1", 3), ("+49", -2), ('a "b", c\nd', None)])
    assert list(csv.reader(io.StringIO(text, newline=""))) == [
        ["who", "votes"], ["'=1+1", "3"], ["'+49", "-2"], ['a "b", c\nd', ""],
    ]


def test_what_is_costly_is_looked_at_after_a_change_but_not_all_the_time() -> None:
    now = 100.0
    seldom = Seldom(lambda: now)
    assert seldom.due("a")
    now += 2.0  # looking took so long
    seldom.done()
    assert not seldom.due("b")
    now += 2.0 * RESTS
    assert seldom.due("b")
    seldom.done()
    assert not seldom.due("b")
    now += STALE
    assert seldom.due("b")


def test_what_somebody_has_just_changed_is_looked_at_whatever_it_costs() -> None:
    now = 100.0
    seldom = Seldom(lambda: now)
    assert seldom.due("a")
    now += 2.0
    seldom.done()
    seldom.again()
    assert seldom.due("a")


def test_figures_need_no_page() -> None:
    names = [path.stem for path in (ROOT / "bot" / "dashboard" / "figures").glob("*.py")]
    code = "import sys; " + "; ".join(
        f"import bot.dashboard.figures.{name}" for name in names if name != "__init__"
    ) + "; import bot.dashboard.charts; print('nicegui' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "False"
