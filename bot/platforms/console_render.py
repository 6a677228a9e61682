"""How the terminal shows things: in colour, as plain lines, or as JSON lines.

The three renderers are told the same events by `bot.platforms.console` and know nothing
of where these come from. What a model wrote is never trusted with the terminal: control
characters are left out, and nothing is read as markup.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any, Protocol, TextIO

from rich.console import Console as RichConsole
from rich.table import Table as RichTable
from rich.text import Text as RichText

from bot.admission import without_controls
from bot.commands import Answer, Table
from bot.conversation import Reply, TextDelta
from bot.platforms.base import Notice
from bot.types import BASE, Message

STYLES = {"plain": "", "good": "green", "bad": "red", "learning": "magenta", "dim": "dim"}
NOTICE_STYLES = {"verdict": "bold magenta", "swap": "bold green", "problem": "bold red"}


class Renderer(Protocol):
    """What is shown, in the order it happens."""

    def asked(self, message: Message) -> None:
        """A person's message is about to be answered."""

    def delta(self, delta: TextDelta) -> None:
        """A piece of the reply."""

    def reply(self, reply: Reply) -> None:
        """The reply has ended."""

    def stopped(self) -> None:
        """The reply was interrupted."""

    def answer(self, answer: Answer) -> None:
        """What a command said."""

    def notice(self, notice: Notice) -> None:
        """Something that happened by itself."""

    def error(self, text: str) -> None:
        """Something went wrong, in one line."""


class Plain:
    """Plain lines for pipes and scripts: replies and answers, nothing else in between."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._open = False
        self._waiting: list[Notice] = []
        self._last = ""

    def asked(self, message: Message) -> None:
        """Scripts know what they asked."""

    def delta(self, delta: TextDelta) -> None:
        """The piece, at once."""
        self._open = True
        self._write(without_controls(delta.text))

    def reply(self, reply: Reply) -> None:
        """The end of the line, or what is said instead of a reply."""
        if self._open:
            self._write("\n")
        elif reply.text:
            self._write(f"{without_controls(reply.text)}\n")
        if reply.note:
            self._write(f"({reply.note})\n")
        self._rest()

    def stopped(self) -> None:
        """A mark that the reply was cut."""
        self._write(" [stopped]\n")
        self._rest()

    def answer(self, answer: Answer) -> None:
        """Texts as they are; tables with two spaces between the columns; a file's text."""
        for block in answer.blocks:
            if isinstance(block, Table):
                self._table(block)
            else:
                self._write(f"{without_controls(block.text)}\n")
        if answer.file is not None:
            self._write(f"{without_controls(answer.file[1])}\n")

    def notice(self, notice: Notice) -> None:
        """One line, after the reply that is being written; of progress, the stages only."""
        if self._open:
            self._waiting.append(notice)
        elif notice.kind != "progress" or notice.text != self._last:
            self._last = notice.text
            self._write(f"[{notice.kind}] {notice.text}\n")

    def error(self, text: str) -> None:
        """The line, marked as an error."""
        if self._open:
            self._write("\n")
        self._write(f"error: {text}\n")
        self._rest()

    def _table(self, table: Table) -> None:
        if table.title:
            self._write(f"{table.title}\n")
        rows = [table.columns, *table.rows] if any(table.columns) else list(table.rows)
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self._write(f"{without_controls('  '.join(cells)).rstrip()}\n")

    def _rest(self) -> None:
        self._open = False
        waiting, self._waiting = self._waiting, []
        for notice in waiting:
            self.notice(notice)

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


