"""The real gate, on the built-in model, where people write Chinese, or Chinese and English.

The built-in model speaks no Chinese. So nothing is said here about what it says, only that it
is asked in the language of those who voted, and read in it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from bot.config import Config, GateConfig
from bot.engine.base import Engine, Request
from bot.engine.local import LocalEngine
from bot.engine.model import load_model
from bot.store import Moment
from bot.types import BASE, Exchange, Sampling, Turn
from learning.gate.canaries import read_canaries
from learning.gate.conduct import read_conduct
from learning.gate.judge import judge
from learning.scripts import Language
from learning.types import BaseReply, Label, Snapshot, Verdict
from learning.votes.dataset import build_examples
from tests.learning.rated import HERE, START, exchange

PERSONA = "You are a friendly chatbot in a group of English people. Be kind."
CHINESE = ("钥匙在哪里？", "今天吃什么？", "你喜欢喝茶吗？", "外面下雨了吗？", "几点开会？")
ENGLISH = ("Where is the key?", "What shall we eat?", "Do you like tea?", "Does it rain?", "When?")
SHORT = Sampling(temperature=0.8, max_tokens=8)
GATE = GateConfig(canaries=8, reported_prompts=2, replies=8)


@pytest.fixture
async def engine() -> AsyncIterator[LocalEngine]:
    config = Config.model_validate({"model": {"device": "cpu", "threads": 1}})
    made = LocalEngine(load_model(config.model, config.engine), config.engine, 0.25)
    yield made
    await made.close()


class Overheard:
    """An engine, and every prompt that it was asked to answer."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def stream(self, request: Request) -> Any:
        self.asked.append(self._engine.template.decode(request.prompt_ids))
        return self._engine.stream(request)


def snapshot(engine: Engine, questions: Sequence[str]) -> Snapshot:
    """What people asked, made into examples as a run does; every second reply is liked."""
    template, end = engine.template, engine.info.end_ids[0]
    given: list[Exchange] = []
    for number in range(1, 61):
        turns = (Turn("system", PERSONA), Turn("user", questions[number % len(questions)]))
        ids = (*template.encode(f"answer {number}"), end)
        given.append(exchange(
            number, prompt=turns, reply=f"answer {number}", reply_ids=ids,
            prompt_ids=tuple(template.encode(template.render(turns))),
            time=START + timedelta(minutes=number),
        ))  # fmt: skip
    built = build_examples(
        [Label(one.id, one.id % 2 == 0, 1.0, (f"rater {one.id % 5}",)) for one in given], given,
        [Moment(one.id, HERE, one.time, one.asker) for one in given], base="tiny", private=False,
    )
    held = [one for one in built.examples if one.part == "holdout"]
    anchors = tuple(BaseReply(one.prompt_ids, one.reply_ids) for one in held[:2])
    return Snapshot("tiny", built.examples, (), anchors)


async def judged(engine: LocalEngine, questions: Sequence[str]) -> tuple[Verdict, list[str]]:
    heard: Any = Overheard(engine)
    verdict = await judge(
        heard, snapshot(engine, questions), BASE, BASE, GATE, 0, SHORT, PERSONA, seed=1
    )
    return verdict, heard.asked


@pytest.mark.parametrize(
    ("language", "questions"),
    [("zh", CHINESE), ("mixed", CHINESE + ENGLISH), ("en", ENGLISH)],
)
async def test_a_candidate_is_tested_in_the_language_that_people_write(
    engine: LocalEngine, language: Language, questions: Sequence[str]
) -> None:
    verdict, asked = await judged(engine, questions)
    canaries = read_canaries(language)[:8]
    conduct = [one for kind in read_conduct(language).values() for one in kind]
    assert [one[0] for one in verdict.samples] == list(canaries[:5])
    for prompt in (*canaries, *conduct):
        assert sum(prompt in one for one in asked) >= 2, prompt
    assert {one.name for one in verdict.checks} >= {
        "learned", "variety", "repetition", "identity", "injection", "agreement", "refusals",
        "memory",
    }  # fmt: skip
    # The base beside itself says the same, whatever it is counted in.
    metrics = verdict.metrics
    assert metrics["canary_distinct_2"] == metrics["champion_canary_distinct_2"]
    assert all(one.passed for one in verdict.checks if one.name in ("variety", "repetition"))
