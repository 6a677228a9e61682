"""What happened to votes while nobody listened.

Slack repeats an event for a while, but not for ever. After a start the newest replies are
looked at again: signs that stand there and are no votes become votes, and votes whose sign
has gone are withdrawn.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import groupby
from typing import Any

from slack_sdk.web.async_client import AsyncWebClient

from bot.conversation import Conversation
from bot.platforms.reactions import Signs
from bot.platforms.slack import incoming
from bot.platforms.slack.outgoing import FAILURES, why
from bot.platforms.slack.places import Places
from bot.platforms.thumbs import Thumbs
from bot.types import ChannelKey, VoteValue

log = logging.getLogger(__name__)

SPAN = timedelta(days=1)
MOST = 50
"""Replies that are looked at again; each costs a request, and Slack allows 50 a minute."""


class Reconciliation:
    """Compares the signs under recent replies with the votes on record."""

    def __init__(
        self, client: AsyncWebClient, me: str, conversation: Conversation, thumbs: Thumbs,
        signs: Signs, places: Places,
    ) -> None:
        self._client = client
        self._me = me
        self._conversation = conversation
        self._thumbs = thumbs
        self._signs = signs
        self._places = places

    async def run(self) -> list[ChannelKey]:
        """Look at the newest replies again, and give the conversations that they stand in.

        What cannot be read is left as it is.
        """
        since = datetime.now(UTC) - SPAN
        posted = await self._conversation.ratings.posted_since(incoming.NAME, since, MOST)
        for (exchange, key), parts in groupby(posted, lambda one: (one.exchange_id, one.channel)):
            messages = [part.platform_id for part in parts]
            for message in messages:
                self._places.posted(key, message)
            channel, _ = incoming.place_of(key)
            try:
                await self._signs.compare(
                    key, messages, partial(self._standing, channel, messages)
                )
            except FAILURES as error:
                log.debug("reply %s is not looked at again: %s", exchange, why(error))
        return list(dict.fromkeys(one.channel for one in posted))

    async def left(
        self, key: ChannelKey, messages: Sequence[str], person: str
    ) -> Collection[VoteValue] | None:
        """The signs of one person under a reply; None where Slack does not say."""
        channel, _ = incoming.place_of(key)
        try:
            standing = await self._standing(channel, messages)
        except FAILURES as error:
            log.debug("what somebody left under a reply is not counted: %s", why(error))
            return None
        return standing.get(person, ())

    async def _standing(
        self, channel: str, messages: Iterable[str]
    ) -> dict[str, set[VoteValue]]:
        """Who gave which signs under a reply."""
        standing: dict[str, set[VoteValue]] = {}
        for ts in messages:
            answer = await self._client.reactions_get(channel=channel, timestamp=ts, full=True)
            message: Mapping[str, Any] = answer.get("message") or {}
            for reaction in message.get("reactions", ()):
                if value := self._thumbs.value(reaction["name"]):
                    for person in reaction["users"]:
                        if person != self._me:
                            standing.setdefault(person, set()).add(value)
        return standing
