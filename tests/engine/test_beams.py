"""Beam search says what generate() says, whoever else talks, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bot.config import EngineConfig
from bot.engine.attention import Pass
from bot.engine.base import Delta, Request, ScoreItem, whole
from bot.engine.batch import Batch
from bot.engine.beams import Search
from bot.engine.local import LocalEngine
from bot.engine.model import LoadedModel, make_forward
from bot.engine.pace import Pace
from bot.engine.prefix import PrefixStore
from bot.engine.row import Row
from bot.errors import EngineError
from bot.types import BASE, Sampling
from tests.engine.built_in import BuiltIn, said_by
from tests.engine.conftest import Start
from tests.engine.test_overload import Fuse, settled
from tests.engine.tiny import (
    ENDLESS,
    GREEDY,
    collect,
    expected_reply,
    load,
    plain_model,
    prompt_ids,
    reply,
    stepped,
    with_adapter,
)

TWO, FOUR = replace(GREEDY, beams=2), replace(GREEDY, beams=4)
WARM = Sampling(1.2, max_tokens=30, seed=4)
ONE = replace(GREEDY, max_tokens=1)
UNENDING = replace(FOUR, min_tokens=10_000, max_tokens=10_000)


@pytest.fixture
async def engine(built_in: BuiltIn) -> AsyncIterator[LocalEngine]:
    made = LocalEngine(built_in.loaded, EngineConfig(rows=14), 0.25)
    yield made
    await made.close()


def no_one(delta: Delta) -> None:
    """Hears a reply that nobody waits for."""


def batch_of(loaded: LoadedModel, size: int, prefixes: PrefixStore, most: int = 512) -> Batch:
    """Rows on a model without adapters, of prompts read at most so many tokens at once."""
    return Batch(
        make_forward(loaded.model, EngineConfig(), 256), prefixes, size=size,
        pace=Pace(1.0, most=most), context=256, room=None, ends=loaded.info.end_ids, turns=(),
    )


@pytest.mark.parametrize("beams", [2, 4])
async def test_replies_are_what_generate_says_beside_replies_of_other_kinds(
    built_in: BuiltIn, engine: LocalEngine, beams: int
) -> None:
    plain = replace(GREEDY, max_tokens=40, beams=beams)
    said = [built_in.expected(prompt, plain) for prompt in built_in.prompts]
    first, second, third, _, fifth, sixth = said
    settings = [
        replace(plain, min_tokens=len(first) + 6),
        replace(plain, bad_words=((second[0],), tuple(second[1:3]))),
        replace(plain, logit_bias=((third[0], -4.0), (third[3], 2.5)), length_penalty=2.0),
        replace(plain, repetition_penalty=1.8, length_penalty=0.5),
        replace(plain, max_tokens=len(fifth) - 2),
        replace(
            plain, min_tokens=len(sixth) + 2, repetition_penalty=1.4, length_penalty=0.0,
            bad_words=((sixth[0],),), logit_bias=((sixth[2], 1.0),),
        ),
    ]  # fmt: skip
    alone = await reply(engine, built_in.prompts[0], sampling=WARM)
    asked = [(prompt, replace(plain, beams=1)) for prompt in built_in.prompts]
    asked += zip(built_in.prompts, settings, strict=True)
    asked += [(prompt, plain) for prompt in built_in.prompts]
    heard = await asyncio.gather(
        reply(engine, built_in.prompts[0], sampling=WARM),
        *(reply(engine, prompt, sampling=how) for prompt, how in asked),
    )
    assert heard[0] == alone
    assert heard[1:] == [built_in.expected(prompt, how) for prompt, how in asked]
    assert heard[-6:] == said
    others = zip(heard[7:13], said, heard[1:7], strict=True)
    assert sum(changed not in (before, greedily) for changed, before, greedily in others) >= 5


async def test_searches_of_several_adapters_share_a_batch_with_greedy_replies(
    kind: str, folders: dict[str, Path], adapters: dict[str, list[Path]], start: Start
) -> None:
    engine = start(folders[kind], rows=16, prefill_chunk=16)
    models = {BASE: plain_model(folders[kind])}
    for number, folder in enumerate(adapters[kind][:2]):
        await engine.load(f"v{number}", folder)
        models[f"v{number}"] = with_adapter(folders[kind], folder)
    asked = [
        (name, prompt_ids(12 + 9 * n, n), how)
        for n, name in enumerate([*models, *models]) for how in (GREEDY, TWO, FOUR)
    ]
    heard = await asyncio.gather(
        *(reply(engine, prompt, name, sampling=how) for name, prompt, how in asked)
    )
    assert heard == [said_by(models[name], prompt, how) for name, prompt, how in asked]
    assert len({tuple(ids) for ids in heard}) > 12


async def test_a_reply_comes_whole_with_how_likely_it_is(
    built_in: BuiltIn, engine: LocalEngine
) -> None:
    prompt, how = built_in.prompts[2], replace(FOUR, logit_bias=((9, 1.0),))
    (given,) = await collect(engine.stream(Request(prompt, sampling=how, log_probs=True)))
    assert given.finish == "stop"
    assert given.text == built_in.loaded.template.decode(given.ids)
    (score,) = await engine.score([ScoreItem(prompt, given.ids)])
    assert given.log_probs == pytest.approx(score.log_probs, abs=1e-4)
    assert given.timings is not None
    assert given.timings.reply_tokens == len(given.ids)
    assert given.timings.prompt_tokens == len(prompt)
    assert engine.stats().reply_tokens == len(given.ids)
    (silent,) = await collect(engine.stream(Request(prompt, sampling=how)))
    assert (silent.ids, silent.log_probs) == (given.ids, ())


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
@pytest.mark.parametrize("how", [TWO, FOUR])
async def test_an_id_that_opens_a_turn_cuts_the_reply_as_an_end_mark_would_end_it(
    kind: str, how: Sampling, folders: dict[str, Path], start: Start
) -> None:
    engine, model = start(folders[kind], turns=True), plain_model(folders[kind])
    ends, turns = engine.info.end_ids, engine.info.turn_ids
    finishes = set()
    for seed in range(12):
        prompt = prompt_ids(10, seed)
        wanted = said_by(model, prompt, how, eos_token_id=[*ends, *turns])
        given = await whole(engine, Request(prompt, sampling=how, log_probs=True))
        cut = wanted[-1] in turns
        assert list(given.ids) == (wanted[:-1] if cut else wanted)
        assert len(given.log_probs) == len(given.ids)
        finish = "stop" if wanted[-1] in ends else "length"
        assert given.finish == finish
        finishes.add((finish, cut))
    assert finishes >= {("length", True), ("length", False)}


@pytest.mark.parametrize("beams", [2, 4])
async def test_a_stop_text_ends_a_beginning_as_an_end_mark_does(
    built_in: BuiltIn, engine: LocalEngine, beams: int
) -> None:
    template, plain = built_in.loaded.template, replace(GREEDY, max_tokens=40, beams=beams)
    for prompt in built_in.prompts:
        text = template.decode(built_in.expected(prompt, plain))
        how = replace(plain, stop=(text[5:8], text[-4:-1]))
        given = await whole(engine, Request(prompt, sampling=how))
        wanted = said_by(
            built_in.plain, prompt, plain, stop_strings=list(how.stop),
            tokenizer=template.tokenizer,
        )  # fmt: skip
        assert list(given.ids) == wanted
        said = template.decode(given.ids)
        found = [said.find(one) for one in how.stop if one in said]
        assert given.text == (said[: min(found)] if found else said)
        assert given.finish == "stop"


async def test_a_search_goes_on_where_stop_texts_leave_few_beginnings(
    built_in: BuiltIn, engine: LocalEngine
) -> None:
    letters = tuple("abcdfghjklmnpqrstuvwxyzABCDEFGHJKLMNOPQRSTUVWXYZ")
    for prompt in built_in.prompts:
        how = replace(FOUR, stop=letters, max_tokens=12)
        given = await whole(engine, Request(prompt, sampling=how))
        said = built_in.loaded.template.decode(given.ids)
        assert given.finish in ("stop", "length")
        assert not set(given.text) & set(letters)
        assert said.startswith(given.text)


@pytest.mark.parametrize("stop", [(), tuple("abcdefghjklmnpqrsuvwxyz"), tuple("aeiou")])
def test_each_row_holds_what_its_ids_say(stop: tuple[str, ...], built_in: BuiltIn) -> None:
    loaded = built_in.loaded
    batch, other = (batch_of(loaded, size, PrefixStore(0)) for size in (4, 1))
    how = replace(FOUR, stop=stop, max_tokens=12)
    for prompt in built_in.prompts:
        search = Search(Request(prompt, sampling=how), 256, loaded.template.decode, no_one)
        with torch.inference_mode():
            assert batch.admit(search)
            batch.step()
            while not search.finished:
                for place, row in enumerate(batch.rows):
                    ids = row.ids[: row.known]
                    assert other.admit(Row(Request(ids, sampling=ONE), 256, str, no_one))
                    other.step()
                    here, alone = (
                        [one[:, : row.known] for pair in arena.save(at, row.known).pairs
                         for one in pair]
                        for arena, at in ((batch._arena, place), (other._arena, 0))
                    )  # fmt: skip
                    torch.testing.assert_close(here, alone, rtol=1e-3, atol=1e-3)
                    other.sweep()
                batch.step()
            assert batch.ended() == [search]
            batch.sweep()


def test_what_ends_is_a_reply_only_while_it_is_among_as_many_as_there_are_beams() -> None:
    heard = list[Delta]()
    search = Search(Request([9], sampling=TWO), 256, str, heard.append)

    def advance(*likely: tuple[float, ...]) -> None:
        log_probs = torch.tensor(likely)
        assert not heard
        assert len(search.holding) == len(likely)
        search.advance(log_probs, log_probs, ends={0, 1}, turns=())

    never = -50.0
    advance((-0.1, -0.3, -0.2, -0.4, never))
    # Were the second end a reply, the search would be over now.
    advance((never, never, never, never, -0.42), (never, never, never, never, -0.5))
    for _ in range(5):
        advance(*[(never, never, never, never, 0.0)] * 2)
    advance(*[(0.0, never, never, never, never)] * 2)
    assert [delta.ids for delta in heard] == [(2, 4, 4, 4, 4, 4, 4, 0)]


async def test_a_prompt_is_read_once_for_all_beams(folders: dict[str, Path], start: Start) -> None:
    engine = start(folders["llama"])
    works, passed = engine._worker.forward.logits, list[int]()

    def counted(tokens: Tensor, packed: Pass, wanted: Tensor) -> Tensor:
        passed.append(len(tokens))
        return works(tokens, packed, wanted)

    engine._worker.forward.logits = counted  # type: ignore[method-assign]  # from outside only
    prompt = prompt_ids(60)
    await reply(engine, prompt, sampling=FOUR)
    assert passed[0] == len(prompt)
    assert set(passed[1:]) == {4}


async def test_one_beginning_is_kept_which_the_next_turn_goes_on_from(
    kind: str, folders: dict[str, Path], start: Start
) -> None:
    engine, model = start(folders[kind]), plain_model(folders[kind])
    prompt, how = prompt_ids(40), replace(FOUR, min_tokens=24)  # all end at the limit
    reused = []
    for turn in range(4):
        before = engine.stats().reused_tokens
        said = await reply(engine, prompt, sampling=how, key="room")
        assert said == said_by(model, prompt, how)
        reused.append(engine.stats().reused_tokens - before)
        assert len(engine._worker._prefixes) == 1
        prompt = [*prompt, *said, *prompt_ids(5, turn)]
    assert reused == [0, 40 + 23, 40 + 29 + 23, 40 + 2 * 29 + 23]


def test_who_begins_like_a_beam_shares_only_what_the_beam_keeps(
    folders: dict[str, Path]
) -> None:
    loaded, model = load(folders["llama"], EngineConfig()), plain_model(folders["llama"])
    batch = batch_of(loaded, 120, PrefixStore(0))
    heard, prompt = list[Delta](), prompt_ids(30)
    search = Search(Request(prompt, sampling=FOUR), 256, str, heard.append)
    others: list[Row] = []
    with torch.inference_mode():
        assert batch.admit(search)
        while batch.rows:
            batch.step()
            beginnings = [list(row.ids) for row in search.beams] if not search.finished else []
            batch.sweep()
            for ids in beginnings:
                asked = Request([*ids, 9, 11], sampling=replace(GREEDY, max_tokens=3))
                others.append(Row(asked, 256, str, no_one))
                assert batch.admit(others[-1])
    assert list(heard[0].ids) == said_by(model, prompt, FOUR)
    assert len(others) > 40
    for row in others:
        assert row.ids[row.prompt :] == expected_reply(model, row.ids[: row.prompt], 3)


async def test_a_search_waits_until_it_has_all_its_rows_and_nobody_comes_before_it(
    folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders["llama"], rows=4, share=1.0)
    ended: list[str] = []

    async def ask(name: str, how: Sampling) -> None:
        await reply(engine, prompt_ids(9), sampling=how)
        ended.append(name)

    running = [engine.stream(Request(prompt_ids(8), sampling=ENDLESS)) for _ in range(2)]
    for stream in running:
        await anext(stream)
    tasks = [asyncio.create_task(ask("search", FOUR))]
    await settled(engine)
    tasks.append(asyncio.create_task(ask("after", ONE)))
    await settled(engine)
    assert engine.stats().queued == 2
    await running[0].aclose()
    await settled(engine)
    assert (engine.stats().queued, len(engine._worker._batch.rows)) == (2, 1)
    await running[1].aclose()
    await asyncio.gather(*tasks)
    assert ended == ["search", "after"]


def test_rows_are_kept_free_for_a_search_whose_prompt_is_still_read(
    folders: dict[str, Path]
) -> None:
    batch = batch_of(load(folders["llama"], EngineConfig()), 6, PrefixStore(0), most=16)
    search = Search(Request(prompt_ids(40), sampling=FOUR), 256, str, no_one)
    with torch.inference_mode():
        assert batch.admit(search)
        free = []
        while not search.finished:
            free.append((batch.free, len(batch.rows)))
            batch.step()
        assert set(free) == {(2, 1), (2, 4)}
        assert batch.ended() == [search]
        batch.sweep()
    assert (batch.free, batch.rows, batch.ready) == (6, [], 0)


async def test_who_stops_listening_frees_all_rows(folders: dict[str, Path], start: Start) -> None:
    engine = start(folders["llama"], rows=4, share=1.0)
    batch = engine._worker._batch
    task = asyncio.create_task(reply(engine, prompt_ids(8), sampling=UNENDING))
    while len(batch.rows) < 4:
        await settled(engine)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await settled(engine)
    assert (batch.rows, batch.free, engine.stats().running) == ([], 4, 0)
    model, prompt = plain_model(folders["llama"]), prompt_ids(11)
    assert await reply(engine, prompt, sampling=FOUR) == said_by(model, prompt, FOUR)


@pytest.mark.parametrize("after", [1, 3])
async def test_a_step_that_fails_ends_the_search_once_and_frees_all_rows(
    after: int, folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders["llama"], rows=4)
    prompt = prompt_ids(20)
    fuse = Fuse(engine, after=after)
    (given,) = await collect(engine.stream(Request(prompt, sampling=FOUR, cache_key="room")))
    assert (given.finish, given.ids) == ("error", ())
    assert "short circuit" in given.error
    fuse.remove()
    assert await reply(engine, prompt, sampling=FOUR, key="room") == said_by(
        plain_model(folders["llama"]), prompt, FOUR
    )


async def test_numbers_that_are_not_finite_in_one_beam_end_that_search_alone(
    folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders["llama"], rows=5)
    good = prompt_ids(20)
    expected, found = await reply(engine, good), await reply(engine, good, sampling=FOUR)
    poison = next(token for token in found if token not in (*expected, *good))
    with torch.no_grad():
        resident = engine._worker._background._resident
        resident.twin().get_input_embeddings().weight[poison] = torch.nan
    for _ in range(2):
        bad, said = await asyncio.gather(
            collect(engine.stream(Request(good, sampling=FOUR))), reply(engine, good)
        )
        assert [delta.finish for delta in bad] == ["error"]
        assert "finite" in bad[0].error
        assert said == expected
    await stepped(engine)
    assert engine._worker._batch.free == 5


@pytest.mark.parametrize(
    ("how", "why"),
    [
        (replace(GREEDY, beams=5), "raise engine.rows"),
        (replace(GREEDY, beams=0), "at least one"),
        (Sampling(0.8, beams=2), "set its temperature to 0"),
    ],
)
async def test_what_cannot_be_searched_for_is_refused_at_once(
    how: Sampling, why: str, folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders["llama"], rows=4)
    with pytest.raises(EngineError, match=why):
        await collect(engine.stream(Request(prompt_ids(8), sampling=how)))
    assert engine.stats().replies == 0
