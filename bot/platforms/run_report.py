"""One message that follows a learning run, from the first step to the verdict.

What passes (progress) is shown on a line that changes, what stays (the verdict, a swap, a
problem) is kept above it. It hears the same notices as everybody and ends with the run; it
knows neither the learning half nor how a platform posts.
"""

from __future__ import annotations

import asyncio

from bot.platforms.base import Notice
from bot.platforms.live import Poster
from bot.platforms.text import pieces

BAR = 10
_MARKS = {"verdict": "⚖️", "swap": "🔁", "problem": "⚠️", "learning": "📘"}


class RunReport:
    """The story of one run in one message."""

    def __init__(self, poster: Poster, *, interval: float, limit: int) -> None:
        """`interval` in seconds between edits, `limit` in characters."""
        self._poster = poster
        self._interval = interval
        self._limit = limit
        self._kept: list[str] = []
        self._passing = ""
        self._changed = asyncio.Event()
        self._over = asyncio.Event()

    def hear(self, notice: Notice) -> None:
        """Take a notice in; returns at once."""
        if notice.kind == "progress":
            self._passing = f"{_bar(notice.share)} {notice.text}".strip()
        else:
            line = f"{_MARKS[notice.kind]} {notice.text}"
            if line not in self._kept:
                self._kept.append(line)
        if notice.last:
            self._passing = ""
            self._over.set()
        self._changed.set()

    async def follow(self) -> None:
        """Post the message and keep it true until the run has ended.

        Raises:
            PostError: the platform refused.
        """
        platform_id, shown = "", ""
        while not self._over.is_set() or shown != self._text():
            await self._changed.wait()
            self._changed.clear()
            text = self._text()
            if not platform_id:
                platform_id = await self._poster.post(text)
            elif text != shown:
                await self._poster.edit(platform_id, text)
            shown = text
            if not self._over.is_set():
                try:
                    await asyncio.wait_for(self._over.wait(), self._interval)
                except TimeoutError:
                    continue

    def _text(self) -> str:
        text = "\n".join([*self._kept, self._passing] if self._passing else self._kept)
        return (pieces(text, self._limit) or ["…"])[0]


def _bar(share: float | None) -> str:
    if share is None:
        return ""
    full = round(share * BAR)
    return f"`{'█' * full}{'░' * (BAR - full)}` {share:.0%}"
