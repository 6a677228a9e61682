"""Several replies are drawn, and the one that people would like best is said."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from bot.config import Config, SamplingConfig
from bot.conversation import Conversation, Reply, TextDelta
from bot.engine.base import Delta, Request
from bot.engine.choosing import Choosing
from bot.engine.local import LocalEngine
from bot.errors import AdapterError
from bot.store import Store
from bot.types import ChannelKey, Message, Sampling
from learning.taste.choosing import Liked
from learning.taste.features import dimensions, features_of
from learning.taste.head import Head, Scale, fit
from learning.taste.kept import HEAD_FILE, read_head, write_head
from tests.engine.tiny import make_adapter

PROMPT = tuple(range(5, 25))
ROWS = 4
SEED = 1


@pytest.fixture
async def choosing(engine: LocalEngine, model: Path, tmp_path: Path) -> Choosing:
    """With a version v0001, which knows what is liked, and v0002, which does not."""
    liked = Liked(engine)
    found = Choosing(liked, ROWS, liked.ranker)
    folder = make_adapter(model, tmp_path / "one", 1)
    numbers = dimensions(engine.info.hidden)
    write_head(folder, Head(np.random.default_rng(4).normal(size=numbers), 0.5))
    await found.load("v0001", folder)
    await found.load("v0002", make_adapter(model, tmp_path / "two", 2))
    return found


def asked(best_of: int, adapter: str = "v0001", tokens: int = 150) -> Request:
    return Request(PROMPT, adapter, Sampling(1.5, max_tokens=tokens, seed=SEED), best_of=best_of)


async def said(engine: Choosing | LocalEngine, request: Request) -> list[Delta]:
    async with aclosing(engine.stream(request)) as deltas:
        return [delta async for delta in deltas]


async def alone(engine: LocalEngine, request: Request, count: int) -> list[Delta]:
    """What each of the first seeds gives."""
    found = []
    for number in range(count):
        sampling = replace(request.sampling, seed=SEED + number)
        deltas = await said(engine, replace(request, sampling=sampling))
        ids = tuple(key for delta in deltas for key in delta.ids)
        found.append(replace(deltas[-1], ids=ids, text="".join(one.text for one in deltas)))
    return found


async def like(
    choosing: Choosing, folder: Path, drawn: Sequence[Delta], scores: Sequence[float]
) -> None:
    """Have v0001 choose by a head that likes these replies so much."""
    features = await features_of(choosing, [(PROMPT, one.ids) for one in drawn])
    write_head(folder, Head(np.linalg.pinv(features) @ np.asarray(scores), 0.0))
    await choosing.unload("v0001")
    await choosing.load("v0001", folder)


async def test_the_reply_that_the_head_likes_best_is_given_whole_if_it_ended(
    choosing: Choosing, engine: LocalEngine, model: Path, tmp_path: Path
) -> None:
    drawn = await alone(engine, asked(ROWS), ROWS)
    ended = [one for one in drawn if one.finish == "stop"]
    assert 1 < len(ended) < ROWS
    best = ended[-1]
    # A head that likes best what was cut, then the last that ended.
    liked = [3.0 if one not in ended else 2.0 if one == best else 1.0 for one in drawn]
    await like(choosing, make_adapter(model, tmp_path / "made", 1), drawn, liked)
    (given,) = await said(choosing, asked(ROWS))
    assert (given.ids, given.text, given.finish) == (best.ids, best.text, "stop")
    assert given.timings is not None
    assert (given.timings.drawn, given.timings.reply_tokens) == (ROWS, len(best.ids))
    assert given.timings.first_token == given.timings.total > 0


async def test_a_reply_that_a_stop_text_left_empty_is_not_the_best(
    choosing: Choosing, engine: LocalEngine, model: Path, tmp_path: Path
) -> None:
    first = (await alone(engine, asked(ROWS), 1))[0].text[0]
    request = asked(ROWS)
    request = replace(request, sampling=replace(request.sampling, stop=(first,)))
    drawn = await alone(engine, request, ROWS)
    empty = [one for one in drawn if not one.text]
    assert any(one.text and one.finish == "stop" for one in drawn)
    assert {one.finish for one in empty} == {"stop"}
    liked = [2.0 if one in empty else 1.0 for one in drawn]
    await like(choosing, make_adapter(model, tmp_path / "made", 1), drawn, liked)
    (given,) = await said(choosing, request)
    assert given.text


async def test_where_all_are_cut_the_first_is_given(
    choosing: Choosing, engine: LocalEngine
) -> None:
    (given,) = await said(choosing, asked(ROWS, tokens=5))
    (first,) = await alone(engine, asked(ROWS, tokens=5), 1)
    assert (given.ids, given.finish) == (first.ids, "length")


@pytest.mark.parametrize(("adapter", "best_of"), [("v0002", ROWS), ("v0001", 1)])
async def test_without_a_head_or_with_one_to_draw_it_streams_what_comes(
    choosing: Choosing, engine: LocalEngine, adapter: str, best_of: int
) -> None:
    request = asked(best_of, adapter, tokens=20)
    deltas, (plain,) = await said(choosing, request), await alone(engine, request, 1)
    assert len(deltas) > 1
    assert tuple(key for delta in deltas for key in delta.ids) == plain.ids
    assert deltas[-1].timings is not None
    assert deltas[-1].timings.drawn == 1


async def test_what_is_said_in_a_conversation_is_the_best_of_as_many_as_are_configured(
    choosing: Choosing, settings: Config, tmp_path: Path
) -> None:
    settings = settings.model_copy(update={"sampling": SamplingConfig(best_of=3)})
    async with await Store.open(tmp_path / "data") as store:
        conversation = Conversation(choosing, store, settings, lambda _: "v0001")
        here = ChannelKey("discord", "guild", "here")
        message = Message(here, "ada", "hello", "1", datetime.now(UTC))
        async with aclosing(conversation.respond(message, seed=SEED)) as events:
            *pieces, reply = [event async for event in events]
        (told,) = await store.exchanges([1])
    assert isinstance(reply, Reply)
    assert [piece.text for piece in pieces if isinstance(piece, TextDelta)] == [reply.text]
    assert told.reply == reply.text
    assert told.timings.drawn == settings.sampling.best_of == 3


async def test_a_version_that_left_the_engine_takes_its_head_along(
    choosing: Choosing, model: Path, tmp_path: Path
) -> None:
    await choosing.unload("v0001")
    await choosing.load("v0001", make_adapter(model, tmp_path / "three", 3))
    assert len(await said(choosing, asked(ROWS, tokens=9))) > 1


async def test_only_rows_that_nobody_else_needs_are_drawn_on(choosing: Choosing) -> None:
    async with aclosing(choosing.stream(asked(3, tokens=9))) as first:
        task = asyncio.create_task(anext(first))
        await asyncio.sleep(0)
        beside = (await said(choosing, asked(3, tokens=9)))[-1]
        assert beside.timings is not None
        assert beside.timings.drawn == 1
        assert (await task).timings.drawn == 3
    (given,) = await said(choosing, asked(3, tokens=9))
    assert given.timings is not None
    assert given.timings.drawn == 3


async def test_who_stops_listening_stops_all_that_is_drawn(
    choosing: Choosing, engine: LocalEngine
) -> None:
    async def listen() -> None:
        await said(choosing, asked(ROWS))

    task = asyncio.create_task(listen())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert engine.stats().running + engine.stats().queued == ROWS
    task.cancel()
    await asyncio.wait([task])
    # The next reply goes through the rows that were left.
    assert len(await said(choosing, asked(ROWS, tokens=9))) == 1
    assert engine.stats().running + engine.stats().queued == 0


async def test_a_refusal_of_one_is_a_refusal_of_all(choosing: Choosing) -> None:
    with pytest.raises(AdapterError, match="v0009"):
        await said(choosing, asked(ROWS, "v0009"))


def test_a_head_is_the_same_for_features_that_were_not_scaled() -> None:
    rng = np.random.default_rng(5)
    features = rng.normal(3.0, 7.0, size=(40, 12))
    scale = Scale.of(features)
    head = fit(scale(features), [bool(one) for one in features[:, 0] > 3], [1.0] * 40, 3.0).head
    np.testing.assert_allclose(head.before(scale).score(features), head.score(scale(features)))
    np.testing.assert_allclose(scale(features).std(axis=0), 12**-0.5, rtol=1e-4)


def test_a_head_is_read_as_it_was_written(tmp_path: Path) -> None:
    head = Head(np.asarray([0.5, -2.0, 1.0]), -0.25)
    write_head(tmp_path / "new", head)
    found = read_head(tmp_path / "new", 3)
    assert found is not None
    np.testing.assert_array_equal(found.direction, head.direction)
    assert found.offset == -0.25
    assert read_head(tmp_path, 3) is None


async def test_a_head_that_is_damaged_or_of_another_model_keeps_its_version_out(
    choosing: Choosing, engine: LocalEngine, model: Path, tmp_path: Path
) -> None:
    folder = make_adapter(model, tmp_path / "bad", 1)
    numbers = dimensions(engine.info.hidden)
    infinite = np.full(numbers, np.inf)
    for head in (Head(np.ones(numbers + 1), 0.0), Head(infinite, 0.0)):
        write_head(folder, head)
        with pytest.raises(AdapterError, match="finite numbers are needed"):
            await choosing.load("v0003", folder)
    (folder / HEAD_FILE).write_bytes(b"no tensors")
    with pytest.raises(AdapterError, match="is no preference head"):
        await choosing.load("v0003", folder)
    assert "v0003" not in engine.loaded()
