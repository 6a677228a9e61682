"""Dialogues written with choices and slots: one block that can be said in many ways.

``[a|b]`` in a line is a choice, which may be empty and may hold further choices. ``{food}``
is a slot: it takes the first column of a row of the table ``food``, and ``{food.taste}`` the
column of that name in the same row; ``{food2}`` is another row. ``{a food}`` puts the fitting
article before the word. A row once drawn stays for the whole dialogue, so that an answer can
take up what was asked about.

This module knows lines and tables; it does not know files, tokens or how often a block is
visited. The idea is that of context-free text grammars such as Tracery (Compton 2015).
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass

_INNERMOST = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{(?:(an?) )?([a-z_]+?)(\d?)(?:\.([a-z_]+))?\}")
_LEFT_OVER = re.compile(r"[\[\]{}|]")
_SENTENCE = re.compile(r"(^|[.!?] +)([a-z])")


@dataclass(frozen=True)
class Table:
    """Rows of words that belong together; the first column is what the slot alone means."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Tables = Mapping[str, Table]


class Phrasing:
    """The choices made for one dialogue: every line said through it agrees with the others.

    Raises:
        ValueError: a line names a slot that no table has, or its brackets do not match.
    """

    def __init__(self, tables: Tables, rng: random.Random) -> None:
        self._tables = tables
        self._rng = rng
        self._drawn: dict[str, list[tuple[str, ...]]] = {}

    def say(self, line: str) -> str:
        """The line with one of its choices taken and its slots filled."""
        text = line
        while _INNERMOST.search(text):
            text = _INNERMOST.sub(lambda m: self._rng.choice(m[1].split("|")), text)
        text = " ".join(_SLOT.sub(self._fill, text).split())
        if _LEFT_OVER.search(text):
            raise ValueError(f"a bracket or bar is left over in {line!r}")
        return text

    def _fill(self, match: re.Match[str]) -> str:
        article, name, other, column = match.groups()
        table = self._tables.get(name)
        if table is None:
            raise ValueError(f"no table is named {name!r} (in {match[0]})")
        if column and column not in table.columns:
            raise ValueError(f"the table {name!r} has no column {column!r}")
        row = self._row(name, table, int(other or 1))
        word = row[table.columns.index(column) if column else 0]
        if not article:
            return word
        return f"{'an' if word[:1].lower() in 'aeiou' else 'a'} {word}"

    def _row(self, name: str, table: Table, number: int) -> tuple[str, ...]:
        if name not in self._drawn:
            self._drawn[name] = self._rng.sample(table.rows, k=len(table.rows))
        return self._drawn[name][number - 1]


def sentences(text: str) -> str:
    """The text with a capital letter at the start of each sentence."""
    return _SENTENCE.sub(lambda m: m[1] + m[2].upper(), text)


def casual(text: str, rng: random.Random) -> str:
    """The text as a person in a hurry may type it: without capitals, marks or apostrophes."""
    draw = rng.random()
    if draw < 0.45:
        return text
    text = text.rstrip(".") if draw < 0.6 else text.lower()
    if draw > 0.7:
        text = text.rstrip(".!?")
    return text.replace("'", "") if draw > 0.9 else text
