"""A verdict as chat platforms show it, and what a press of a button below it does.

What was found out is the learning half's; here it is put into the length of one message. A
press is a command like any other, with the powers that a person has when they press, so
that buttons work after a restart and for nobody but operators. Knows no platform.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal

from bot.commands import Answer, Asker, Command, Commands, Text
from bot.learning_port import Report, ReportState
from bot.platforms.markdown import safe
from bot.platforms.text import pieces

Act = Literal["approve", "veto", "rollback"]

LABELS: dict[Act, str] = {"approve": "Approve", "veto": "Veto", "rollback": "Roll back"}
SAMPLES = 3
"""Replies before and after, at most."""
WIDEST = 160
"""Characters of a prompt or a reply."""
NAME = 80
"""Characters of the name of somebody who pressed."""
ROOM = 150
"""Characters kept for the last line."""
ALT = 1000
"""Characters of a picture's description; Discord takes some more."""
_ACTS: dict[ReportState, tuple[Act, ...]] = {
    "waiting": ("approve", "veto"), "serving": ("rollback",),
}
_NOW: dict[ReportState, str] = {
    "serving": "serves", "waiting": "waits for approval", "turned away": "is turned away",
    "shadow": "may only be tried", "retired": "does not serve any more",
}
_DONE: dict[Act, str] = {
    "approve": "✅ Approved", "veto": "🚫 Vetoed", "rollback": "↩️ Rolled back",
}


@dataclass(frozen=True, slots=True)
class Pressed:
    """What came of a press."""

    answer: Answer
    """For the person alone."""
    text: str = ""
    """What the message says from now on, without buttons; empty where all stays as it is."""


class Presses:
    """The buttons below the verdicts of one platform."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._one = asyncio.Lock()

    async def press(
        self, act: Act, version: str, asker: Asker, name: str, limit: int
    ) -> Pressed:
        """Do what a button says; `name` is who pressed it, `limit` the message's length."""
        # One after the other: two presses of "Roll back" at once would go back twice.
        async with self._one:
            answer = await self._commands.run(Command("learn", f"report {version}"), asker)
            report = answer.report
            if report is None:
                return Pressed(answer)
            if act not in offered(report):
                late = Text(f"{report.adapter} {_NOW[report.state]}.", "bad")
                return Pressed(Answer((late,)), told(report, limit))
            # Back to whatever served before this one: the version is not named.
            args = act if act == "rollback" else f"{act} {version}"
            answer = await self._commands.run(Command("learn", args), asker)
            if _is_refusal(answer):
                return Pressed(answer)
            done = f"{_DONE[act]} by {_one_line(name, NAME)}."
            return Pressed(answer, told(report, limit, done))


def offered(report: Report) -> tuple[Act, ...]:
    """What may be done about a version now."""
    return _ACTS.get(report.state, ())


def told(report: Report, limit: int, last: str = "") -> str:
    """A verdict as Markdown: the sentence, the checks, and what changes, as far as it fits.

    The last line says how the version stands, unless there is something newer to say.
    """
    last = last or f"It {_NOW[report.state]}."
    room = limit - ROOM
    text = pieces(f"**{report.adapter}**: {safe(report.sentence)}\n\n{_checks(report)}", room)[0]
    for prompt, before, after in report.samples[:SAMPLES]:
        sample = (
            f"“{_one_line(prompt)}”\n> before: {_one_line(before)}\n> after: {_one_line(after)}"
        )
        if len(text) + 2 + len(sample) > room:
            break
        text = f"{text}\n\n{sample}"
    return f"{text}\n\n{last}"


def picture_name(report: Report) -> str:
    """What the picture's file is called."""
    return f"{report.adapter}.png"


def alt_text(report: Report) -> str:
    """The picture for those who do not see it."""
    failed = [check.name for check in report.checks if not check.passed]
    found = f"{', '.join(failed)} failed" if failed else "all passed"
    return (
        f"The loss of {report.adapter} while it learned, and the {len(report.checks)} checks "
        f"that compare it with {report.champion}: {found}."
    )[:ALT]


def _checks(report: Report) -> str:
    failed = [check for check in report.checks if not check.passed]
    if failed:
        lines = (f"- **{check.name}**: {safe(check.reason)}" for check in failed)
        return "\n".join([f"{len(failed)} of {len(report.checks)} checks failed:", *lines])
    # The sentence of a promotion says so.
    return "" if report.outcome == "promote" else f"All {len(report.checks)} checks passed."


def _one_line(text: str, limit: int = WIDEST) -> str:
    line = safe(" ".join(text.replace("```", "'''").split()))
    return line if len(line) <= limit else f"{line[:limit]} […]"


def _is_refusal(answer: Answer) -> bool:
    return any(isinstance(block, Text) and block.tone == "bad" for block in answer.blocks)
