"""What those who asked for a learning run see of it: its course, and then its verdict.

What passes (progress) is shown on a line that changes, what stays (the verdict, a swap, a
problem) is kept above it. It hears the same notices as everybody and ends with the run; it
knows neither the learning half nor how a platform posts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from bot.platforms.base import Notice
from bot.platforms.live import Poster, PostError
from bot.platforms.text import pieces

log = logging.getLogger(__name__)

SECONDS = 4.0
"""Between two edits of the message that follows a run."""
BAR = 10
_MARKS = {"verdict": "⚖️", "swap": "🔁", "problem": "⚠️", "learning": "📘"}

Show = Callable[[str], Awaitable[None]]
"""Shows the verdict on a version where its run was followed; may raise `PostError`."""


class RunReport:
    """The story of one run in one message."""

    def __init__(self, run: int, poster: Poster, *, interval: float, limit: int) -> None:
        """`interval` in seconds between edits, `limit` in characters."""
        self._run = run
        self._poster = poster
        self._interval = interval
        self._limit = limit
        self._kept: list[str] = []
        self._passing = ""
        self._judged = ""
        self._changed = asyncio.Event()
        self._over = asyncio.Event()

    def hear(self, notice: Notice) -> None:
        """Take a notice in, unless it is about another run; returns at once."""
        if notice.run not in (None, self._run):
            return
        if notice.kind == "progress":
            self._passing = f"{_bar(notice.share)} {notice.text}".strip()
        else:
            line = f"{_MARKS[notice.kind]} {notice.text}"
            if line not in self._kept:
                self._kept.append(line)
        if notice.kind == "verdict":
            self._judged = notice.adapter
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

    async def judged(self) -> str:
        """The version that was judged, once the run has ended; empty where none was."""
        await self._over.wait()
        return self._judged

    def _text(self) -> str:
        text = "\n".join([*self._kept, self._passing] if self._passing else self._kept)
        return (pieces(text, self._limit) or ["…"])[0]


class Reports:
    """The runs that are followed now on one platform."""

    def __init__(self, limit: int, interval: float = SECONDS) -> None:
        """`limit` in characters of a message, `interval` in seconds between edits."""
        self._limit = limit
        self._interval = interval
        self._tasks: dict[RunReport, asyncio.Task[None]] = {}

    def follow(self, run: int, poster: Poster, show: Show) -> None:
        """Tell by `poster` how a run goes, and let `show` tell what came of it."""
        report = RunReport(run, poster, interval=self._interval, limit=self._limit)
        self._tasks[report] = asyncio.create_task(self._tell(report, show))

    def hear(self, notice: Notice) -> None:
        """Let those who asked for a run see what comes of it."""
        for report in self._tasks:
            report.hear(notice)

    async def close(self) -> None:
        """Follow nothing any more."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _tell(self, report: RunReport, show: Show) -> None:
        """A message that somebody deleted is not missed; the verdict is tried all the same."""
        refusal: PostError | None = None
        try:
            try:
                await report.follow()
            except PostError as error:
                log.warning("a run is not followed any more: %s", refusal := error)
            if version := await report.judged():
                await show(version)
        except PostError as error:
            if refusal is None:  # one channel that is gone deserves one warning
                log.warning("a verdict is not shown as it should be: %s", error)
        except Exception:  # the job border: nobody waits for this task
            log.exception("the report of a run ended")
        finally:
            del self._tasks[report]


def _bar(share: float | None) -> str:
    if share is None:
        return ""
    full = round(share * BAR)
    return f"`{'█' * full}{'░' * (BAR - full)}` {share:.0%}"
