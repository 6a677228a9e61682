"""What people did to their messages while nobody listened.

Slack repeats an event for a while, but not for ever. After a start the conversations of the
newest replies are read again: a message on record that was edited is changed there, and one
that has gone is deleted. Questions that wait for their answer are looked at first of all. What
was asked in the meantime Slack tells by itself.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.changes import Changes
from bot.errors import RapportError
from bot.platforms.slack import incoming
from bot.platforms.slack.outgoing import FAILURES, code_of, why
from bot.types import ChannelKey, Message

log = logging.getLogger(__name__)

NEWEST = 25
"""Messages of a conversation that are looked at again."""
PAGE = 200
"""Messages that are read for that, among them those that are not on record."""


class Missed:
    """Reads conversations again.

    Args:
        change: what is done about a message that was edited.
    """

    def __init__(
        self, client: AsyncWebClient, team: str, changes: Changes,
        change: Callable[[incoming.Event], Awaitable[None]],
    ) -> None:
        self._client = client
        self._team = team
        self._changes = changes
        self._change = change

    async def read(self, conversations: Iterable[ChannelKey]) -> None:
        """Catch up with some conversations; what cannot be read is left as it is."""
        for key in conversations:
            await self._look(key)

    async def waiting(self, questions: Iterable[Message]) -> None:
        """See what became of questions before they are answered."""
        asked: defaultdict[ChannelKey, list[str]] = defaultdict(list)
        for question in questions:
            asked[question.channel].append(question.platform_id)
        for key, known in asked.items():
            await self._look(key, known)

    async def _look(self, key: ChannelKey, asked: list[str] | None = None) -> None:
        try:
            if known := asked or await self._changes.newest(key, NEWEST):
                await self._compare(key, known)
        except FAILURES as error:
            log.debug("what was said in %s is not read again: %s", key, why(error))
        except RapportError as error:
            log.error("what changed in %s could not be taken: %s", key, error)

    async def _compare(self, key: ChannelKey, known: list[str]) -> None:
        channel, thread = incoming.place_of(key)
        answer = await self._answer(channel, thread, min(known, key=float))
        shown = {message["ts"]: message for message in answer["messages"]}
        for ts in known:
            message = shown.get(ts)
            if message is not None and message.get("subtype") != "tombstone":
                if message.get("edited") and incoming.is_spoken(message):
                    await self._change({**message, "channel": channel})
            elif message is not None or not answer.get("has_more"):
                about = {"ts": ts, "thread_ts": thread}
                await self._changes.deleted(incoming.spots(channel, about, self._team))

    async def _answer(self, channel: str, thread: str | None, oldest: str) -> Any:
        """What a conversation shows from a message on."""
        window: dict[str, Any] = {"oldest": oldest, "inclusive": True, "limit": PAGE}
        if thread is None:
            return await self._client.conversations_history(channel=channel, **window)
        try:
            return await self._client.conversations_replies(channel=channel, ts=thread, **window)
        except SlackApiError as error:
            if code_of(error) != "thread_not_found":
                raise
            return {"messages": []}  # with its last message a thread goes as well
