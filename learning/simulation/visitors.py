"""Simulated people who come when they are called, for somebody who wants to see the bot learn.

They ask everyday questions and rate the answers by a taste, beside everybody who really talks:
the same conversation, the same votes. `bot.learning_port.Crowd` is what pages know of them. A
measured simulation is another thing (`learning.simulation.simulate`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import cast

from bot.config import Config
from bot.ended import ended
from bot.errors import LearningError, RapportError
from bot.learning_port import Seen
from bot.store import Store
from bot.types import VoteValue
from learning.simulation.asking import SOURCE, Asked, Talk, ask_all, places
from learning.simulation.crowd import SHIPPED, Crowd, derived_seed, load_rater
from learning.simulation.questions import Question, asked_in_turn, read_questions

log = logging.getLogger(__name__)

TASTES = {
    "short_replies": "at most five words",
    "asks_back": "ends in a question",
    "exclaims": "an exclamation mark",
    "warm_words": "a kind word",
    "long_replies": "fourteen words or more",
    "on_topic": "a word of the question again",
}
PEOPLE = 10


class Visitors:
    """Nobody at first; `start` calls them, `close` sends them away."""

    def __init__(self, talk: Talk, store: Store, config: Config) -> None:
        self._talk = talk
        self._store = store
        self._config = config
        self._watchers: set[Callable[[Seen], None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._progress = (0, 0)
        self._trouble = ""

    @property
    def trouble(self) -> str:
        """Why those who came last left before the end; empty where they did not."""
        return self._trouble

    @property
    def progress(self) -> tuple[int, int]:
        """Votes so far, and votes in all; zeros while nobody is at it."""
        return self._progress

    def tastes(self) -> dict[str, str]:
        """What they may like: names, and what each means in a few words."""
        return dict(TASTES)

    def watch(self, callback: Callable[[Seen], None]) -> Callable[[], None]:
        """Call `callback` with each question, reply and vote; returns what ends that."""
        self._watchers.add(callback)
        return lambda: self._watchers.discard(callback)

    async def start(self, taste: str, votes: int) -> None:
        """Have people of a taste vote so often; returns at once.

        Raises:
            LearningError: others are at it, or there is no such taste.
        """
        if self._progress[1]:
            raise LearningError("simulated people are voting already; wait for them to end")
        if taste not in TASTES:
            raise LearningError(f"there is no taste {taste!r}; one of {', '.join(TASTES)}")
        self._progress, self._trouble = (0, votes), ""
        self._task = asyncio.create_task(self._visit(taste, votes), name="visitors")

    async def close(self) -> None:
        """Send them away; what they said and voted stays."""
        if self._task is not None:
            self._task.cancel()
            await ended(self._task)

    async def _visit(self, taste: str, votes: int) -> None:
        try:
            # Numbers and seeds that no visit before this one had.
            first = int(datetime.now(UTC).timestamp() * 1000)
            rater = await asyncio.to_thread(load_rater, SHIPPED / f"{taste}.py")
            questions = await asyncio.to_thread(read_questions)
            crowd = Crowd(rater, PEOPLE, (), first)
            asked = self._questions(crowd, asked_in_turn(questions, first), first)
            at_once = places(self._config)
            while (left := votes - self._progress[0]) > 0:
                await self._some(crowd, list(islice(asked, min(left, at_once))))
        except RapportError as error:
            self._trouble = f"They left: {error}"
            log.warning("simulated people left: %s", error)
        except Exception:
            self._trouble = "They left because something went wrong; the log has it."
            log.exception("simulated people left")
        finally:
            self._progress = (0, 0)

    def _questions(
        self, crowd: Crowd, questions: Iterator[Question], first: int
    ) -> Iterator[Asked]:
        for number, question in enumerate(questions, first):
            yield Asked(number, crowd.user(number), question, derived_seed(first, "reply", number))

    async def _some(self, crowd: Crowd, batch: list[Asked]) -> None:
        """Ask a few questions at a time, and vote on the answers."""
        answers = await ask_all(self._talk, self._store, batch, len(batch))
        for one, answer in zip(batch, answers, strict=True):
            value = crowd.vote(one.number, one.question.messages, answer.text)
            if value is None or answer.exchange_id is None:
                continue
            await self._talk.ratings.vote(
                one.channel, answer.exchange_id, one.user, cast(VoteValue, value), SOURCE
            )
            self._progress = (self._progress[0] + 1, self._progress[1])
            seen = Seen(one.channel, one.user, one.question.text, answer.text, answer.adapter,
                        answer.exchange_id, cast(VoteValue, value))  # fmt: skip
            for watcher in list(self._watchers):
                watcher(seen)
