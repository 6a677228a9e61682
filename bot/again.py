"""Another answer to a question that was answered, and the choice between the two.

The model is shown exactly what it was shown before. Which of the two is better is a pair of votes,
and the better one stands in the channel from then on. Until somebody has chosen, the first stands.
Knows no platform.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime

from bot.config import Config
from bot.conversation import Conversation, Reply, ReplyEvent, TextDelta
from bot.engine.base import Engine, Request
from bot.errors import RapportError
from bot.excuses import EXPIRED, shown
from bot.moderation import Moderation
from bot.store import Store
from bot.types import BASE, ChannelKey, Exchange, FinishReason


class Again:
    """Other answers, over the rooms that conversations use."""

    def __init__(
        self, engine: Engine, store: Store, config: Config, conversation: Conversation,
        adapter_for: Callable[[ChannelKey], str],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._engine = engine
        self._store = store
        self._config = config
        self._conversation = conversation
        self._adapter_for = adapter_for
        self._clock = clock
        self._moderation = Moderation(config.moderation)
        self._sampling = config.sampling.settings(engine.template.encode)

    async def answer(
        self, channel: ChannelKey, exchange_id: int
    ) -> AsyncGenerator[ReplyEvent, None]:
        """Another answer: pieces of text, then one `Reply`. One that is stopped is not kept.

        Raises:
            RapportError: there is no such reply here, another model gave it, or the model has
                no time; the message says which.
        """
        told = await self._conversation.ratings.rated(channel, exchange_id)
        if told.base != self._engine.info.fingerprint:
            raise RapportError("another model gave that answer; ask the question again instead")
        request = self._request(told)
        ids: list[int] = []
        text, timings = "", told.timings
        finish: FinishReason = "cancelled"
        stream = self._moderation.screen(self._engine.stream(request))
        async with aclosing(stream) as deltas:
            async for delta in deltas:
                text += delta.text
                ids.extend(delta.ids)
                finish, timings = delta.finish or finish, delta.timings or timings
                if delta.text:
                    yield TextDelta(delta.text, request.adapter)
        if finish == "expired":
            raise RapportError(EXPIRED)
        if finish == "error" or not ids:
            raise RapportError("no other answer came; please try again")
        key = await self._store.add_answer(
            replace(
                told, id=0, platform_ids=(), reply=text, reply_ids=tuple(ids), finish=finish,
                adapter=request.adapter, sampling=request.sampling, timings=timings,
                time=self._clock(),
            ),
            beside=exchange_id,
        )
        yield Reply(text, key, finish, request.adapter, timings, shown(text, finish)[1])

    async def choose(
        self, channel: ChannelKey, better: int, worse: int, rater: str, source: str
    ) -> None:
        """Say which of two answers is better; it stands from now on. Durable on return.

        Raises:
            RapportError: one of them is not of this channel, or the person may not rate.
        """
        ratings = self._conversation.ratings
        await ratings.rated(channel, worse)
        await ratings.vote(channel, better, rater, 1, source)
        await ratings.vote(channel, worse, rater, -1, source)
        async with self._conversation.quiet([channel]):
            await self._store.take_answer(better)

    def _request(self, told: Exchange) -> Request:
        adapter = self._adapter_for(told.channel)
        if adapter not in self._engine.loaded():
            adapter = BASE
        sampling = replace(self._sampling, max_tokens=told.sampling.max_tokens)
        # It keeps no prefix: what comes next in the channel may follow either answer.
        return Request(
            told.prompt_ids, adapter, sampling, tenant=told.channel.tenant,
            best_of=self._config.sampling.best_of,
            deadline=self._config.engine.deadline_seconds,
        )
