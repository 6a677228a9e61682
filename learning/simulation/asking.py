"""Scripted users at the door of the real conversation: many at once, recorded in order.

Questions go in through `Conversation.respond` and votes through `Conversation.vote`, as
from any platform. The first event of a reply comes before the reply is recorded, so each
stream is held there until the one before it has ended: replies are generated together,
yet exchanges and votes get their ids in the order of asking, and the same seed gives the
same database. Knows nothing of tastes, training or measuring.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, cast

from bot.config import Config
from bot.errors import LearningError
from bot.store import Store
from bot.types import BASE, ChannelKey, Exchange, Message, Sampling, Timings, Vote, VoteValue
from learning.simulation.questions import Question

SOURCE = "simulate"
"""The source of every vote given here, and the platform of every channel."""
SCRIPTED = "scripted"
"""The base named in replies that a prompt file wrote: no model's, so never learned from."""


class Answer(Protocol):
    """The last event of `Conversation.respond`."""

    @property
    def text(self) -> str:
        """What was said."""

    @property
    def adapter(self) -> str:
        """Which version spoke."""

    @property
    def exchange_id(self) -> int | None:
        """What votes refer to; None when there is nothing to vote on."""

    @property
    def finish(self) -> str:
        """``error`` when there is no reply."""


class Voting(Protocol):
    """What is used of `bot.ratings.Ratings`."""

    async def vote(
        self, channel: ChannelKey, exchange_id: int, rater: str, value: VoteValue, source: str
    ) -> Vote:
        """Keep a vote."""


class Talk(Protocol):
    """What is used of `bot.conversation.Conversation`."""

    def respond(
        self, message: Message, *, seed: int | None = None
    ) -> AsyncGenerator[object, None]:
        """Answer a message; the last event is the `Answer`."""

    @property
    def ratings(self) -> Voting:
        """Where votes go."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, who asks it, and the seed of its reply; `number` is never used twice."""

    number: int
    user: str
    question: Question
    seed: int

    @property
    def channel(self) -> ChannelKey:
        """A conversation of its own."""
        return ChannelKey(SOURCE, "local", f"p{self.number:05d}")


def places(config: Config) -> int:
    """How many questions may be open: every row busy and one waiting for each, never refused.

    Where several replies are drawn for each, only so many that all of them always find a row:
    how many are drawn must not hang on the moment.
    """
    rows = config.engine.rows
    if (each := config.sampling.best_of) > 1:
        return max(1, rows // each)
    return max(1, min(2 * rows, config.engine.queue))


async def ask_all(
    talk: Talk,
    store: Store,
    asked: Sequence[Asked],
    at_once: int,
    answered: Callable[[int], None] = lambda done: None,
) -> list[Answer]:
    """Ask, `at_once` at a time, and return the replies in the order of asking.

    Args:
        answered: called with the number of replies so far, after each.

    Raises:
        LearningError: a question could not be answered.
    """
    for one in asked:
        await _say_before(store, one)
    room = asyncio.Semaphore(at_once)
    ended = [asyncio.Event() for _ in asked]

    async def one_reply(place: int) -> Answer:
        async with room:
            before = ended[place - 1] if place else None
            answer = await _ask(talk, asked[place], before)
            ended[place].set()
            answered(place + 1)
            return answer

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one_reply(place)) for place in range(len(asked))]
    except ExceptionGroup as errors:
        # One failure cancels the others; the operator reads the first line of it.
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


async def _ask(talk: Talk, asked: Asked, before: asyncio.Event | None) -> Answer:
    message = Message(
        asked.channel, asked.user, asked.question.text, f"{asked.channel.channel}-last",
        datetime.now(UTC),
    )
    last: object = None
    stream = talk.respond(message, seed=asked.seed)
    async with aclosing(stream) as events:
        async for event in events:
            if last is None and before is not None:
                await before.wait()
            last = event
    if last is None:
        raise LearningError(f"the question in {asked.channel} was asked before")
    answer = cast(Answer, last)
    if answer.finish in ("error", "expired"):
        raise LearningError(f"{asked.question.text[:60]!r} got no reply: {answer.text}")
    return answer


async def _say_before(store: Store, asked: Asked) -> None:
    """Put what a prompt file has before the question into the channel's stored history.

    The conversation restores it from there as after a restart.
    """
    turns = asked.question.messages
    for place, turn in enumerate(turns[:-1]):
        now = datetime.now(UTC)
        if turn.role == "user":
            name = f"{asked.channel.channel}-{place}"
            await store.add_message(Message(asked.channel, asked.user, turn.content, name, now))
        else:
            await store.add_exchange(
                Exchange(
                    asked.channel, asked.user, (asked.user,), turns[:place], (), (), turn.content,
                    "stop", BASE, SCRIPTED, Sampling(), Timings(), now,
                )
            )
