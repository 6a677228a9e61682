"""Biases and bans give the replies that generate() gives, each row its own."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bot.config import EngineConfig
from bot.engine.base import Request
from bot.engine.bias import LongWords
from bot.engine.local import LocalEngine
from bot.engine.sampling import Filters, Settings
from bot.types import Sampling
from tests.engine.built_in import BuiltIn
from tests.engine.conftest import Start
from tests.engine.tiny import (
    GREEDY,
    collect,
    expected_reply,
    ids_of,
    load,
    plain_model,
    prompt_ids,
    reply,
)

CPU = torch.device("cpu")


@pytest.fixture
async def engine(built_in: BuiltIn) -> AsyncIterator[LocalEngine]:
    made = LocalEngine(built_in.loaded, EngineConfig(rows=12), 0.25)
    yield made
    await made.close()


@pytest.mark.parametrize("penalty", [1.0, 1.3])
async def test_replies_with_biases_and_bans_are_what_generate_says(
    built_in: BuiltIn, engine: LocalEngine, penalty: float
) -> None:
    plain = replace(GREEDY, max_tokens=40, repetition_penalty=penalty)
    said = [built_in.expected(prompt, plain) for prompt in built_in.prompts]
    first, second, third, fourth, fifth, sixth = said
    settings = [
        replace(plain, min_tokens=len(first) + 8),
        replace(plain, bad_words=((second[0],), (second[2],))),
        replace(plain, bad_words=(tuple(third[2:5]), (1, 2, 3), tuple(third[1:3]))),
        replace(plain, bad_words=((*built_in.prompts[3][-2:], fourth[0]),)),
        replace(plain, logit_bias=((fifth[0], -4.0), (fifth[1], 2.5), (second[0], 0.5))),
        replace(
            plain, min_tokens=len(sixth) + 5, bad_words=((sixth[1],), tuple(sixth[3:5])),
            logit_bias=((sixth[0], 1.0), (sixth[4], -9.0)),
        ),
    ]  # fmt: skip
    asked = [*zip(built_in.prompts, settings, strict=True)]
    # The end mark is one of the tokens, and comes as soon as it may.
    allowed = [replace(plain, min_tokens=len(ids) - 1) for ids in said]
    asked += zip(built_in.prompts, [plain, plain, plain, *allowed[3:]], strict=True)
    heard = await asyncio.gather(*(reply(engine, one, sampling=how) for one, how in asked))
    assert heard == [built_in.expected(prompt, how) for prompt, how in asked]
    assert heard[6:] == said
    for changed, before in zip(heard[:6], said, strict=True):
        assert changed != before


async def test_an_end_mark_alone_is_never_banned(built_in: BuiltIn, engine: LocalEngine) -> None:
    prompt, (end,) = built_in.prompts[4], built_in.loaded.info.end_ids
    sampling = replace(GREEDY, bad_words=((end,), (7,)))
    heard = await reply(engine, prompt, sampling=sampling)
    assert heard == built_in.expected(prompt, sampling)
    assert heard[-1] == end


async def test_what_is_banned_is_not_drawn_however_flat_the_distribution_is(
    kind: str, folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders[kind], turns=True)
    marks = {*engine.info.end_ids, *engine.info.turn_ids}
    every = range(5, len(load(folders[kind]).template.tokenizer))
    singles, before = tuple((token,) for token in every[1::2]), set(every[:60:2])
    pairs = [pair for pair in itertools.product(sorted(before), every) if sum(pair) % 3]
    for seed in range(6):
        sampling = Sampling(
            5.0, top_p=1.0, max_tokens=60, seed=seed, min_tokens=30,
            bad_words=(*singles, *pairs),
        )  # fmt: skip
        said = ids_of(await collect(engine.stream(Request(prompt_ids(9), sampling=sampling))))
        assert len(said) >= 30
        assert not marks & set(said[:30])
        assert not {token for (token,) in singles} & set(said)
        met = [pair for pair in itertools.pairwise(said) if pair[0] in before and pair[1] > 4]
        assert met
        assert not any(sum(pair) % 3 for pair in met)


def test_a_token_without_mass_is_refused_where_some_are_banned() -> None:
    nothing, rest = torch.zeros(1, 1), torch.ones(1, 1)
    for sampling in (Sampling(bad_words=((3,),), top_p=1.0), Sampling(min_tokens=2, top_p=1.0)):
        filters = Filters.of([sampling], 10, CPU)
        assert filters is not None
        assert not filters.allow(rest, nothing, rest, rest, rest)
    assert Filters.of([Sampling(top_p=1.0)], 10, CPU) is None


def test_rows_that_ask_for_nothing_of_it_cost_nothing() -> None:
    settings = Settings.of([Sampling(), Sampling(0.0)], 50, CPU)
    assert settings.bias is None
    assert settings.watched == ()
    beside = Settings.of([Sampling(), Sampling(min_tokens=3), Sampling(bad_words=((4,),))], 50, CPU)
    assert beside.watched == (1,)
    assert beside.bias is not None
    assert [rows.tolist() for rows, _, _ in beside.bias.parts] == [[[2]]]


def test_a_long_word_is_completed_only_behind_all_of_its_beginning() -> None:
    words = LongWords([(1, 2, 3), (2, 4), (2, 2, 5), (9,), (1, 2, 6)])
    assert words.completed([7, 1, 2]) == [3, 4, 6]
    assert words.completed([2, 2]) == [4, 5]
    assert words.completed([2]) == [4]
    assert words.completed([2, 1]) == []


@pytest.mark.parametrize(
    ("sampling", "why"),
    [
        (replace(GREEDY, bad_words=((5,), (6, 99_999))), "token 99999"),
        (replace(GREEDY, logit_bias=((-1, 1.0),)), "token -1"),
        (replace(GREEDY, bad_words=((),)), "empty"),
        (replace(GREEDY, stop=("x", "")), "empty"),
        (replace(GREEDY, logit_bias=((5, math.inf),)), "finite"),
        (replace(GREEDY, logit_bias=((5, math.nan),)), "finite"),
    ],
)
async def test_settings_that_cannot_be_meant_end_their_own_reply_alone(
    folders: dict[str, Path], start: Start, sampling: Sampling, why: str
) -> None:
    engine = start(folders["llama"])
    prompt = prompt_ids(12)
    refused, said = await asyncio.gather(
        collect(engine.stream(Request(prompt, sampling=sampling))), reply(engine, prompt)
    )
    assert [delta.finish for delta in refused] == ["error"]
    assert why in refused[0].error
    assert said == expected_reply(plain_model(folders["llama"]), prompt)
