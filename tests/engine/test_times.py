"""Where the time of replies goes: counted as it passes, for one reply and for all."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bot.engine.base import Counts, Delta, Request
from bot.engine.histogram import Histogram, Meters
from bot.engine.row import Row
from bot.types import Sampling
from tests.engine.conftest import Start
from tests.engine.tiny import GREEDY, Clock, collect, ids_of, prompt_ids


def test_a_replys_times_are_told_and_counted_as_they_pass() -> None:
    clock, meters, heard = Clock(), Meters(), list[Delta]()
    request = Request([5, 6], sampling=Sampling(max_tokens=4))
    row = Row(request, 256, str, heard.append, clock, meters)
    clock.now += 3.0
    row.admit()
    for passes in (1.0, 0.5, 0.25, 1.5):
        clock.now += passes
        row.add(7, ends=False)
    told = heard[-1].timings
    assert told is not None
    assert (told.queued, told.first_token, told.total) == (3.0, 4.0, 6.25)
    assert (told.mean_gap, told.worst_gap) == (0.75, 1.5)
    for histogram, number, seconds in (
        (meters.queued, 1, 3.0), (meters.first_token, 1, 4.0), (meters.token_gap, 3, 2.25),
    ):
        counts = histogram.taken()
        assert (sum(counts.counts), counts.sum) == (number, seconds)


def test_one_word_has_no_gap_and_what_never_ran_has_waited() -> None:
    clock, meters, heard = Clock(), Meters(), list[Delta]()
    single = Row(Request([5]), 256, str, heard.append, clock, meters)
    single.admit()
    clock.now += 1.0
    single.add(7, ends=True)
    told = heard[-1].timings
    assert told is not None
    assert (told.mean_gap, told.worst_gap) == (0.0, 0.0)
    never = Row(Request([5], deadline=9), 256, str, heard.append, clock, meters)
    clock.now += 9.0
    never.expire()
    assert meters.queued.taken().sum == 9.0
    assert sum(meters.first_token.taken().counts) == 1


async def test_the_engine_counts_replies_that_are_somebodys(
    folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders["llama"])
    await collect(engine.stream(Request(prompt_ids(9), sampling=GREEDY)))
    stats = engine.stats()
    assert not any(map(sum, (one.counts for one in (stats.waited, stats.first_token))))
    said = await asyncio.gather(*(
        collect(engine.stream(Request(prompt_ids(9, n), sampling=GREEDY, tenant="a")))
        for n in range(3)
    ))  # fmt: skip
    stats, tokens = engine.stats(), sum(len(ids_of(one)) for one in said)
    assert [sum(one.counts) for one in (stats.waited, stats.first_token)] == [3, 3]
    assert sum(stats.token_gap.counts) == tokens - 3
    waits = [one[-1].timings.first_token for one in said if one[-1].timings]
    assert stats.first_token.sum == pytest.approx(sum(waits))


def test_a_bound_belongs_to_what_lies_below_it() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 9.0):
        histogram.add(value)
    assert histogram.taken() == Counts((1.0, 2.0), (2, 2, 1), 14.0)


def test_a_quantile_lies_evenly_between_bounds_and_never_beyond_the_last() -> None:
    counts = Counts((1.0, 2.0, 4.0), (10, 0, 10, 0), 0.0)
    assert [counts.quantile(share) for share in (0.25, 0.5, 0.75, 1.0)] == [0.5, 1.0, 3.0, 4.0]
    assert Counts((1.0,), (0, 7), 0.0).quantile(0.5) == 1.0
    assert Counts((1.0,), (0, 0), 0.0).quantile(0.5) is None
