"""Cutting a reply into messages that a platform takes.

A cut is made between paragraphs where there is one late enough, else between lines, else
between words; never inside a link, a mention or a custom emoji. A code fence that is cut is
closed at the end of the one piece and opened again, with its language, at the start of the
next, so that every piece is sound by itself. Pure: it knows the limit and nothing of the
platform.

As a text grows its pieces change at the end only, but for a link that turns out longer
than it looked; streaming by editing messages leans on that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})[ \t]*([^\s`]*)", re.MULTILINE)
_WHOLE = re.compile(r"https?://\S+|<[@#a:/t][^<>\s]{0,80}>|\[[^\]\n]{0,200}\]\(\S{1,500}\)")
EARLIEST = 0.5
"""A cut at a better place is not worth a piece shorter than this share of the limit."""
_ENDINGS = (("\n\n", 0.6), ("\n", 0.8), (" ", 0.95))
"""What ends a message that can only grow, and from which share of the limit on."""


@dataclass(frozen=True, slots=True)
class Fence:
    """A code fence that is open: its mark and its language."""

    mark: str
    language: str


def pieces(text: str, limit: int) -> list[str]:
    """`text` as messages of at most `limit` characters; none for a text of white space.

    Args:
        limit: at least 64, so that a fence and something in it fit.
    """
    assert limit >= 64
    result: list[str] = []
    fence: Fence | None = None
    rest = text.rstrip()
    while rest.strip():
        opening = f"{fence.mark}{fence.language}\n" if fence else ""
        room = limit - len(opening)
        if len(rest) <= room:
            result.append(opening + _closed(rest, open_after(rest, fence), room))
            break
        head, tail = _cut(rest, fence, room)
        after = open_after(head, fence)
        result.append(opening + (f"{head}\n{after.mark}" if after else head))
        rest, fence = tail, after
    return result


def ending(text: str, told: int, limit: int) -> int | None:
    """Where a message ends that can only grow, and shows `told` characters of `text` already.

    None as long as everything may stand in it. Little room is left to choose in, so a
    paragraph ends it early, a line later and a word at last.
    """
    for mark, share in _ENDINGS:
        place = text.find(mark, max(told, int(limit * share)), limit)
        while place >= 0 and _inside(text, place) is not None:
            place = text.find(mark, place + 1, limit)
        if place >= 0:
            return place
    return limit if len(text) > limit else None


def _closed(text: str, fence: Fence | None, room: int) -> str:
    """The end of the text, with a fence that the writer left open closed if there is room."""
    if fence is None or len(text) + len(fence.mark) + 1 > room:
        return text
    return f"{text}\n{fence.mark}"


def open_after(text: str, fence: Fence | None = None) -> Fence | None:
    """The fence that is open at the end of `text`, which begins inside `fence`."""
    for found in _FENCE.finditer(text):
        mark = found[1]
        if fence is None:
            fence = Fence(mark, found[2])
        elif mark[0] == fence.mark[0] and len(mark) >= len(fence.mark):
            # With a language it would not close one in CommonMark; on the platforms it does.
            fence = None
    return fence


def _cut(text: str, fence: Fence | None, room: int) -> tuple[str, str]:
    """The longest good beginning of `text` that fits with the fence it may leave open."""
    longest = max((len(found[1]) for found in _FENCE.finditer(text[:room])), default=0)
    longest = max(longest, len(fence.mark) if fence else 0)
    room -= longest + 1 if longest else 0
    head = text[: _place(text, room)]
    tail = text[len(head) :]
    # In code the indentation of the next line is part of it; in prose it is not.
    inside = open_after(head, fence) is not None
    return head.rstrip(), tail.removeprefix("\n") if inside else tail.lstrip()


def _place(text: str, room: int) -> int:
    earliest = int(room * EARLIEST)
    for mark in ("\n\n", "\n", " "):
        place = text.rfind(mark, 0, room + 1)
        while place > earliest and (start := _inside(text, place)) is not None:
            place = text.rfind(mark, 0, start)
        if place > earliest:
            return place
    start = _inside(text, room)
    return start if start else room


def _inside(text: str, place: int) -> int | None:
    """Where the whole thing begins that a cut at `place` would break."""
    for found in _WHOLE.finditer(text, max(0, place - 800), place + 800):
        if found.start() < place < found.end():
            return found.start()
    return None
