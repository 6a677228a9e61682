"""What a command is and what it answers: the values that commands and platforms share.

Pure: a platform builds a `Command` with its `Asker`, and renders the blocks of the `Answer`.
Nothing here knows how anything is done or shown.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

from bot.learning_port import Report, ReviewItem
from bot.types import ChannelKey, Vote

Tone = Literal["plain", "good", "bad", "learning", "dim"]


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph; the tone is a hint for colours."""

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells; columns without any heading are shown without a heading line."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command has to say."""

    blocks: tuple[Text | Table, ...]
    quit: bool = False
    """The person wants to leave."""
    vote: Vote | None = None
    """The vote that the command made."""
    file: tuple[str, str] | None = None
    """A file for the asker alone: its name and its text."""
    run: int | None = None
    """The learning run that was asked for, whose course is worth showing."""
    report: Report | None = None
    """The verdict that the blocks tell of, for platforms that show its picture and buttons."""
    review: ReviewItem | None = None
    """The reply that waits which the blocks tell of, for platforms that show buttons."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command as it was given; `name` without the slash, in lower case."""

    name: str
    args: str = ""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who gives a command, and where."""

    channel: ChannelKey
    person: str
    source: str
    """The source of this person's votes, such as ``terminal``."""
    operator: bool = False
    """Whether this person owns the model."""
    admin: bool = False
    """Whether this person looks after the server that the channel belongs to."""


@dataclass(frozen=True, slots=True)
class Help:
    """One command as `/help` shows it."""

    usage: str
    summary: str
    operator: bool = False


def unknown(given: str, known: list[str]) -> str:
    """What to say to a command that does not exist, with the nearest that does."""
    near = difflib.get_close_matches(given, known, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]}?" if near else "/help lists what there is."
    return f"There is no {given}. {hint}"


def said(text: str, tone: Tone = "plain") -> Answer:
    """An answer of one paragraph."""
    return Answer((Text(text, tone),))


def in_short(text: str, limit: int = 300) -> str:
    """A text in one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[:limit]} […]"
