"""A reply that appears while it is made, by posting a message and editing it.

The first words are posted at once, then the messages are edited at most once in an
interval, and the end is always shown. A text over the limit goes on in further messages
(`bot.platforms.text`). What posts and edits is the platform's (`Poster`); one that lets a
message grow by other means brings a `Paper` of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Protocol

from bot.conversation import Reply, ReplyEvent, TextDelta
from bot.errors import RapportError
from bot.platforms.text import pieces

log = logging.getLogger(__name__)

NOTHING = "…"
"""What a message says that the text does not need any more."""


class PostError(RapportError):
    """The platform did not take a message; the text says why and what to do."""


class Poster(Protocol):
    """Where one reply is written."""

    async def post(self, text: str) -> str:
        """Post a message after those before it; the platform's id.

        Raises:
            PostError: the platform refused.
        """

    async def edit(self, platform_id: str, text: str) -> None:
        """Replace what a message says.

        Raises:
            PostError: the platform refused.
        """


class Stopped(RapportError):
    """Somebody has told the platform that they have read enough of a reply."""


class Paper(Protocol):
    """What one reply is written on."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The messages that the reply stands in so far."""

    async def show(self, text: str) -> None:
        """Let people read this; usually it is more than the last time.

        Raises:
            PostError: the platform refused.
            Stopped: nobody wants to read on.
        """


class Messages:
    """Messages that are posted, and edited as the text in them grows."""

    def __init__(
        self, poster: Poster, *, limit: int, posted: Callable[[str], None] = lambda _: None
    ) -> None:
        """`limit` in characters a message.

        `posted` is called with the id of each message as soon as it is there.
        """
        self._poster = poster
        self._limit = limit
        self._posted = posted
        self._shown: list[tuple[str, str]] = []

    @property
    def ids(self) -> tuple[str, ...]:
        """The messages that the text stands in so far."""
        return tuple(platform_id for platform_id, _ in self._shown)

    def take(self, ids: Iterable[str]) -> None:
        """Go on in messages that are there already, whatever they say."""
        self._shown = [(platform_id, "") for platform_id in ids]

    async def show(self, text: str) -> None:
        """Let the messages say this, and where it needs fewer than there are, the rest nothing.

        Raises:
            PostError: the platform refused.
        """
        parts = pieces(text, self._limit)
        for place, piece in enumerate([*parts, *[NOTHING] * (len(self._shown) - len(parts))]):
            if place == len(self._shown):
                platform_id = await self._poster.post(piece)
                self._shown.append((platform_id, piece))
                self._posted(platform_id)
            elif self._shown[place][1] != piece:
                platform_id = self._shown[place][0]
                await self._poster.edit(platform_id, piece)
                self._shown[place] = (platform_id, piece)


class LiveReply:
    """One reply on its way to the people, from the first word to the last."""

    def __init__(self, paper: Paper, *, interval: float) -> None:
        """`interval` in seconds between two changes of what is shown."""
        self._paper = paper
        self._interval = interval
        self._text = ""
        self._grown = asyncio.Event()
        self._over = asyncio.Event()
        self.stopped = False
        """Whether somebody has read enough; the rest is not asked for then."""

    async def follow(self, events: AsyncIterator[ReplyEvent]) -> Reply | None:
        """Show a reply as it comes, and its end; None when there was nothing to say.

        Raises:
            PostError: the end could not be shown; the reply itself is on record.
        """
        reply: Reply | None = None
        pacing = asyncio.create_task(self._pace())
        try:
            async for event in events:
                if self.stopped:
                    break
                if isinstance(event, TextDelta):
                    self._text += event.text
                    self._grown.set()
                else:
                    reply = event
        finally:
            # Not cancelled: a post that is under way would leave a message nobody knows.
            self._over.set()
            self._grown.set()
            await asyncio.shield(pacing)
        if reply is not None and not self.stopped:
            try:
                await self._paper.show(_whole(reply))
            except Stopped:
                self.stopped = True
        return reply

    async def _pace(self) -> None:
        while not self._over.is_set():
            await self._grown.wait()
            self._grown.clear()
            try:
                await self._paper.show(self._text)
            except Stopped:
                self.stopped = True
                return
            except PostError as error:
                # The end is tried in any case, and whoever follows hears of that.
                log.warning("a reply is not shown as it grows: %s", error)
                return
            try:
                await asyncio.wait_for(self._over.wait(), self._interval)
            except TimeoutError:
                continue


def _whole(reply: Reply) -> str:
    """What a reply leaves behind: its text, and below it what the person should know."""
    note = f"*{reply.note}*" if reply.note else ""
    return "\n\n".join(part for part in (reply.text.strip(), note) if part)
