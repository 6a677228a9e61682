"""What a version of the bot says to held-out questions, and how well that is liked.

Replies are drawn straight from the engine, rendered as `bot.conversation` renders the
first message of a channel (a test holds the two equal), so that measuring leaves no trace
in the store. The same questions and seeds serve every version. Knows nothing of votes
given, training or promotion.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bot.config import Config
from bot.engine.base import Engine, Request, ScoreItem, whole
from bot.errors import DataError, EngineError, LearningError, PromptTooLong
from bot.likerate import LikeRate, like_rate
from bot.types import BASE, Turn
from learning.simulation.asking import places
from learning.simulation.crowd import Crowd, derived_seed
from learning.simulation.questions import Question


@dataclass(frozen=True, slots=True)
class Drawn:
    """A held-out reply."""

    prompt_ids: tuple[int, ...]
    reply_ids: tuple[int, ...]
    text: str
    ended: bool
    """Whether it ended by itself."""


class HeldOut:
    """A fixed set of held-out questions with their seeds."""

    def __init__(
        self, engine: Engine, config: Config, questions: Sequence[Question], replies: int, seed: int
    ) -> None:
        """Ask each question at least once, and as often as it takes for `replies` replies."""
        self._engine = engine
        self._persona = config.conversation.persona
        self._best_of = config.sampling.best_of
        self._room = asyncio.Semaphore(places(config))
        count = max(replies, len(questions))
        self._questions = [questions[index % len(questions)] for index in range(count)]
        most = min(config.sampling.max_tokens, max(1, engine.info.context // 2))
        sampling = config.sampling.settings(engine.template.encode)
        self._samplings = [
            replace(sampling, seed=derived_seed(seed, "held-out", i), max_tokens=most)
            for i in range(count)
        ]

    def __len__(self) -> int:
        return len(self._questions)

    async def draw(self, adapter: str, drawn: Callable[[int], None]) -> list[Drawn]:
        """One reply of `adapter` to each question; `drawn` is told how many there are so far.

        Raises:
            DataError: a question is longer than the model's context.
            LearningError: a reply failed.
        """
        done = 0

        async def one(place: int) -> Drawn:
            nonlocal done
            async with self._room:
                reply = await self._reply(place, adapter)
            done += 1
            drawn(done)
            return reply

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(place)) for place in range(len(self))]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _reply(self, place: int, adapter: str) -> Drawn:
        question = self._questions[place]
        prompt = prompt_ids(self._engine, self._persona, question.messages)
        request = Request(prompt, adapter, self._samplings[place], best_of=self._best_of)
        try:
            reply = await whole(self._engine, request)
        except PromptTooLong as too_long:
            raise DataError(f"the prompt {question.text[:60]!r} is too long: {too_long}") from None
        except EngineError as failed:
            raise LearningError(f"a held-out reply failed: {failed}") from failed
        if reply.finish not in ("stop", "length"):
            raise LearningError(f"a held-out reply ended as {reply.finish}: {reply.error}")
        return Drawn(prompt, reply.ids, reply.text, reply.finish == "stop")

    def rate(self, crowd: Crowd, replies: Sequence[Drawn]) -> LikeRate:
        """How the taste itself likes the replies; trolls are not asked. May take a while.

        Raises:
            DataError: the rater failed, or voted on none.
        """
        rate = like_rate(
            crowd.judge(place, self._questions[place].messages, reply.text)
            for place, reply in enumerate(replies)
        )
        if not rate.rated:
            raise DataError(f"the rater voted on none of {len(replies)} held-out replies")
        return rate

    async def nll_change(self, replies: Sequence[Drawn], adapter: str) -> float:
        """How much less likely the base's own replies have become: NLL ratio minus 1.

        Over all tokens of `replies`, which the base wrote; 0.0 for the base itself.
        """
        known = [reply for reply in replies if reply.reply_ids]
        if adapter == BASE or not known:
            return 0.0
        sums = []
        for version in (BASE, adapter):
            items = [ScoreItem(reply.prompt_ids, reply.reply_ids, version) for reply in known]
            scores = await self._engine.score(items)
            sums.append(-sum(sum(score.log_probs) for score in scores))
        return sums[1] / sums[0] - 1.0


def prompt_ids(engine: Engine, persona: str, messages: Sequence[Turn]) -> tuple[int, ...]:
    """The token ids that show the model a conversation which begins with these messages."""
    turns = [Turn("system", persona), *messages] if persona else list(messages)
    return tuple(engine.template.encode(engine.template.render(turns, reply_follows=True)))
