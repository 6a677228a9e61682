"""What happens when too much, too long or nonsense is asked, or people go away."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bot.engine.attention import Pass
from bot.engine.base import Request
from bot.engine.local import LocalEngine
from bot.errors import AdapterError, Busy, EngineClosed, EngineError
from bot.types import Sampling
from tests.engine.conftest import Start
from tests.engine.tiny import (
    ENDLESS,
    GREEDY,
    collect,
    expected_reply,
    ids_of,
    plain_model,
    prompt_ids,
    reply,
)


async def settled(engine: LocalEngine) -> None:
    """Wait until the thread has passed two steps' beginnings."""
    for _ in range(2):
        async for _ in engine.run(lambda resident: iter([None])):
            pass


async def test_closing_a_stream_frees_its_row(folders: dict[str, Path], start: Start) -> None:
    engine = start(folders["llama"], rows=1, share=1.0)
    stream = engine.stream(Request(prompt_ids(8), sampling=ENDLESS))
    await anext(stream)
    assert engine.stats().running == 1
    await stream.aclose()
    await settled(engine)
    assert engine.stats().running == 0
    prompt = prompt_ids(11)
    assert await reply(engine, prompt) == expected_reply(plain_model(folders["llama"]), prompt)


async def test_cancelling_the_task_that_reads_frees_the_row_too(
    folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders["llama"], rows=1, share=1.0)
    begun = asyncio.Event()

    async def read() -> None:
        async for _ in engine.stream(Request(prompt_ids(8), sampling=ENDLESS)):
            begun.set()

    task = asyncio.create_task(read())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await settled(engine)
    assert engine.stats().running == 0


async def test_a_cancelled_request_in_the_queue_never_runs(
    folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders["llama"], rows=1, share=1.0)
    running = engine.stream(Request(prompt_ids(8), sampling=ENDLESS))
    await anext(running)
    waiting = asyncio.create_task(reply(engine, prompt_ids(9)))
    await settled(engine)
    assert engine.stats().queued == 1
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await running.aclose()
    await settled(engine)
    stats = engine.stats()
    assert (stats.running, stats.queued) == (0, 0)


async def test_a_full_queue_says_so_at_once(folders: dict[str, Path], start: Start) -> None:
    engine = start(folders["llama"], rows=1, queue=1)
    streams = [engine.stream(Request(prompt_ids(8), sampling=ENDLESS)) for _ in range(2)]
    await anext(streams[0])
    second = asyncio.create_task(anext(streams[1]))
    await asyncio.sleep(0)
    with pytest.raises(Busy, match="try again in") as caught:
        await collect(engine.stream(Request(prompt_ids(8))))
    assert caught.value.estimate >= 1
    await streams[0].aclose()
    await second
    await streams[1].aclose()


async def test_who_asks_little_does_not_wait_behind_who_asks_much(
    folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders["llama"], rows=1, queue=20)
    ended: list[str] = []

    async def ask(name: str) -> None:
        await collect(engine.stream(Request(prompt_ids(8), sampling=GREEDY, tenant=name[0])))
        ended.append(name)

    first = engine.stream(Request(prompt_ids(8), sampling=ENDLESS, tenant="z"))
    await anext(first)  # the row is taken, so all others wait
    tasks = [asyncio.create_task(ask(name)) for name in ("a1", "a2", "a3", "a4", "b1", "c1", "b2")]
    await asyncio.sleep(0)  # each has its place at once
    assert engine.stats().queued == len(tasks)
    await first.aclose()
    await asyncio.gather(*tasks)
    assert ended == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]


async def test_one_of_several_tenants_does_not_take_all_places(
    folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders["llama"], rows=1, queue=3)

    async def ask(tenant: str, number: int) -> tuple[int, list[asyncio.Task[object]]]:
        """How many of some requests were refused, and those that run or wait."""
        tasks = [
            asyncio.create_task(
                collect(engine.stream(Request(prompt_ids(8), sampling=ENDLESS, tenant=tenant)))
            )
            for _ in range(number)
        ]
        await asyncio.sleep(0)  # each is refused or has its place at once
        refused = [task for task in tasks if task.done() and isinstance(task.exception(), Busy)]
        return len(refused), [task for task in tasks if task not in refused]

    refused, alone = await ask("a", 5)
    assert refused == 1
    assert (await ask("b", 1))[0] == 1
    for task in alone:
        task.cancel()
    await asyncio.gather(*alone, return_exceptions=True)
    await settled(engine)
    refused, much = await ask("a", 5)
    assert refused == 2
    refused, little = await ask("b", 1)
    assert refused == 0
    for task in (*much, *little):
        task.cancel()


async def test_nonsense_is_refused_before_it_is_queued(
    folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders["llama"])
    with pytest.raises(EngineError, match="empty"):
        await collect(engine.stream(Request([])))
    with pytest.raises(AdapterError, match="v9 is not loaded"):
        await collect(engine.stream(Request([5], "v9")))
    assert engine.stats().replies == 0


