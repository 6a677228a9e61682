"""Whom the engine is measured beside, each behind the same coroutine: prompts in, times out.

All of them greedy, each reply with the same number of tokens, on the same weights. They take turns
in one process, so none may keep a thread busy between two turns. Peers that need a process of their
own are in `benchmarks.processes`.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bot.engine.apart import apart
from bot.engine.base import Request
from bot.engine.local import LocalEngine
from bot.engine.model import LoadedModel
from bot.types import Sampling

REPLY_TOKENS = 48
OPENING = 8
"""Tokens of a reply that are held against the model's own."""


@dataclass(frozen=True)
class Spoken:
    """One reply as the listener saw it, in seconds from the start."""

    ids: tuple[int, ...]
    first: float
    gaps: tuple[float, ...]

    @classmethod
    def at(cls, ids: Sequence[int], times: list[float], start: float) -> Spoken:
        """Heard at these times."""
        gaps = tuple(b - a for a, b in itertools.pairwise(times))
        return cls(tuple(ids), times[0] - start, gaps)

    @property
    def tokens(self) -> int:
        """How many."""
        return len(self.ids)

    @property
    def last(self) -> float:
        """When it had ended."""
        return self.first + sum(self.gaps)


Peer = Callable[[list[list[int]]], Coroutine[Any, Any, list[Spoken]]]


def engine_peer(engine: LocalEngine) -> Peer:
    """All prompts at once through `Engine.stream`."""
    sampling = Sampling(temperature=0.0, repetition_penalty=1.0, max_tokens=REPLY_TOKENS)

    async def listen(prompt: list[int], start: float) -> Spoken:
        times: list[float] = []
        ids: list[int] = []
        async for delta in engine.stream(Request(prompt, sampling=sampling)):
            ids += delta.ids
            times.append(time.perf_counter())
        return Spoken.at(ids, times, start)

    async def speak(prompts: list[list[int]]) -> list[Spoken]:
        start = time.perf_counter()
        return list(await asyncio.gather(*(listen(prompt, start) for prompt in prompts)))

    return speak


def generate_peer(loaded: LoadedModel) -> Peer:
    """One prompt after another through transformers' `generate`, as most bots do."""
    from transformers.generation.streamers import BaseStreamer

    class Clock(BaseStreamer):
        def __init__(self) -> None:
            self.times: list[float] = []

        def put(self, value: Any) -> None:
            self.times.append(time.perf_counter())

        def end(self) -> None:
            pass

    def answer(prompt: list[int], start: float) -> Spoken:
        clock = Clock()
        ids = torch.tensor([prompt])
        model: Any = loaded.model
        with torch.inference_mode():
            output = model.generate(
                ids, attention_mask=torch.ones_like(ids), do_sample=False, streamer=clock,
                max_new_tokens=REPLY_TOKENS, pad_token_id=0,
            )
        # The streamer is handed the prompt first.
        return Spoken.at(output[0, len(prompt):].tolist(), clock.times[1:], start)

    async def speak(prompts: list[list[int]]) -> list[Spoken]:
        start = time.perf_counter()
        return await asyncio.to_thread(apart, lambda: [answer(one, start) for one in prompts])

    return speak


async def check(peers: Mapping[str, Peer], loaded: LoadedModel, prompts: list[list[int]]) -> None:
    """Let each peer answer prompts of one length, and look whether it says what the model says.

    Most of its replies must begin as those of `generate`; not all, since two tokens may be almost
    as likely as each other.

    Raises:
        SystemExit: a peer's figures would be worth nothing.
    """
    ids = torch.tensor(prompts)
    model: Any = loaded.model

    def generated() -> torch.Tensor:
        with torch.inference_mode():
            found: torch.Tensor = model.generate(
                ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=OPENING,
                pad_token_id=0,
            )
        return found[:, ids.shape[1]:]

    expected = [tuple(reply) for reply in apart(generated).tolist()]
    for name, peer in peers.items():
        spoken = await peer(prompts)
        if any(one.tokens != REPLY_TOKENS for one in spoken):
            raise SystemExit(f"{name} does not give {REPLY_TOKENS} tokens to every prompt")
        right = sum(one.ids[:OPENING] == want for one, want in zip(spoken, expected, strict=True))
        if 2 * right <= len(prompts):
            raise SystemExit(
                f"{name} begins {right} of {len(prompts)} replies as the model itself does: "
                "how fast it is says nothing"
            )


PEERS: dict[str, Callable[[LoadedModel], Peer]] = {"generate": generate_peer}
"""Whom one can be measured beside."""
