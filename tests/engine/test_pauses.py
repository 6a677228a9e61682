"""Whoever waits for a reply is served in the middle of background work, and neither is changed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bot.engine.background import ResidentModel
from bot.engine.base import Request, Resident, ScoreItem
from tests.engine.conftest import Start
from tests.engine.tiny import (
    ENDLESS,
    collect,
    expected_reply,
    ids_of,
    plain_model,
    prompt_ids,
    reply,
    with_adapter,
)

WORDS = torch.tensor([prompt_ids(24, 3)])


async def test_a_reply_comes_in_the_middle_of_a_slice(
    kind: str, folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders[kind])
    begun, answered = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def job(resident: Resident) -> Iterator[object]:
        twin = resident.twin()
        loop.call_soon_threadsafe(begun.set)
        while not answered.is_set():  # a slice that does not end before the reply has
            twin(input_ids=WORDS, labels=WORDS)
        yield None

    working = asyncio.create_task(anext(engine.run(job)))
    await begun.wait()
    prompt = prompt_ids(20)
    assert await reply(engine, prompt) == expected_reply(plain_model(folders[kind]), prompt)
    assert engine.stats().slices == 0
    answered.set()
    await working


def test_a_pass_pauses_after_each_block_and_before_it_on_the_way_back(
    kind: str, folders: dict[str, Path]
) -> None:
    model = plain_model(folders[kind])
    pauses: list[None] = []
    twin = ResidentModel(model, lambda: pauses.append(None)).twin()
    blocks = 2 * model.config.num_hidden_layers
    twin(input_ids=WORDS)
    assert len(pauses) == blocks
    twin.get_input_embeddings().weight.requires_grad_(True)
    loss = twin(input_ids=WORDS, labels=WORDS).loss
    assert len(pauses) == 2 * blocks
    loss.backward()
    assert len(pauses) == 3 * blocks


async def test_what_is_learned_is_the_same_beside_replies_and_alone(
    folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders["llama"], share=0.5)
    busy = engine.stats().steps

    def job(resident: Resident) -> Iterator[object]:
        twin = resident.twin()
        norm = twin.model.layers[0].input_layernorm
        norm.weight = torch.nn.Parameter(norm.weight.clone())
        optimiser = torch.optim.SGD([norm.weight], lr=0.1)
        for _ in range(6):
            twin(input_ids=WORDS, labels=WORDS).loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            yield norm.weight.detach().clone()

    alone = [one async for one in engine.run(job)]
    assert engine.stats().steps == busy
    talking = engine.stream(Request(prompt_ids(9), sampling=ENDLESS))
    await anext(talking)
    beside = [one async for one in engine.run(job)]
    await talking.aclose()
    assert engine.stats().steps > busy
    assert all(torch.equal(one, other) for one, other in zip(alone, beside, strict=True))


async def test_scores_and_replies_under_other_versions_leave_each_other_as_they_are(
    kind: str, folders: dict[str, Path], adapters: dict[str, list[Path]], start: Start
) -> None:
    engine = start(folders[kind], share=0.5)
    for number, folder in enumerate(adapters[kind]):
        await engine.load(f"v{number}", folder)
    items = [ScoreItem(prompt_ids(20 + n, n), prompt_ids(8, n), "v0") for n in range(8)]
    alone = await engine.score(items)
    prompt = prompt_ids(15)
    expected = expected_reply(with_adapter(folders[kind], adapters[kind][1]), prompt)
    for _ in range(3):
        request = Request(prompt, "v1", ENDLESS)
        talking = [asyncio.create_task(collect(engine.stream(request))) for _ in range(3)]
        beside = await engine.score(items)
        for deltas in await asyncio.gather(*talking):
            assert ids_of(deltas)[: len(expected)] == expected
        for one, other in zip(alone, beside, strict=True):
            assert one.log_probs == pytest.approx(other.log_probs, abs=1e-4)
            assert one.kl_to_base == pytest.approx(other.kl_to_base, abs=1e-4)


async def test_closing_the_engine_ends_a_pause_in_which_somebody_talks(
    folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders["llama"], share=0.0)
    begun, talking = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def job(resident: Resident) -> Iterator[object]:
        loop.call_soon_threadsafe(begun.set)
        talking.wait()
        resident.pause()  # with no share of the time it would last as long as somebody talks
        yield None

    working = asyncio.create_task(anext(engine.run(job)))
    await begun.wait()
    stream = engine.stream(Request(prompt_ids(9), sampling=ENDLESS))
    first = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)
    talking.set()
    await first
    await engine.close()
    assert (await collect(stream))[-1].finish == "cancelled"
    await asyncio.gather(working, return_exceptions=True)
