"""One sitting: a person is shown pair after pair, and each answer is kept before the next.

Who the person is, and how they see and say it, is the `Person`'s; here is what is asked, and
that what was said is on the disk before anything else is. Questions that the same person has
answered about the same replies before are not asked again, so a sitting may be broken off and
taken up at any time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal, Protocol

from bot.engine.base import Engine
from bot.store import Judgement, Store
from learning.judging.pairs import Pair, Plan, Side, digest, drawn
from learning.judging.tally import QUESTIONS


@dataclass(frozen=True, slots=True)
class Better:
    """Which side is better."""

    side: Side
    rest: bool = False
    """Whether that is the answer to all that is left to ask about the pair."""


Keep = Callable[[Pair, Mapping[str, int]], Awaitable[None]]
Word = Better | Literal["skip", "quit"]


class Person(Protocol):
    """Somebody who compares."""

    def show(self, pair: Pair, number: int, of: int) -> None:
        """See two replies; `number` counts from 1."""

    async def better(self, question: str) -> Word:
        """Say which is better in one respect, or to leave this pair, or to end."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What was said of a pair."""

    pair: Pair
    values: Mapping[str, int]
    """By question, as `Pair.value` has it; not all where the rest was skipped."""


@dataclass(frozen=True, slots=True)
class Sitting:
    """What one sitting brought."""

    judged: tuple[Judged, ...]
    before: int
    """Prompts about which the person had said all before."""
    too_long: int
    """Prompts that the model has no room for."""
    left: bool
    """Whether the person ended it."""


async def compare(
    engine: Engine, store: Store, plan: Plan, judge: str, person: Person,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Sitting:
    """Let a person compare two versions, which are loaded; every answer is durable at once.

    Args:
        judge: who, as ``platform/person``.

    Raises:
        LearningError: a version could not answer; what was said until then is kept.
    """
    asked = unanswered(plan, judge, await store.judgements_of(plan.one))
    left = tuple(messages for messages in plan.prompts if asked[digest(messages)])

    async def keep(pair: Pair, values: Mapping[str, int]) -> None:
        prompt, now = digest(pair.messages), clock()
        await store.add_judgements([
            Judgement(plan.one, plan.other, judge, prompt, plan.seed, question, value,
                      not pair.same, now)
            for question, value in values.items()
        ])  # fmt: skip

    judged: list[Judged] = []
    seen = too_long = 0
    goes_on = True
    async with aclosing(drawn(engine, replace(plan, prompts=left))) as pairs:
        async for pair in pairs:
            seen += 1
            if pair is None:
                too_long += 1
                continue
            questions = asked[digest(pair.messages)]
            if pair.same:
                values = dict.fromkeys(questions, 0)
                await keep(pair, values)
            else:
                person.show(pair, seen, len(left))
                values, goes_on = await _heard(pair, person, questions, keep)
            if values:
                judged.append(Judged(pair, values))
            if not goes_on:
                break
    return Sitting(tuple(judged), len(plan.prompts) - len(left), too_long, not goes_on)


async def _heard(
    pair: Pair, person: Person, questions: Sequence[str], keep: Keep
) -> tuple[dict[str, int], bool]:
    """What somebody says of a pair, kept word by word, and whether they go on to the next."""
    values: dict[str, int] = {}
    while left := questions[len(values) :]:
        word = await person.better(left[0])
        if not isinstance(word, Better):
            return values, word == "skip"
        new = dict.fromkeys(left if word.rest else left[:1], pair.value(word.side))
        await keep(pair, new)
        values |= new
    return values, True


def unanswered(
    plan: Plan, judge: str, before: Iterable[Judgement]
) -> dict[str, tuple[str, ...]]:
    """What is still to be asked about each prompt, by its digest."""
    versions = {plan.one, plan.other}
    said = {
        (given.prompt, given.question) for given in before
        if {given.one, given.other} == versions
        and (given.judge, given.seed) == (judge, plan.seed)
    }
    return {
        prompt: tuple(question for question in QUESTIONS if (prompt, question) not in said)
        for prompt in map(digest, plan.prompts)
    }