class Json:
    """One JSON object a line for every event, for programs.

    Every object has ``event``; the others are: ``message`` (text, author), ``delta`` (text,
    adapter), ``reply`` (exchange, text, finish, adapter, note, timings), ``stopped``,
    ``vote`` (exchange, value, rater), ``answer`` (blocks of text or table), ``file`` (name,
    text), ``notice`` (kind, text, share) and ``error`` (text).
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout

    def asked(self, message: Message) -> None:
        """What is about to be answered."""
        self._write("message", text=message.text, author=message.author)

    def delta(self, delta: TextDelta) -> None:
        """A piece of the reply and who speaks."""
        self._write("delta", text=delta.text, adapter=delta.adapter)

    def reply(self, reply: Reply) -> None:
        """The whole reply with its figures."""
        timings = asdict(reply.timings) | {"reuse": reply.timings.reuse}
        self._write(
            "reply", exchange=reply.exchange_id, text=reply.text, finish=reply.finish,
            adapter=reply.adapter, note=reply.note, timings=timings,
        )

    def stopped(self) -> None:
        """The reply was interrupted."""
        self._write("stopped")

    def answer(self, answer: Answer) -> None:
        """The vote, if there was one, and the blocks."""
        if answer.vote is not None:
            vote = answer.vote
            self._write("vote", exchange=vote.exchange_id, value=vote.value, rater=vote.rater)
        if answer.blocks:
            self._write("answer", blocks=[asdict(block) for block in answer.blocks])
        if answer.file is not None:
            self._write("file", name=answer.file[0], text=answer.file[1])

    def notice(self, notice: Notice) -> None:
        """Everything that happens, progress included."""
        self._write("notice", **asdict(notice))

    def error(self, text: str) -> None:
        """The line."""
        self._write("error", text=text)

    def _write(self, event: str, **values: Any) -> None:
        self._out.write(json.dumps({"event": event, **values}, ensure_ascii=True) + "\n")
        self._out.flush()


class Colour:
    """A terminal with someone in front of it."""

    def __init__(self, console: RichConsole | None = None) -> None:
        self._console = console or RichConsole(highlight=False)
        self._open = False
        self._waiting: list[Notice] = []
        self.progress = ""
        """What is going on, for the line below the prompt; empty when nothing is."""

    def asked(self, message: Message) -> None:
        """The person has just typed it."""

    def delta(self, delta: TextDelta) -> None:
        """The piece, after a badge that says which version speaks."""
        if not self._open:
            self._open = True
            colour = "cyan" if delta.adapter == BASE else "green"
            self._print(f"{delta.adapter} ", f"bold {colour}", end="")
        self._print(without_controls(delta.text), end="")

    def reply(self, reply: Reply) -> None:
        """The end of the line, what the person should know, and the figures."""
        if self._open:
            self._print("")
        elif reply.text:
            self._print(without_controls(reply.text), "yellow")
        if reply.note:
            self._print(reply.note, "yellow")
        timings = reply.timings
        if reply.exchange_id is not None and timings.total:
            self._print(
                f"  #{reply.exchange_id} · {timings.reply_tokens} tokens in "
                f"{timings.total:.1f} s · {timings.reuse:.0%} of the prompt reused",
                "dim",
            )
        self._rest()

    def stopped(self) -> None:
        """A mark that the reply was cut."""
        self._print(" [stopped]", "yellow")
        self._rest()

    def answer(self, answer: Answer) -> None:
        """Texts in their tone, tables with light rules."""
        for block in answer.blocks:
            if isinstance(block, Table):
                self._table(block)
            else:
                self._print(without_controls(block.text), STYLES[block.tone])
        if answer.file is not None:
            self._print(without_controls(answer.file[1]))

    def notice(self, notice: Notice) -> None:
        """Progress below the prompt; the others as a line once the reply has ended."""
        if notice.kind == "progress":
            share = "" if notice.share is None else f" {notice.share:.0%}"
            self.progress = f"{notice.text}{share}"
            return
        self.progress = ""
        if self._open:
            self._waiting.append(notice)
        else:
            self._print(f"◆ {notice.text}", NOTICE_STYLES.get(notice.kind, "magenta"))

    def error(self, text: str) -> None:
        """The line, in red."""
        if self._open:
            self._print("")
        self._print(f"error: {text}", "red")
        self._rest()

    def _table(self, table: Table) -> None:
        shown = RichTable(title=table.title or None, title_justify="left", box=None,
                          show_header=any(table.columns), header_style="dim")
        for column in table.columns:
            shown.add_column(column)
        for row in table.rows:
            shown.add_row(*(RichText(without_controls(cell)) for cell in row))
        self._console.print(shown)

    def _rest(self) -> None:
        self._open = False
        waiting, self._waiting = self._waiting, []
        for notice in waiting:
            self.notice(notice)

    def _print(self, text: str, style: str = "", end: str = "\n") -> None:
        self._console.print(RichText(text, style=style), end=end, soft_wrap=True)
