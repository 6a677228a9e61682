"""What is drawn for the figures that decide nothing, and what is left out of them."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace

import pytest

from bot.engine.base import Delta, Request, Score, ScoreItem
from bot.errors import Busy, EngineClosed, PromptTooLong
from bot.types import BASE, Sampling
from learning.drawing import Drawn, draw
from learning.gate.reported import compare
from learning.types import Example

LETTERS = "abcdefghijklmnopqrstuvwxyz"
LONG, BROKEN, CLOSING = 25, 24, 23
"""Prompts that are too long, that nobody can answer, and at which the engine closes."""


class Echo:
    """An engine's far side: says the prompt back, then the adapter's own word, then ends."""

    info = SimpleNamespace(end_ids=(0,))

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.template = self

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(LETTERS[one] for one in ids if one)

    async def stream(self, request: Request) -> AsyncIterator[Delta]:
        self.asked.append(request)
        if len(self.asked) == 1:
            raise Busy(0.0)
        (prompt,) = request.prompt_ids
        if prompt == LONG:
            raise PromptTooLong("too long")
        if prompt == CLOSING:
            yield Delta((), "", "cancelled")
            return
        if prompt == BROKEN and request.adapter != BASE:
            yield Delta((), "", "error", error="it broke")
            return
        own = 2 if request.adapter == BASE else 3
        yield Delta((prompt,), LETTERS[prompt])
        yield Delta((own, 0), f" {LETTERS[own]}", "stop")

    async def score(self, items: Sequence[ScoreItem]) -> list[Score]:
        assert {item.adapter for item in items} == {BASE}
        return [Score((-2.0,) * len(item.reply_ids), 0.0) for item in items]


def liked(number: int, prompt: int, *reply: int, liked: bool = True) -> Example:
    return Example(number, "here", "holdout", (prompt,), (*reply, 0), liked, 1.0, ("ann",))


async def figures(engine: Echo, *examples: Example, limit: int = 9) -> dict[str, float]:
    return await compare(
        engine, examples, "v0001", BASE, Sampling(), 40, limit,  # type: ignore[arg-type]  # only these
    )  # fmt: skip


async def test_both_answer_the_first_liked_prompts_with_the_same_seeds() -> None:
    engine = Echo()
    found = await figures(
        engine, liked(1, 9, 9, 3), liked(2, 8, 5, liked=False), liked(3, 7, 7, 2),
        liked(4, 9, 6), liked(5, 6, 6), limit=2,
    )  # fmt: skip
    drawn = {(one.adapter, one.prompt_ids, one.sampling.seed) for one in engine.asked}
    assert drawn == {(name, (9 - n,) if n == 0 else (7,), 40 + n)
                     for name in ("v0001", BASE) for n in (0, 1)}  # fmt: skip
    assert found["sampled_replies"] == 2
    # The candidate says "j d" and "h d", the base "j c" and "h c"; liked are "j d" and "h c".
    assert found["rouge_l"] == found["champion_rouge_l"] == pytest.approx(0.75)
    assert found["sampled_distinct_1"] == pytest.approx(3 / 4)
    assert found["sampled_distinct_2"] == 1.0
    assert found["sampled_perplexity"] == pytest.approx(7.389, abs=1e-3)


async def test_a_prompt_that_one_of_the_two_cannot_answer_is_left_out_for_both() -> None:
    found = await figures(Echo(), liked(1, 9, 9), liked(2, BROKEN, 5), liked(3, LONG, 5))
    assert found["sampled_replies"] == 1
    assert await figures(Echo(), liked(1, LONG, 5)) == {}
    assert await figures(Echo(), liked(1, 9, 5, liked=False)) == {}
    assert await figures(Echo(), liked(1, 9, 5), limit=0) == {}


async def test_without_the_libraries_the_other_figures_remain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics.bleu", None)
    found = await figures(Echo(), liked(1, 9, 9))
    assert not {"bleu", "chrf", "rouge_l"} & set(found)
    assert {"sampled_distinct_1", "champion_sampled_perplexity"} <= set(found)


async def test_drawing_waits_for_a_busy_engine_and_passes_by_what_is_too_long() -> None:
    requests = [Request((prompt,)) for prompt in (9, LONG, 8)]
    drawn = await draw(Echo(), requests, 1)  # type: ignore[arg-type]  # only streams
    assert drawn == [
        Drawn((9, 2, 0), "j c", "stop", by_itself=True), None,
        Drawn((8, 2, 0), "i c", "stop", by_itself=True),
    ]


async def test_an_engine_that_closes_is_said_to_have_closed() -> None:
    with pytest.raises(EngineClosed, match="before every reply was drawn"):
        await figures(Echo(), liked(1, 9, 9), liked(2, CLOSING, 9))
