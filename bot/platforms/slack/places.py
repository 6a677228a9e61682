"""What Slack's events leave out: whether a channel is private, whose thread a message is in.

A mention does not say what kind of channel it was made in, a reaction names a message and
not its thread. What is known from other events and from our own replies is remembered, the
rest is asked for. What cannot be learned counts as private.
"""

from __future__ import annotations

import logging
from collections import OrderedDict

from slack_sdk.errors import SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from bot.platforms.slack import incoming
from bot.platforms.slack.outgoing import FAILURES, why
from bot.types import ChannelKey

log = logging.getLogger(__name__)

MOST = 20_000
"""Posted messages whose conversation is remembered."""


class Places:
    """The channels and messages of one workspace, as far as one has to know them."""

    def __init__(self, client: AsyncWebClient, team: str) -> None:
        self._client = client
        self._team = team
        self._private: dict[str, bool] = {}
        self._posted: OrderedDict[tuple[str, str], ChannelKey] = OrderedDict()

    def note(self, event: incoming.Event) -> None:
        """Learn from an event what kind of channel it comes from."""
        if kind := event.get("channel_type"):
            self._private[event["channel"]] = kind != "channel"

    async def is_private(self, channel: str) -> bool:
        """Whether not everybody in the workspace can read along."""
        if incoming.is_direct(channel):
            return True
        if channel not in self._private:
            try:
                answer = await self._client.conversations_info(channel=channel)
            except FAILURES as error:
                log.warning("channel %s counts as private: %s", channel, why(error))
                return True
            about = answer["channel"]
            self._private[channel] = bool(about.get("is_private") or about.get("is_mpim"))
        return self._private[channel]

    def posted(self, key: ChannelKey, message: str) -> None:
        """Remember which conversation a message of the bot belongs to."""
        channel, _ = incoming.place_of(key)
        self._posted[channel, message] = key
        while len(self._posted) > MOST:
            self._posted.popitem(last=False)

    async def conversation_of(self, channel: str, message: str) -> ChannelKey | None:
        """The conversation of a message of the bot; None where Slack does not say.

        Raises:
            OSError, aiohttp.ClientError: Slack cannot be reached; it may be tried again.
        """
        known = self._posted.get((channel, message))
        if known is not None:
            return known
        try:
            answer = await self._client.reactions_get(channel=channel, timestamp=message)
        except SlackClientError as error:
            log.warning("a reaction in %s is not counted: %s", channel, why(error))
            return None
        thread = incoming.thread_of(answer.get("message") or {})
        key = incoming.channel_key(self._team, channel, thread)
        self.posted(key, message)
        return key
