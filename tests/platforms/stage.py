"""Many schedules played at once, each in a channel of its own, with one bot and one server.

What a platform adds is a `Stage`: how people ask and react there, and how its connections
are lost. Whatever hits the connection hits all channels. In the end, and wherever a schedule
says so, the store must agree with what people see; what is said then names the schedule.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from bot.app import App
from bot.types import ChannelKey
from tests.platforms.conftest import until
from tests.platforms.schedules import (
    Agree,
    Ask,
    Clear,
    Late,
    Lose,
    React,
    Step,
    Twice,
    named,
    schedule,
)

PATIENCE = 40.0
"""Seconds that anything may take; a new session of Discord takes seven."""


class Stage(Protocol):
    """A server with people and channels; channels, people and questions are numbers."""

    platform: str

    async def ask(self, place: int, person: int) -> None:
        """Somebody asks the bot something."""

    def replies(self, place: int, question: int) -> list[tuple[ChannelKey, str]]:
        """The replies to a question: the conversation that each is in, and its id."""

    def seen(self, place: int, question: int) -> dict[str, int]:
        """The signs that people see under the reply to a question, by the ids of people."""

    async def react(self, place: int, step: React) -> None:
        """Somebody gives a sign or takes it back."""

    async def clear(self, place: int, question: int) -> None:
        """All signs under a reply go."""

    async def repeat(self, rng: random.Random) -> None:
        """Something is told again, earlier or to come."""

    def hold(self) -> None:
        """Tell nothing until `release`."""

    async def release(self, rng: random.Random) -> None:
        """Tell what was kept back, shuffled as far as the platform may."""

    async def lose(self, way: int) -> None:
        """Lose the connection."""

    async def ready(self) -> None:
        """Return once there is a connection."""

    async def wait_for(self, holds: Callable[[], object]) -> None:
        """Return once something holds on the server."""


@dataclass
class Course:
    """How far one schedule has come."""

    seed: int
    place: int
    steps: deque[Step]
    asked: int = 0
    answered: set[int] = field(default_factory=set)

    def __str__(self) -> str:
        return f"schedule {self.seed} (RAPPORT_SCHEDULES={self.seed}-{self.seed})"


class Play:
    """Takes the next step of one schedule after another, whichever can go on."""

    def __init__(self, stage: Stage, app: App, seeds: range) -> None:
        self._stage = stage
        self._app = app
        self._seeds = seeds
        self._rng = random.Random(seeds.start)
        self._courses = [
            Course(seed, place, deque(schedule(seed))) for place, seed in enumerate(seeds)
        ]
        self._late: int | None = None
        self._lost: int | None = None

    async def run(self) -> None:
        """Play everything to its end, and compare."""
        while left := [course for course in self._courses if course.steps]:
            able = [course for course in left if self._can_go_on(course)]
            if able:
                await self._burst(self._rng.choice(able))
                await asyncio.sleep(0)
                continue
            await self._calm()
            await self._wait(
                lambda left=left: any(map(self._can_go_on, left)),  # type: ignore[misc]
                f"no reply in any of the schedules {named(self._seeds)}",
            )
        await self._calm()
        for course in self._courses:
            await self._agree(course)
        await self._once()

    async def _burst(self, course: Course) -> None:
        """A step or some, with nothing between them."""
        for _ in range(self._rng.choice((1, 1, 2, 5))):
            if course.steps and self._can_go_on(course):
                await self._step(course)

    def _can_go_on(self, course: Course) -> bool:
        """A reply that something is to happen to must be there."""
        step = course.steps[0]
        if not isinstance(step, React | Clear) or step.reply in course.answered:
            return True
        if self._stage.replies(course.place, step.reply):
            course.answered.add(step.reply)
            return True
        return False

    async def _step(self, course: Course) -> None:
        step = course.steps.popleft()
        match step:
            case Ask(person):
                await self._stage.ask(course.place, person)
                course.asked += 1
            case React():
                await self._stage.react(course.place, step)
            case Clear(reply):
                await self._stage.clear(course.place, reply)
            case Twice():
                await self._stage.repeat(self._rng)
            case Late(steps) if self._late is None:
                self._stage.hold()
                self._late = steps
            case Lose(way, steps):
                await self._stage.lose(way)
                self._lost = steps
            case Agree():
                await self._calm()
                await self._agree(course)
        await self._count_down()

    async def _count_down(self) -> None:
        if self._late is not None:
            self._late -= 1
            if self._late < 0:
                await self._release()
        if self._lost is not None:
            self._lost -= 1
            if self._lost < 0:
                self._lost = None
                await self._stage.ready()

    async def _calm(self) -> None:
        """Tell what is late, and be connected."""
        await self._release()
        self._lost = None
        await self._stage.ready()

    async def _release(self) -> None:
        if self._late is not None:
            self._late = None
            await self._stage.release(self._rng)

    async def _agree(self, course: Course) -> None:
        """Wait until every question is answered and every vote counted in one channel."""
        questions = range(course.asked)
        await self._wait(
            lambda: all(self._stage.replies(course.place, one) for one in questions),
            f"{course}: a question is not answered",
        )

        async def agreed() -> bool:
            return all([await self._differs(course, one) == "" for one in questions])

        try:
            await until(agreed, PATIENCE)
        except TimeoutError:
            found = [await self._differs(course, one) for one in questions]
            raise AssertionError(f"{course}: {'; '.join(filter(None, found))}") from None

    async def _differs(self, course: Course, question: int) -> str:
        """What people see under a reply and the store does not say; empty where it does."""
        key, message = self._stage.replies(course.place, question)[0]
        exchange = await self._app.store.exchange_of(key, message)
        if exchange is None:
            return f"reply {question} is not on record"
        votes = await self._app.store.current_votes_on(exchange)
        held = {vote.rater: vote.value for vote in votes}
        seen = self._stage.seen(course.place, question)
        return "" if held == seen else f"under reply {question} people see {seen}, not {held}"

    async def _once(self) -> None:
        """Nothing waits for an answer any more, and nothing has two."""
        asked = sum(course.asked for course in self._courses)

        async def settled() -> bool:
            return not await self._app.store.waiting_messages(self._stage.platform)

        await until(settled, PATIENCE)
        for course in self._courses:
            for question in range(course.asked):
                replies = self._stage.replies(course.place, question)
                assert len(replies) == 1, f"{course}: question {question} has {replies}"
        assert await self._app.store.count_exchanges() == asked, named(self._seeds)

    async def _wait(self, holds: Callable[[], object], otherwise: str) -> None:
        try:
            await self._stage.wait_for(holds)
        except TimeoutError as error:
            raise AssertionError(f"{otherwise} ({error})") from None
