"""Whatever happens at the same time: every reply is what its version says, and nothing is left.

A schedule is drawn from a seed: who asks when and how, greedily or with beams, after which words of
another reply somebody else comes, loses patience or clears a channel, when a version takes over,
how little memory there is for what is kept, and work in the background all the while.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from bot.engine.base import Request, Resident, ScoreItem
from bot.engine.local import LocalEngine
from bot.errors import Busy
from bot.types import BASE, Sampling
from tests.engine.built_in import said_by
from tests.engine.conftest import Start
from tests.engine.tiny import GREEDY, plain_model, prompt_ids, stepped, with_adapter

ROOMS = 5
BEGINNING = prompt_ids(24, 99)
"""What all rooms begin with, as with a persona."""


@dataclass
class Room:
    """A channel: what was said in it, a turn after another."""

    name: str
    history: list[int]
    talking: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass
class Said:
    """A reply; of one that was given up, the beginning."""

    version: str
    request: Request
    ids: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)

    def is_as_alone(self, model: PreTrainedModel) -> bool:
        """Whether it is what the version says, and as likely as that finds it."""
        prompt = self.request.prompt_ids
        if self.ids != said_by(model, prompt, self.request.sampling)[: len(self.ids)]:
            return False
        if not self.ids or not self.request.log_probs:
            return not self.log_probs
        with torch.inference_mode():
            logits = model(torch.tensor([[*prompt, *self.ids]])).logits[0, len(prompt) - 1 : -1]
        found = logits.log_softmax(-1).gather(1, torch.tensor(self.ids)[:, None])[:, 0]
        return self.log_probs == pytest.approx(found.tolist(), abs=1e-3)


@dataclass
class Schedule:
    """One run of a seed on an engine."""

    engine: LocalEngine
    rng: random.Random
    rows: int
    version: str = BASE
    said: list[Said] = field(default_factory=list)
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    """Set with every word of anybody and whenever somebody is done, and cleared."""
    asking: int = 0
    """How many have not been answered yet."""

    async def words(self, count: int) -> None:
        """Wait until so many words have been said by anybody, or nobody is asked any more."""
        while count and self.asking:
            self.heard.clear()
            await self.heard.wait()
            count -= 1

    async def ask(self, room: Room, patience: int) -> None:
        """Say something in a room and listen, for so many words at most."""
        self.asking += 1
        try:
            await self._ask(room, patience)
        finally:
            self.asking -= 1
            self.heard.set()

    async def _ask(self, room: Room, patience: int) -> None:
        async with room.talking:
            prompt = [*room.history, *prompt_ids(self.rng.randrange(1, 40), self.rng.randrange(99))]
            how = replace(GREEDY, beams=min(self.rows, self.rng.choice([1, 1, 1, 2, 4])))
            request = Request(
                prompt, self.version, how, room.name, log_probs=self.rng.random() < 0.4
            )
            said = Said(self.version, request)
            async with aclosing(self.engine.stream(request)) as deltas:
                async for delta in deltas:
                    said.ids += delta.ids
                    said.log_probs += delta.log_probs
                    self.heard.set()
                    assert delta.finish in (None, "stop", "length"), delta
                    if len(said.ids) >= patience:
                        break
            self.said.append(said)
            room.history = [*prompt, *said.ids] if len(prompt) < 140 else list(BEGINNING)

    async def swap(self, name: str, folder: Path) -> None:
        """Let a version take over, and the one before it go when its last reply has ended."""
        await self.engine.load(name, folder)
        before, self.version = self.version, name
        if before != BASE:
            await self.engine.unload(before)

    async def learn(self) -> None:
        """Train something on a twin of the model, slice by slice, for as long as it may."""

        def job(resident: Resident) -> Iterator[object]:
            twin = resident.twin()
            extra = torch.nn.Parameter(torch.zeros(twin.config.hidden_size))
            words = torch.tensor([BEGINNING])
            while True:
                loss = (twin.model(words).last_hidden_state + extra).square().mean()
                loss.backward()
                yield float(loss.detach())

        async for _ in self.engine.run(job):
            pass


@pytest.mark.parametrize("seed", range(4))
async def test_replies_are_their_versions_whatever_happens_at_the_same_time(
    seed: int, folders: dict[str, Path], adapters: dict[str, list[Path]], start: Start
) -> None:
    kind = ("llama", "qwen3")[seed % 2]
    rng = random.Random(seed)
    rows = rng.choice([2, 3, 8])
    engine = start(
        folders[kind], rows=rows, prefill_chunk=rng.choice([16, 48, 2048]),
        prefix_cache_mb=seed // 2, adapter_slots=4, share=0.5,
    )  # fmt: skip
    schedule = Schedule(engine, rng, rows)
    rooms = [Room(f"room {n}", list(BEGINNING)) for n in range(ROOMS)]
    learning = asyncio.create_task(schedule.learn())
    async with asyncio.TaskGroup() as tasks:
        for turn in range(24):
            patience = rng.choice([3, 100, 100, 100])
            tasks.create_task(schedule.ask(rng.choice(rooms), patience))
            if rng.random() < 0.7:
                await schedule.words(rng.randrange(1, 9))
            if turn % 8 == 4:
                version = f"v{turn // 8}"
                tasks.create_task(schedule.swap(version, adapters[kind][turn // 8]))
            if rng.random() < 0.1:
                engine.forget_prefix(rng.choice(rooms).name)
    learning.cancel()
    await asyncio.gather(learning, return_exceptions=True)
    models = {BASE: plain_model(folders[kind])}
    models |= {f"v{n}": with_adapter(folders[kind], adapters[kind][n]) for n in range(3)}
    assert len({said.version for said in schedule.said}) > 1
    assert len({said.request.sampling.beams for said in schedule.said}) > 1
    assert len({said.request.log_probs for said in schedule.said}) > 1
    for said in schedule.said:
        assert said.is_as_alone(models[said.version]), said
    await _nothing_is_left(engine)


async def test_a_thousand_requests_of_all_kinds_leave_nothing_behind(
    folders: dict[str, Path], adapters: dict[str, list[Path]], start: Start
) -> None:
    engine = start(folders["llama"], rows=6, queue=12, prefix_cache_mb=1, adapter_slots=2)
    arena = engine._worker._batch._arena
    await engine.load("v1", adapters["llama"][1])
    rng = random.Random(5)
    ends: list[str] = []

    async def ask(number: int) -> None:
        sampling = rng.choice([
            replace(GREEDY, max_tokens=5), replace(GREEDY, beams=3, max_tokens=5),
            Sampling(1.0, top_k=20, repetition_penalty=1.3, max_tokens=6, seed=number),
            Sampling(0.7, min_p=0.1, max_tokens=4),
        ])
        prompt = [*BEGINNING, *prompt_ids(rng.randrange(1, 60), number)]
        if number % 50 == 0:
            prompt[-1] = 10_000_000
        adapter, key = rng.choice([BASE, "v1"]), f"room {rng.randrange(40)}"
        impatient = number % 7 == 0
        request = Request(
            prompt, adapter, sampling, key, f"server {number % 3}", log_probs=number % 5 == 0
        )
        try:
            async with aclosing(engine.stream(request)) as deltas:
                async for delta in deltas:
                    ends.extend([delta.finish] if delta.finish else [])
                    if impatient:
                        return
        except Busy:
            ends.append("busy")
        if number % 25 == 0:
            await engine.score([ScoreItem(prompt[:20], (7, 8), adapter)])

    sizes = []
    for number in range(0, 1000, 25):
        await asyncio.gather(*(ask(number + one) for one in range(25)))
        sizes.append(arena.nbytes)
    assert {"stop", "length", "error", "busy"} <= set(ends)
    assert sizes[-1] <= 6 * (len(BEGINNING) + 60 + 6) * arena.position  # that of the longest
    await engine.unload("v1")
    await _nothing_is_left(engine)
    for room in range(40):
        engine.forget_prefix(f"room {room}")
    await stepped(engine)  # what was ordered before is done
    assert engine.stats().cache_bytes == len(engine._worker._prefixes) == 0


async def _nothing_is_left(engine: LocalEngine) -> None:
    await stepped(engine)
    worker, stats = engine._worker, engine.stats()
    assert (stats.running, stats.queued, worker._live) == (0, 0, set())
    assert (worker._batch.rows, worker._batch.ready) == ([], 0)
    assert stats.cache_bytes <= stats.cache_limit
    kept = worker._prefixes._entries.values()
    assert stats.cache_bytes == sum(one.size for one in kept)
    assert all(version.users == 0 for version in worker.versions._versions.values())
