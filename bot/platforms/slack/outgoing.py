"""Replies on their way to Slack: posting, editing, and what a refusal means.

Nothing the model says can ping anybody (`bot.platforms.slack.mrkdwn`), and no address in it
is unfolded into a preview. What Slack refuses becomes a `PostError` that says what to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from bot.platforms.live import PostError
from bot.platforms.slack.feedback import feedback
from bot.platforms.slack.mrkdwn import sections, summary

LIMIT = 3800
"""Characters of a message, before they are escaped."""
FAILURES = (SlackClientError, aiohttp.ClientError, OSError)
"""How a request may end: refused by Slack, or lost on the way."""
Block = dict[str, Any]
Respond = Callable[..., Awaitable[Any]]
"""Sends something to the person who gave a command or pressed a button."""
THINKING = "is thinking…"
COURTESY = 2.0
"""Seconds that an answer waits at most for Slack to show that it is being made."""

_MEND = {
    "not_in_channel": "invite it there with /invite",
    "channel_not_found": "the channel is gone, or private and without the bot: invite it there",
    "is_archived": "the channel is archived",
    "thread_not_found": "the question is gone",
    "message_not_found": "somebody deleted the message",
    "restricted_action": "an admin keeps apps from writing there",
    "missing_scope": "install the app anew with the manifest of `rapport slack-manifest`",
}


class Reply:
    """Where one answer is written: in its thread, in as many messages as it takes."""

    def __init__(self, client: AsyncWebClient, channel: str, thread: str | None) -> None:
        self._client = client
        self._channel = channel
        self._thread = thread
        self._texts: dict[str, str] = {}
        self._thinking: asyncio.Task[None] | None = None

    def think(self) -> None:
        """Show that an answer is being made, where Slack can; the answer ends it."""
        if self._thread:
            self._thinking = asyncio.create_task(self._say_thinking(self._thread))

    async def ready(self) -> None:
        """Wait until it is shown that an answer is being made, before the answer itself is."""
        if self._thinking is not None:
            # Were it to arrive after the answer, it would stay; it is not worth a long wait.
            await asyncio.wait([self._thinking], timeout=COURTESY)
            self._thinking.cancel()

    async def post(self, text: str, below: Sequence[Block] = ()) -> str:
        """Post a message in the thread, with blocks below the text."""
        await self.ready()
        try:
            answer = await self._client.chat_postMessage(
                channel=self._channel, thread_ts=self._thread, unfurl_links=False,
                unfurl_media=False, **_content(text, below),
            )
        except FAILURES as error:
            raise refused(error, self._channel) from error
        message = str(answer["ts"])
        self._texts[message] = text
        return message

    async def edit(self, platform_id: str, text: str) -> None:
        """Replace what one of the messages says."""
        await self._update(platform_id, text, [])
        self._texts[platform_id] = text

    async def offer(self, exchange: int) -> None:
        """Put the buttons of a vote under the last message."""
        if self._texts:
            message, text = list(self._texts.items())[-1]
            await self._update(message, text, [feedback(exchange)])

    async def attach(self, name: str, picture: bytes, alt: str) -> None:
        """Post a picture; `alt`, above it, is for those who do not see it.

        Slack lets an upload have a description of its own, and then sometimes shares the file
        with nobody without saying so (github.com/slackapi/python-slack-sdk/issues/1818).

        Raises:
            PostError: Slack refused.
        """
        try:
            await self._client.files_upload_v2(
                channel=self._channel, thread_ts=self._thread, filename=name, content=picture,
                initial_comment=alt,
            )
        except FAILURES as error:
            raise refused(error, self._channel) from error

    def close(self) -> None:
        """Say no longer that an answer is being made."""
        if self._thinking is not None:
            self._thinking.cancel()

    async def _update(self, message: str, text: str, below: Sequence[Block]) -> None:
        try:
            await self._client.chat_update(
                channel=self._channel, ts=message, **_content(text, below)
            )
        except FAILURES as error:
            raise refused(error, self._channel) from error

    async def _say_thinking(self, thread: str) -> None:
        try:
            await self._client.assistant_threads_setStatus(
                channel_id=self._channel, thread_ts=thread, status=THINKING
            )
        except FAILURES:
            return  # a courtesy; the answer itself says what is wrong


def _content(text: str, below: Sequence[Block]) -> dict[str, Any]:
    """What a message says, for those who see blocks and for notifications."""
    return {
        "text": summary(text), "blocks": [*sections(text), *below],
        "parse": "none", "link_names": False,
    }


def code_of(error: Exception) -> str:
    """Slack's word for a refusal; empty where there is none."""
    if isinstance(error, SlackApiError):
        return str(error.response.get("error") or "")
    return ""


def why(error: Exception) -> str:
    """Why a request failed, in a word."""
    return code_of(error) or type(error).__name__


def refused(error: Exception, channel: str) -> PostError:
    """What a refusal of Slack means for those who look after the workspace."""
    code = code_of(error)
    if not code:
        return PostError(f"Slack cannot be reached ({why(error)})")
    mend = f": {_MEND[code]}" if code in _MEND else ""
    return PostError(f"Slack does not let the bot write in {channel} ({code}){mend}")
