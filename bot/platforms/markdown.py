"""Answers of commands as Markdown, the way chat platforms show it.

Pure: it knows blocks of text and tables, and neither who asked nor how long a message may
be. Rows without headings become lines, because tables are hard to read on a phone.
"""

from __future__ import annotations

from bot.commands import Answer, Table, Text

WIDEST = 60
"""Characters of a cell in a table with columns; phones show little more."""


def as_markdown(answer: Answer) -> str:
    """The blocks of an answer, one below the other."""
    return "\n\n".join(
        safe(block.text) if isinstance(block, Text) else _table(block) for block in answer.blocks
    )


def safe(text: str) -> str:
    """Text in which nobody is addressed: an at sign before a name keeps its distance."""
    return text.replace("@everyone", "@\u200beveryone").replace("@here", "@\u200bhere")


def _table(table: Table) -> str:
    title = [f"**{table.title}**"] if table.title else []
    if not any(table.columns):
        lines = [f"**{row[0]}**: {safe(', '.join(row[1:]))}" for row in table.rows]
        return "\n".join([*title, *lines])
    rows = [[_cell(cell) for cell in row] for row in (table.columns, *table.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([*title, "```", *lines, "```"])


def _cell(text: str) -> str:
    line = " ".join(text.replace("```", "'''").split())
    return line if len(line) <= WIDEST else f"{line[: WIDEST - 1]}…"
