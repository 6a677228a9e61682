"""One answer that grows by Slack's own streaming (`slack.stream`), as far as that goes.

A streamed message only grows: what stands there stays, so that a long answer goes on in a
further message before a stream gets too old or too long. Where Slack refuses (streams are not
allowed everywhere, and die after some minutes), the message is closed and goes on by edits
(`bot.platforms.live.Messages`), which replace all of it: nothing is lost and nothing said twice.

Streams take Markdown and not Slack's escapes, so what would call people is broken with a sign
that nobody sees.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable

from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_async_handlers import AsyncConnectionErrorRetryHandler
from slack_sdk.web.async_chat_stream import AsyncChatStream
from slack_sdk.web.async_client import AsyncWebClient

from bot.platforms.live import Messages, PostError, Stopped
from bot.platforms.slack.feedback import feedback
from bot.platforms.slack.outgoing import COURTESY, FAILURES, LIMIT, Reply, code_of, refused, why
from bot.platforms.text import ending, open_after

log = logging.getLogger(__name__)

LONGEST = LIMIT - 200
"""Characters of a streamed message; with its fences it must fit into one that is edited."""
OLDEST = 240.0
"""Seconds after which a message takes no further words; Slack ends a stream after 300."""
LANGUAGE = 40
"""Characters of a code's language that are repeated in the next message."""
STOPPED = "stopped_by_user"
UNSEEN = "\u200b"
_CALLS = re.compile(r"(<)(?=[!@#\\&])|(@(?:her|channe|everyon))(?=[el])", re.IGNORECASE)


def harmless(text: str) -> str:
    """Markdown that calls nobody; of a longer text it is the longer one's beginning."""
    return _CALLS.sub(lambda call: f"{call[0]}{UNSEEN}", text)


class Stream:
    """Where one answer is written: in its thread, in as many messages as it takes."""

    def __init__(
        self, client: AsyncWebClient, place: tuple[str, str], asker: tuple[str, str],
        reply: Reply, posted: Callable[[str], None], clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`place` is a channel and a thread in it, `asker` a workspace and a person of it.

        `reply` writes there without streaming; `posted` is called with the id of each message.
        """
        self._client = _once(client)
        self._channel, self._thread = place
        self._team, self._person = asker
        self._reply = reply
        self._posted = posted
        self._clock = clock
        self._edited = Messages(reply, limit=LIMIT, posted=posted)
        self._given_up = False
        self._full: list[str] = []
        self._live: AsyncChatStream | None = None
        self._open = ""
        self._began = 0.0
        self._told = ""
        self._start = 0
        self._opening = ""
        self._sent = ""

    @property
    def ids(self) -> tuple[str, ...]:
        """The messages that the answer stands in so far."""
        current = self._edited.ids if self._given_up else (self._open,) if self._open else ()
        return (*self._full, *current)

    async def show(self, text: str) -> None:
        """Let people read this.

        Raises:
            PostError: Slack refused, by edits as well.
            Stopped: somebody pressed Stop.
        """
        # White space is said when something follows it.
        text = text.strip()
        if not self._given_up and text.startswith(self._told):
            try:
                await self._grow(text)
                return
            except FAILURES as error:
                self._note(error)
                if code_of(error) == STOPPED:
                    self._give_up()
                    raise Stopped from error
        self._give_up()
        await self._edit(text)

    async def offer(self, exchange: int) -> None:
        """End the answer with the buttons of a vote."""
        if self._live is not None and not self._given_up:
            try:
                await self._live.stop(blocks=[feedback(exchange)])
                self._live = None
                return
            except FAILURES as error:
                self._note(error)
        self._give_up()
        await self._edit(self._told)
        await self._reply.offer(exchange)

    async def close(self) -> None:
        """End a message that is still open, as it is."""
        try:
            await asyncio.wait_for(self._stop(), COURTESY)
        except (PostError, TimeoutError) as error:
            log.info("a message stays open until Slack ends it: %s", why(error))

    async def _grow(self, text: str) -> None:
        """Write what is new, and turn the page where it is due."""
        while len(self._told) < len(text):
            if self._live is None:
                await self._begin()
            here = text[self._start :]
            end = ending(here, len(self._told) - self._start, LONGEST - len(self._opening))
            if self._clock() - self._began > OLDEST:
                word = re.compile(r"\s").search(text, len(self._told))
                end = word.start() - self._start if word else end
            shown = here if end is None else here[:end]
            await self._append(self._opening + shown)
            self._told = text[: self._start + len(shown)]
            if end is not None:
                await self._turn(text)

    async def _begin(self) -> None:
        await self._reply.ready()
        self._live = await self._client.chat_stream(
            channel=self._channel, thread_ts=self._thread, recipient_team_id=self._team,
            recipient_user_id=self._person, buffer_size=1,
        )
        self._sent = ""
        self._began = self._clock()

    async def _append(self, markdown: str) -> None:
        """Let the message say this, which begins with what it says."""
        assert self._live is not None
        markdown = harmless(markdown)
        if new := markdown[len(self._sent) :]:
            await self._live.append(markdown_text=new)
            self._sent = markdown
        if self._live.ts and self._live.ts != self._open:
            self._open = self._live.ts
            self._posted(self._open)

    async def _turn(self, text: str) -> None:
        """End a message, and let the next one begin with what comes after it."""
        assert self._live is not None
        says = self._opening + self._told[self._start :]
        fence = open_after(says)
        if fence is not None:
            await self._append(f"{says}\n{fence.mark}")
        await self._live.stop()
        self._full.append(self._open)
        self._live, self._open = None, ""
        rest = text[len(self._told) :]
        # In code the indentation of the next line is part of it; in prose it is not.
        left = rest.lstrip() if fence is None else rest.removeprefix("\n")
        self._start = len(text) - len(left)
        self._told = text[: self._start]
        self._opening = f"{fence.mark}{fence.language[:LANGUAGE]}\n" if fence else ""

    def _give_up(self) -> None:
        """From now on the message is edited, and what it says now does not matter."""
        if not self._given_up:
            self._edited.take([self._open] if self._open else [])
            self._given_up = True

    async def _edit(self, text: str) -> None:
        await self._stop()
        if not text.startswith(self._told[: self._start]):
            # Something else is said instead: nothing of it may stay.
            self._edited.take(self.ids)
            self._full, self._start, self._opening = [], 0, ""
        await self._edited.show(self._opening + text[self._start :])
        self._told = text

    async def _stop(self) -> None:
        """Close the message at Slack, which takes no edits before."""
        if self._live is None or not self._open:
            return
        try:
            await self._client.chat_stopStream(channel=self._channel, ts=self._open)
        except SlackApiError as error:
            log.debug("a stream was over already: %s", why(error))
        except FAILURES as error:
            raise refused(error, self._channel) from error
        self._live = None

    def _note(self, error: Exception) -> None:
        log.info("an answer in %s is not streamed any more: %s", self._channel, why(error))


def _once(client: AsyncWebClient) -> AsyncWebClient:
    """The same client, which says nothing again after a connection that was lost.

    Perhaps Slack has heard it; words that are appended twice stand there twice.
    """
    handlers = [
        one for one in client.retry_handlers
        if not isinstance(one, AsyncConnectionErrorRetryHandler)
    ]
    return AsyncWebClient(
        client.token, base_url=client.base_url, session=client.session, retry_handlers=handlers
    )
