"""The message that follows a learning run."""

from __future__ import annotations

import asyncio

from bot.platforms.base import Notice
from bot.platforms.run_report import RunReport


class Board:
    """Where the report is written, and how often."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.written = asyncio.Event()

    async def post(self, text: str) -> str:
        await self.edit("1", text)
        return "1"

    async def edit(self, platform_id: str, text: str) -> None:
        self.texts.append(text)
        self.written.set()


async def test_progress_passes_the_verdict_stays_and_another_run_is_not_told_of() -> None:
    board = Board()
    report = RunReport(1, board, interval=3600, limit=2000)
    following = asyncio.create_task(report.follow())
    report.hear(Notice("learning", "Run 1 has begun."))
    await board.written.wait()
    report.hear(Notice("learning", "Run 2 has ended.", run=2, last=True))
    for step in range(50):
        report.hear(Notice("progress", "training v0001", step / 50))
    report.hear(Notice("verdict", "Promoted: all 9 checks passed."))
    report.hear(Notice("swap", "v0001 serves."))
    report.hear(Notice("learning", "Run 1 has ended.", last=True))
    await following

    assert board.texts[0] == "📘 Run 1 has begun."
    assert board.texts[-1].splitlines() == [
        "📘 Run 1 has begun.", "⚖️ Promoted: all 9 checks passed.", "🔁 v0001 serves.",
        "📘 Run 1 has ended.",
    ]  # fmt: skip
    assert len(board.texts) == 2


async def test_progress_is_shown_as_a_bar() -> None:
    board = Board()
    report = RunReport(1, board, interval=0, limit=2000)
    following = asyncio.create_task(report.follow())
    report.hear(Notice("progress", "training v0001", 0.5))
    await board.written.wait()
    assert board.texts == ["`█████░░░░░` 50% training v0001"]
    report.hear(Notice("problem", "It failed.", last=True))
    await following
    assert board.texts[-1] == "⚠️ It failed."
