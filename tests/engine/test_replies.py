"""Replies are what generate() says, whoever else talks and whatever was kept."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bot.config import EngineConfig
from bot.engine.base import Delta, Request
from bot.engine.batch import LONG, Batch
from bot.engine.kv import Saved
from bot.engine.model import make_forward
from bot.engine.pace import Pace
from bot.engine.prefix import PrefixStore
from bot.engine.row import Row
from bot.errors import PromptTooLong
from bot.types import BASE, Sampling
from tests.engine.conftest import Start
from tests.engine.tiny import (
    ENDLESS,
    GREEDY,
    collect,
    expected_reply,
    ids_of,
    load,
    plain_model,
    prompt_ids,
    reply,
    stepped,
    with_adapter,
)


async def test_a_greedy_reply_is_what_generate_says(
    kind: str, folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders[kind])
    prompt = prompt_ids(30)
    assert await reply(engine, prompt) == expected_reply(plain_model(folders[kind]), prompt)


async def test_replies_of_several_adapters_and_the_base_share_a_batch(
    kind: str, folders: dict[str, Path], adapters: dict[str, list[Path]], start: Start
) -> None:
    engine = start(folders[kind])
    names = {BASE: plain_model(folders[kind])}
    for number, folder in enumerate(adapters[kind]):
        await engine.load(f"v{number}", folder)
        names[f"v{number}"] = with_adapter(folders[kind], folder)
    asked = [(name, prompt_ids(12 + 9 * n, n)) for n, name in enumerate([*names, *names])]
    said = await asyncio.gather(*(reply(engine, prompt, name) for name, prompt in asked))
    expected = [expected_reply(names[name], prompt) for name, prompt in asked]
    assert said == expected
    assert len({tuple(ids) for ids in said}) > 4


async def test_a_reply_does_not_depend_on_what_was_kept(
    kind: str, folders: dict[str, Path], adapters: dict[str, list[Path]], start: Start
) -> None:
    engine = start(folders[kind])
    await engine.load("v1", adapters[kind][1])
    for name, model in (
        (BASE, plain_model(folders[kind])),
        ("v1", with_adapter(folders[kind], adapters[kind][1])),
    ):
        prompt = prompt_ids(40)
        for turn in range(3):
            said = await reply(engine, prompt, name, key="room")
            assert said == expected_reply(model, prompt)
            prompt = [*prompt, *said, *prompt_ids(7, turn)]
    await stepped(engine)
    stats = engine.stats()
    assert stats.reused_tokens >= 4 * 40
    assert 0 < stats.cache_bytes <= stats.cache_limit


async def test_the_last_words_do_not_wait_for_what_is_kept_of_a_reply(
    folders: dict[str, Path], start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = start(folders["llama"], rows=1, queue=1)
    arena, heard = engine._worker._batch._arena, threading.Event()
    save, in_time = arena.save, list[bool]()

    def once_heard(*args: Any) -> Saved:
        in_time.append(heard.wait(30))
        return save(*args)

    monkeypatch.setattr(arena, "save", once_heard)
    said = await reply(engine, prompt_ids(50), key="room")
    assert (engine.stats().running, engine.stats().replies) == (0, 1)
    again = Request([*prompt_ids(50), *said, 7], sampling=GREEDY, cache_key="room")
    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(collect(engine.stream(again))) for _ in range(2)]
        await asyncio.sleep(0)  # both have their places, which are all that there are
        heard.set()
    assert in_time[0]
    first, second = (one.result()[-1].timings for one in asked)
    assert first is not None
    assert second is not None
    assert (first.reused_tokens, second.reused_tokens) == (49 + len(said), 50 + len(said))


async def test_a_long_prompt_is_kept_before_its_reply_has_ended(
    folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders["llama"])
    for length in (LONG - 1, LONG):
        request = Request(prompt_ids(length), sampling=ENDLESS, cache_key="room")
        async with aclosing(engine.stream(request)) as deltas:
            await anext(deltas)
            await stepped(engine)
            assert engine.stats().running == 1
            assert (engine.stats().cache_bytes > 0) == (length >= LONG)
            engine.forget_prefix("room")
        await stepped(engine)
        assert (engine.stats().running, engine.stats().cache_bytes) == (0, 0)


async def test_the_same_prompt_again_reads_one_token_only(
    folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders["llama"])
    prompt = prompt_ids(50)
    first, again = [
        (await collect(engine.stream(Request(prompt, sampling=GREEDY, cache_key="room"))))[-1]
        for _ in range(2)
    ]
    assert first.timings is not None
    assert again.timings is not None
    assert (first.timings.reused_tokens, again.timings.reused_tokens) == (0, 49)
    assert again.timings.reuse == 49 / 50


@pytest.mark.parametrize("chunk", [16, 256])
async def test_replies_to_one_prompt_read_it_once(
    kind: str, chunk: int, folders: dict[str, Path], adapters: dict[str, list[Path]], start: Start
) -> None:
    engine = start(folders[kind], prefill_chunk=chunk)
    await engine.load("v1", adapters[kind][1])
    model = with_adapter(folders[kind], adapters[kind][1])
    prompt = prompt_ids(40)
    said = await asyncio.gather(*(reply(engine, prompt, "v1") for _ in range(6)))
    assert said == [expected_reply(model, prompt)] * 6
    assert engine.stats().reused_tokens == 5 * 39


async def test_prompts_that_begin_alike_share_the_beginning_within_a_version(
    folders: dict[str, Path], adapters: dict[str, list[Path]], start: Start
) -> None:
    engine = start(folders["llama"])
    await engine.load("v1", adapters["llama"][1])
    models = {
        BASE: plain_model(folders["llama"]),
        "v1": with_adapter(folders["llama"], adapters["llama"][1]),
    }
    beginning = prompt_ids(30)
    asked = [
        (name, [*beginning, *prompt_ids(4 + n, 10 + n)]) for n in range(4) for name in (BASE, "v1")
    ]
    said = await asyncio.gather(*(reply(engine, prompt, name) for name, prompt in asked))
    assert said == [expected_reply(models[name], prompt) for name, prompt in asked]
    assert engine.stats().reused_tokens == 2 * 3 * 30


def test_who_waits_for_another_to_read_does_not_need_it_to_stay(folders: dict[str, Path]) -> None:
    loaded = load(folders["llama"], EngineConfig())
    batch = Batch(
        make_forward(loaded.model, EngineConfig(), 256), PrefixStore(0), size=3,
        pace=Pace(1.0, most=16), context=256, room=None, ends=loaded.info.end_ids, turns=(),
    )
    prompt, heard = prompt_ids(100), list[Delta]()
    rows = [Row(Request(prompt, sampling=GREEDY), 256, str, heard.append) for _ in range(3)]
    with torch.inference_mode():
        for row in rows:
            assert batch.admit(row)
        batch.step()
        assert [row.known for row in rows] == [16, 0, 0]
        rows[0].cancelled = True
        assert batch.ended() == rows[:1]
        batch.sweep()
        while batch.rows:
            batch.step()
            batch.sweep()
    assert sorted(row.reused for row in rows) == [0, 0, 99]
    expected = expected_reply(plain_model(folders["llama"]), prompt)
    assert [row.ids[100:] for row in rows[1:]] == [expected] * 2


async def test_a_forgotten_channel_is_read_anew(folders: dict[str, Path], start: Start) -> None:
    engine = start(folders["llama"])
    prompt = prompt_ids(50)
    await reply(engine, prompt, key="room")
    engine.forget_prefix("room")
    await reply(engine, prompt, key="other")
    assert engine.stats().reused_tokens == 0


async def test_a_reply_that_runs_while_its_channel_is_forgotten_leaves_nothing_behind(
    folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders["llama"])
    stream = engine.stream(Request(prompt_ids(50), sampling=GREEDY, cache_key="room"))
    await anext(stream)
    engine.forget_prefix("room")
    await collect(stream)
    assert engine.stats().cache_bytes == 0


async def test_a_long_prompt_is_read_in_chunks_while_others_go_on(
    kind: str, folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders[kind], prefill_chunk=16)
    model = plain_model(folders[kind])
    prompts = [prompt_ids(9), prompt_ids(150, 1), prompt_ids(14, 2), prompt_ids(61, 3)]
    said = await asyncio.gather(*(reply(engine, prompt) for prompt in prompts))
    assert said == [expected_reply(model, prompt) for prompt in prompts]


async def test_more_replies_than_rows_take_turns(folders: dict[str, Path], start: Start) -> None:
    engine = start(folders["llama"], rows=3)
    model = plain_model(folders["llama"])
    prompts = [prompt_ids(5 + n, n) for n in range(10)]
    said = await asyncio.gather(*(reply(engine, prompt, key=str(prompt)) for prompt in prompts))
    assert said == [expected_reply(model, prompt) for prompt in prompts]


async def test_a_reply_fills_the_context_to_its_last_place_and_no_further(
    folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders["gpt2"])
    deltas = await collect(engine.stream(Request(prompt_ids(250), sampling=ENDLESS)))
    assert deltas[-1].finish in ("length", "stop")
    assert len(ids_of(deltas)) <= 6
    assert len(await collect(engine.stream(Request(prompt_ids(255), sampling=ENDLESS)))) == 1
    with pytest.raises(PromptTooLong, match="256"):
        await collect(engine.stream(Request(prompt_ids(256))))


async def test_replies_that_end_with_their_first_token_harm_no_other(
    folders: dict[str, Path], start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    engine = start(folders["llama"])
    model = plain_model(folders["llama"])
    prompts = [prompt_ids(20 + n, n) for n in range(4)]
    short = replace(GREEDY, max_tokens=1)
    said = await asyncio.gather(
        *(reply(engine, p, sampling=short if n % 2 else GREEDY) for n, p in enumerate(prompts))
    )
    wanted = [expected_reply(model, prompt) for prompt in prompts]
    assert said == [ids[:1] if n % 2 else ids for n, ids in enumerate(wanted)]
    assert caplog.text == ""


async def test_a_reply_ends_with_the_end_mark_before_a_turn_mark_or_at_its_length(
    folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders["llama"], turns=True)
    (end,) = engine.info.end_ids
    finishes = set()
    for seed in range(20):
        sampling = Sampling(2.0, max_tokens=60, seed=seed)
        deltas = await collect(engine.stream(Request(prompt_ids(5), sampling=sampling)))
        ids = ids_of(deltas)
        assert end not in ids[:-1]
        assert not set(engine.info.turn_ids) & set(ids)
        by_itself = bool(ids) and ids[-1] == end
        assert deltas[-1].finish == ("stop" if by_itself else "length")
        finishes.add((by_itself, len(ids) == 60))
    # At its end, at its length, and before a mark: then it is cut, with no end to learn.
    assert finishes == {(True, False), (False, True), (False, False)}


async def test_the_text_of_all_deltas_is_the_text_of_the_reply(
    kind: str, folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders[kind])
    for seed in range(10):
        sampling = Sampling(3.0, top_p=1.0, max_tokens=80, seed=seed)
        deltas = await collect(engine.stream(Request(prompt_ids(8), sampling=sampling)))
        ids = [token for token in ids_of(deltas) if token not in engine.info.end_ids]
        assert "".join(delta.text for delta in deltas) == engine.template.decode(ids)


async def test_a_seed_gives_the_same_reply_whatever_else_is_in_the_batch(
    folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders["llama"])
    seeded = Sampling(1.0, top_k=40, top_p=0.9, repetition_penalty=1.2, max_tokens=30, seed=5)
    prompt = prompt_ids(20)
    alone = await reply(engine, prompt, sampling=seeded)
    others = [Sampling(1.5, max_tokens=30), Sampling(0.7, top_p=1.0, max_tokens=9), GREEDY]
    crowd = await asyncio.gather(
        *(reply(engine, prompt_ids(9, n), sampling=s) for n, s in enumerate(others)),
        reply(engine, prompt, sampling=seeded),
        reply(engine, prompt, sampling=replace(seeded, seed=6)),
    )
    assert crowd[3] == alone
    assert crowd[4] != alone


async def test_timings_add_up(folders: dict[str, Path], start: Start) -> None:
    engine = start(folders["llama"])
    deltas = await collect(engine.stream(Request(prompt_ids(20), sampling=GREEDY)))
    timings = deltas[-1].timings
    assert timings is not None
    assert all(delta.timings is None for delta in deltas[:-1])
    assert 0 <= timings.queued <= timings.first_token <= timings.total
    assert (timings.prompt_tokens, timings.reply_tokens) == (20, len(ids_of(deltas)))
    stats = engine.stats()
    assert (stats.replies, stats.prompt_tokens) == (1, 20)
    assert stats.reply_tokens == len(ids_of(deltas))


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_no_thread_but_the_engines_keeps_helpers_to_compute(
    folders: dict[str, Path], adapters: dict[str, list[Path]]
) -> None:
    # More helpers than cores doze off between any two operations, and every step is slower.
    def counted(threads: int) -> int:
        command = [sys.executable, "-m", "tests.engine.counts_helpers", str(folders["llama"])]
        told = subprocess.run(
            [*command, str(adapters["llama"][1]), str(threads)],
            capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
        return int(told.stdout)

    # Two beside the engine's thread, and two that torch starts for kernels of another kind.
    assert counted(3) - counted(1) == 4
