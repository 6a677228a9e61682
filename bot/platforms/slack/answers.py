"""Answers being made: from a message on record to a reply on Slack with its buttons.

Where an answer goes is in the key of its conversation, so that one that was interrupted by
a restart finds its thread again.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime

from slack_sdk.web.async_client import AsyncWebClient

from bot.config import SlackConfig
from bot.conversation import Conversation, Heard
from bot.errors import RapportError
from bot.platforms.live import LiveReply, Messages, PostError
from bot.platforms.reactions import Signs
from bot.platforms.receipt import Receipt
from bot.platforms.slack import incoming, outgoing
from bot.platforms.slack.background import Background
from bot.platforms.slack.places import Places
from bot.platforms.slack.stream import Stream
from bot.types import ChannelKey, Message

log = logging.getLogger(__name__)

EYES = "eyes"
"""What Slack calls 👀."""
TOO_OLD = 15 * 60
"""Seconds after which a question that was interrupted by a restart is not answered."""


class Answers:
    """The answers of one workspace."""

    def __init__(
        self, client: AsyncWebClient, config: SlackConfig, conversation: Conversation,
        places: Places, signs: Signs, background: Background,
    ) -> None:
        self._client = client
        self._config = config
        self._conversation = conversation
        self._places = places
        self._signs = signs
        self._background = background
        self._talking: list[ChannelKey] = []

    def talking(self, key: ChannelKey) -> bool:
        """Whether an answer is being made in a conversation."""
        return key in self._talking

    def start(self, heard: Heard) -> None:
        """Answer, beside everything else; answers of a conversation keep this order."""
        receipt = self._receipt(heard)
        self._talking.append(heard.message.channel)
        self._background.start(self._answer(heard, receipt))

    async def resume(self, look: Callable[[list[Message]], Awaitable[None]]) -> None:
        """Answer what was heard before a restart, where that is not long ago and still allowed.

        `look` finds out first which of these questions were changed or deleted meanwhile.
        """
        await look([heard.message for heard in await self._still_asked()])
        for heard in await self._still_asked():
            self.start(heard)

    async def _still_asked(self) -> list[Heard]:
        """What waits for its answer; what is too old or not allowed any more is given up."""
        now, asked = datetime.now(UTC), []
        for heard in await self._conversation.unanswered(incoming.NAME):
            channel, _ = incoming.place_of(heard.message.channel)
            old = (now - heard.message.time).total_seconds() > TOO_OLD
            if old or not self._conversation.permitted(replace(heard.message, within=(channel,))):
                await self._conversation.give_up(heard)
            else:
                asked.append(heard)
        return asked

    def _receipt(self, heard: Heard) -> Receipt | None:
        """The sign under a question that waits behind another; what is refused does not wait."""
        key, message, client = heard.message.channel, heard.message.platform_id, self._client
        if not self._config.receipt or not self.talking(key) or heard.refusal:
            return None
        channel, _ = incoming.place_of(key)
        return Receipt(
            lambda: client.reactions_add(channel=channel, timestamp=message, name=EYES),
            lambda: client.reactions_remove(channel=channel, timestamp=message, name=EYES),
            outgoing.FAILURES,
        )

    async def _answer(self, heard: Heard, receipt: Receipt | None) -> None:
        key = heard.message.channel
        poster = outgoing.Reply(self._client, *incoming.place_of(key))

        def posted(message: str) -> None:
            self._places.posted(key, message)
            if receipt is not None:
                receipt.over()

        stream = self._stream(heard, poster, posted)
        paper = stream or Messages(poster, limit=outgoing.LIMIT, posted=posted)
        live = LiveReply(paper, interval=self._config.edit_seconds)
        try:
            if not heard.refusal:
                poster.think()
            with self._signs.making(key):
                async with aclosing(self._conversation.answer(heard)) as events:
                    reply = await live.follow(events)
                exchange = reply.exchange_id if reply is not None else None
                if live.stopped and reply is None:
                    exchange = await self._cut_short(key)
                if exchange is not None and paper.ids:
                    await self._conversation.ratings.posted(exchange, paper.ids)
                    if self._config.feedback_buttons:
                        await (stream or poster).offer(exchange)
        except PostError as error:
            log.error("%s", error)
        except RapportError as error:
            log.error("an answer failed: %s", error)
        finally:
            poster.close()
            if stream is not None:
                await stream.close()
            self._talking.remove(key)
            if receipt is not None:
                await receipt.close()

    def _stream(
        self, heard: Heard, poster: outgoing.Reply, posted: Callable[[str], None]
    ) -> Stream | None:
        """What the answer is streamed with; only threads take streams."""
        key = heard.message.channel
        channel, thread = incoming.place_of(key)
        if not self._config.stream or thread is None or heard.refusal:
            return None
        asker = key.guild, heard.message.author
        return Stream(self._client, (channel, thread), asker, poster, posted)

    async def _cut_short(self, key: ChannelKey) -> int | None:
        """The reply that was given up because somebody had read enough of it."""
        newest = await self._conversation.last(key)
        if newest is None or newest.finish != "cancelled" or newest.platform_ids:
            return None
        return newest.id
