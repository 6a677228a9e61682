"""Answers being made: from a message on record to a reply on Slack with its buttons.

Where an answer goes is in the key of its conversation, so that one that was interrupted by
a restart finds its thread again.
"""

from __future__ import annotations

import logging
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime

from slack_sdk.web.async_client import AsyncWebClient

from bot.config import SlackConfig
from bot.conversation import Conversation, Heard
from bot.errors import RapportError
from bot.platforms.live import LiveReply, PostError
from bot.platforms.reactions import Signs
from bot.platforms.receipt import Receipt
from bot.platforms.slack import incoming, outgoing
from bot.platforms.slack.background import Background
from bot.platforms.slack.places import Places
from bot.types import ChannelKey

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

    async def resume(self) -> None:
        """Answer what was heard before a restart, where that is not long ago and still allowed."""
        now = datetime.now(UTC)
        for heard in await self._conversation.unanswered(incoming.NAME):
            channel, _ = incoming.place_of(heard.message.channel)
            old = (now - heard.message.time).total_seconds() > TOO_OLD
            if old or not self._conversation.permitted(replace(heard.message, within=(channel,))):
                await self._conversation.give_up(heard)
            else:
                self.start(heard)

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
            self._posted(key, message)
            if receipt is not None:
                receipt.over()

        live = LiveReply(
            poster, limit=outgoing.LIMIT, interval=self._config.edit_seconds, posted=posted
        )
        try:
            if not heard.refusal:
                poster.think()
            async with aclosing(self._conversation.answer(heard)) as events:
                reply = await live.follow(events)
            if reply is not None and reply.exchange_id is not None and live.ids:
                await self._conversation.ratings.posted(reply.exchange_id, live.ids)
                if self._config.feedback_buttons:
                    await poster.offer(reply.exchange_id)
        except PostError as error:
            log.error("%s", error)
        except RapportError as error:
            log.error("an answer failed: %s", error)
        finally:
            poster.close()
            self._signs.grown(key, live.ids)
            self._talking.remove(key)
            if receipt is not None:
                await receipt.close()

    def _posted(self, key: ChannelKey, message: str) -> None:
        self._places.posted(key, message)
        self._signs.growing(key, message)