async def test_a_request_that_fails_does_not_harm_the_others(
    folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders["llama"])
    good, bad = prompt_ids(20), [5, 6, 100_000]
    said, failed = await asyncio.gather(
        reply(engine, good), collect(engine.stream(Request(bad, sampling=GREEDY)))
    )
    assert said == expected_reply(plain_model(folders["llama"]), good)
    assert failed[-1].finish == "error"
    assert "token ids" in failed[-1].error


async def test_a_step_that_fails_ends_its_replies_and_the_next_ones_are_well(
    folders: dict[str, Path], start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    engine = start(folders["llama"])
    prompt = prompt_ids(20)
    fuse = Fuse(engine, after=3)
    with caplog.at_level(logging.ERROR):
        deltas = await collect(engine.stream(Request(prompt, sampling=GREEDY, cache_key="room")))
    assert deltas[-1].finish == "error"
    assert "short circuit" in deltas[-1].error
    assert "Traceback" in caplog.text
    fuse.remove()
    again = await reply(engine, prompt, key="room")
    assert again == expected_reply(plain_model(folders["llama"]), prompt)


async def test_a_prompt_that_cannot_be_read_ends_no_reply_but_its_own(
    folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders["llama"])
    works, good, bad = engine._worker.forward.logits, prompt_ids(20), prompt_ids(30, 1)

    def refuse_bad(tokens: Tensor, packed: Pass, wanted: Tensor) -> Tensor:
        if bad[0] in tokens.tolist()[-len(bad) :] and len(tokens) >= len(bad):
            raise RuntimeError("no memory for that")
        return works(tokens, packed, wanted)

    running = engine.stream(Request(good, sampling=GREEDY))
    first = await anext(running)
    engine._worker.forward.logits = refuse_bad  # type: ignore[method-assign]  # from outside only
    failed = await collect(engine.stream(Request(bad, sampling=GREEDY)))
    assert "no memory" in failed[-1].error
    said = ids_of([first, *await collect(running)])
    assert said == expected_reply(plain_model(folders["llama"]), good)


async def test_numbers_that_are_not_finite_end_only_the_reply_they_are_in(
    folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders["llama"])
    poison = 277
    with torch.no_grad():
        resident = engine._worker._background._resident
        resident.twin().get_input_embeddings().weight[poison] = torch.nan
    good = [token for token in prompt_ids(20) if token != poison]
    expected = await reply(engine, good)
    for _ in range(2):
        bad, said = await asyncio.gather(
            collect(engine.stream(Request([5, poison, 6], sampling=GREEDY, cache_key="bad"))),
            reply(engine, good),
        )
        assert bad[-1].finish == "error"
        assert "finite" in bad[-1].error
        assert said == expected


async def test_closing_ends_running_and_queued_replies_as_cancelled(
    folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders["llama"], rows=1)
    running = engine.stream(Request(prompt_ids(8), sampling=ENDLESS))
    await anext(running)
    queued = asyncio.create_task(collect(engine.stream(Request(prompt_ids(9), sampling=GREEDY))))
    await asyncio.sleep(0)
    await engine.close()
    assert (await collect(running))[-1].finish == "cancelled"
    assert [delta.finish for delta in await queued] == ["cancelled"]
    with pytest.raises(EngineClosed):
        await collect(engine.stream(Request(prompt_ids(8))))
    with pytest.raises(EngineClosed):
        await engine.score([])
    await engine.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_thread_that_falls_leaves_nobody_waiting(
    folders: dict[str, Path], start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    engine = start(folders["llama"])
    def fall() -> None:
        raise SystemExit("fallen")

    running = engine.stream(Request(prompt_ids(8), sampling=ENDLESS))
    await anext(running)
    with caplog.at_level(logging.CRITICAL):
        engine._worker.order(fall)
        assert (await collect(running))[-1].finish in ("error", "cancelled")
    with pytest.raises(EngineClosed):
        await collect(engine.stream(Request(prompt_ids(8), sampling=Sampling())))
    await engine.close()
    assert "fallen" in caplog.text


class Fuse:
    """Makes the model's forward pass raise once, after some that work."""

    def __init__(self, engine: LocalEngine, after: int) -> None:
        self._left = after
        self._forward = engine._worker.forward
        self._works = self._forward.logits
        self._forward.logits = self._blow  # type: ignore[method-assign]  # from outside only

    def _blow(self, tokens: Tensor, packed: Pass, wanted: Tensor) -> Tensor:
        self._left -= 1
        if self._left == 0:
            raise RuntimeError("short circuit")
        return self._works(tokens, packed, wanted)

    def remove(self) -> None:
        self._forward.logits = self._works  # type: ignore[method-assign]  # as above
