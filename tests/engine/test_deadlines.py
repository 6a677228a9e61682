"""A reply has its time, in the queue and in its row, and ends with what it has by then."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from bot.engine.base import Delta, Request
from bot.engine.row import Row
from tests.engine.conftest import Start
from tests.engine.tiny import (
    ENDLESS,
    GREEDY,
    Clock,
    collect,
    expected_reply,
    ids_of,
    plain_model,
    prompt_ids,
    reply,
    stepped,
)


async def test_a_reply_whose_time_is_up_ends_with_what_it_has_said(
    folders: dict[str, Path], start: Start
) -> None:
    clock = Clock()
    engine = start(folders["llama"], rows=1, clock=clock)
    prompt = prompt_ids(8)
    stream = engine.stream(Request(prompt, sampling=ENDLESS, cache_key="a", deadline=60))
    said = [await anext(stream)]
    clock.now += 60.0
    said += await collect(stream)
    last = said[-1]
    assert (last.finish, last.ids, last.error) == ("timeout", (), "")
    assert last.timings is not None
    assert (last.timings.first_token, last.timings.total) == (0, 60)
    assert last.timings.reply_tokens == len(ids_of(said))
    model = plain_model(folders["llama"])
    assert ids_of(said) == expected_reply(model, prompt, len(ids_of(said)))
    # Its row is free, and what was read of it serves the next turn.
    longer = [*prompt, *ids_of(said), *prompt_ids(5, 1)]
    assert await reply(engine, longer, key="a") == expected_reply(model, longer)
    assert engine.stats().reused_tokens >= len(prompt)


async def test_a_reply_that_waits_for_a_row_in_vain_never_runs_and_harms_nobody(
    folders: dict[str, Path], start: Start
) -> None:
    clock = Clock()
    engine = start(folders["llama"], rows=1, clock=clock)
    running = engine.stream(Request(prompt_ids(8), sampling=ENDLESS))
    await anext(running)
    hasty = asyncio.create_task(
        collect(engine.stream(Request(prompt_ids(9), sampling=GREEDY, deadline=60)))
    )
    patient = asyncio.create_task(
        collect(engine.stream(Request(prompt_ids(10), sampling=GREEDY, deadline=600)))
    )
    await asyncio.sleep(0)
    assert engine.stats().queued == 2
    clock.now += 61.0
    (only,) = await hasty
    assert (only.ids, only.text, only.finish) == ((), "", "expired")
    assert only.timings is not None
    assert only.timings.queued == 61
    assert (await anext(running)).finish is None
    assert (engine.stats().running, engine.stats().queued) == (1, 1)
    await running.aclose()
    assert (await patient)[-1].finish in ("stop", "length")
    assert engine.stats().prompt_tokens == 8 + 10


async def test_without_a_deadline_a_reply_takes_its_time(
    folders: dict[str, Path], start: Start
) -> None:
    clock = Clock()
    engine = start(folders["llama"], clock=clock)
    stream = engine.stream(Request(prompt_ids(8), sampling=replace(GREEDY, min_tokens=24)))
    said = [await anext(stream)]
    clock.now += 1e9
    said += await collect(stream)
    assert said[-1].finish == "length"


@pytest.mark.parametrize(("words", "finish"), [(0, "expired"), (2, "timeout")])
def test_what_has_not_begun_has_expired_though_it_has_a_row(words: int, finish: str) -> None:
    heard: list[Delta] = []
    row = Row(Request([5, 6], deadline=1), 256, str, heard.append)
    row.admit()
    for _ in range(words):
        row.add(7, ends=False)
    row.expire()
    assert heard[-1].finish == finish


async def test_a_search_whose_time_is_up_gives_the_likeliest_beginning(
    folders: dict[str, Path], start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    engine = start(folders["llama"], rows=4, clock=clock)
    batch, how = engine._worker._batch, replace(ENDLESS, beams=4, min_tokens=100)
    step = batch.step

    def step_until_late() -> None:
        step()
        if batch.rows[0].replied == 5:
            clock.now += 60.0

    monkeypatch.setattr(batch, "step", step_until_late)
    request = Request(prompt_ids(8), sampling=how, deadline=60, log_probs=True)
    (given,) = await collect(engine.stream(request))
    assert given.finish == "timeout"
    assert len(given.ids) == len(given.log_probs) == 5
    monkeypatch.undo()
    assert await reply(engine, prompt_ids(8), sampling=replace(how, max_tokens=5)) == [*given.ids]
    await stepped(engine)
    assert batch.free == 4
