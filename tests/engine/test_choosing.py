"""Of several replies the one is given that a ranker finds best, such as the likeliest."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from bot.engine.base import Delta, Engine, Request, ScoreItem, whole
from bot.engine.choosing import Choosing, Likely
from bot.engine.local import LocalEngine
from bot.types import BASE, Sampling
from tests.engine.conftest import Start
from tests.engine.tiny import GREEDY, collect, ids_of, prompt_ids

PROMPT = prompt_ids(20)
DRAWN = 6
WARM = Sampling(
    1.4, top_k=60, top_p=0.97, repetition_penalty=1.2, max_tokens=60, seed=3,
    logit_bias=((0, 2.0), (9, 1.5)), bad_words=((8,), (9, 10)), min_tokens=2,
)  # fmt: skip
"""All that may come between what the model finds likely and what is said."""


class Even:
    """A ranker to whom all replies are the same."""

    log_probs = False

    async def scores(self, request: Request, replies: Sequence[Delta]) -> Sequence[float]:
        return [0.5] * len(replies)


def likeliest(engine: LocalEngine) -> Choosing:
    return Choosing(engine, DRAWN, lambda _: Likely())


async def alone(engine: Engine, request: Request) -> list[Delta]:
    """What each of the first seeds gives."""
    assert request.sampling.seed is not None
    seeds = range(request.sampling.seed, request.sampling.seed + DRAWN)
    return [
        await whole(engine, replace(request, sampling=replace(request.sampling, seed=seed)))
        for seed in seeds
    ]


async def measured(engine: Engine, request: Request, ids: Sequence[int]) -> tuple[float, ...]:
    """How likely the engine finds the tokens of a given reply."""
    (score,) = await engine.score([ScoreItem(request.prompt_ids, ids, request.adapter)])
    return score.log_probs


@pytest.mark.parametrize("adapter", [BASE, "v1"])
async def test_tokens_are_as_likely_as_the_model_alone_finds_them_however_they_are_drawn(
    kind: str, adapter: str, folders: dict[str, Path], adapters: dict[str, list[Path]],
    start: Start,
) -> None:  # fmt: skip
    engine = start(folders[kind], turns=True)
    await engine.load("v1", adapters[kind][1])
    asked = [
        Request(prompt_ids(9 + 7 * n, n), adapter, replace(how, seed=n), log_probs=n % 3 < 2)
        for n, how in enumerate([WARM, GREEDY, Sampling(), WARM, WARM, GREEDY])
    ]
    for request, reply in zip(
        asked, await asyncio.gather(*(whole(engine, one) for one in asked)), strict=True
    ):
        assert reply.ids
        wanted = await measured(engine, request, reply.ids) if request.log_probs else ()
        assert reply.log_probs == pytest.approx(wanted, abs=1e-4)


async def test_each_delta_tells_how_likely_its_own_tokens_are(
    folders: dict[str, Path], start: Start
) -> None:
    request = Request(PROMPT, sampling=WARM, log_probs=True)
    deltas = await collect(start(folders["llama"]).stream(request))
    assert len(deltas) > 1
    assert [len(delta.log_probs) for delta in deltas] == [len(delta.ids) for delta in deltas]


async def test_the_reply_whose_tokens_are_likeliest_on_average_is_given(
    folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders["llama"])
    request = Request(PROMPT, sampling=WARM, best_of=DRAWN)
    ended = [one for one in await alone(engine, request) if one.finish == "stop"]
    means = []
    for one in ended:
        found = await measured(engine, request, one.ids)
        means.append(sum(found) / len(found))
    assert len(ended) > 2
    assert max(means) > means[0]
    (given,) = await collect(likeliest(engine).stream(request))
    assert given.ids == ended[means.index(max(means))].ids
    assert given.log_probs == ()
    assert given.timings is not None
    assert given.timings.drawn == DRAWN
    (told,) = await collect(likeliest(engine).stream(replace(request, log_probs=True)))
    assert sum(told.log_probs) / len(told.ids) == pytest.approx(max(means), abs=1e-4)


async def test_of_equally_good_replies_the_first_is_given(
    folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders["llama"])
    request = Request(PROMPT, sampling=WARM, best_of=DRAWN)
    ended = [one for one in await alone(engine, request) if one.finish == "stop"]
    assert ended[0].ids != ended[1].ids
    (given,) = await collect(Choosing(engine, DRAWN, lambda _: Even()).stream(request))
    assert given.ids == ended[0].ids


async def test_a_greedy_reply_is_given_word_by_word_since_all_would_be_the_same(
    folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders["llama"])
    request = Request(PROMPT, sampling=GREEDY, best_of=DRAWN)
    async with aclosing(likeliest(engine).stream(request)) as stream:
        deltas = await collect(stream)
    assert len(deltas) > 1
    assert tuple(ids_of(deltas)) == (await whole(engine, request)).ids
    assert engine.stats().replies == 2
