"""Markdown as Slack shows it, with nothing in it that Slack would obey.

Slack's own notation (mrkdwn) marks bold, links and lists differently, and gives a meaning
to ``<…>``: ``<!channel>`` calls everybody. Every ``&``, ``<`` and ``>`` of a text is
therefore escaped; the only angle brackets that come out are those around web addresses,
which are made here. Pure: it knows texts and blocks, and no channel.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from bot.platforms.text import pieces

SECTION = 3000
"""Characters that Slack lets into a section, escapes counted."""
WHOLE = 4000
"""Characters of text in a message that is edited, escapes counted."""
ROOM = 11_000
"""Characters of all blocks of a message, with something to spare."""
GROWTH = 5
"""How many characters one may become: ``&`` is ``&amp;``."""

_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`", re.DOTALL)
_LANGUAGE = re.compile(r"\A```[^\s`]*\n")
_ADDRESS = r"https?://[^\s<>()]+(?:\([^\s<>()]*\)[^\s<>()]*)*"
_LINK = re.compile(rf"!?\[([^\]\n]{{1,200}})\]\(({_ADDRESS})\)|({_ADDRESS})")
_KEPT = "\ue000{}\ue001"
_BOLD = "\ue002"
_OURS = re.compile("[\ue000-\ue002]")
_STYLES = (
    (re.compile(r"^ {0,3}#{1,6}[ \t]+(.+?)[ \t]*#*$", re.MULTILINE), rf"{_BOLD}\1{_BOLD}"),
    (re.compile(r"^([ \t]*)[-*+][ \t]+(?=\S)", re.MULTILINE), r"\1• "),
    (re.compile(r"\*\*(?=\S)(.+?)(?<=\S)\*\*"), rf"{_BOLD}\1{_BOLD}"),
    (re.compile(r"(?<!\w)__(?=\S)(.+?)(?<=\S)__(?!\w)"), rf"{_BOLD}\1{_BOLD}"),
    (re.compile(r"(?<![*\w])\*(?=[^\s*])([^*\n]+?)(?<=\S)\*(?![*\w])"), r"_\1_"),
    (re.compile(r"~~(?=\S)(.+?)(?<=\S)~~"), r"~\1~"),
    (re.compile(f"{_BOLD}+"), "*"),
)
_ALIKE = str.maketrans({"<": "‹", ">": "›", "&": "＆"})


def escaped(text: str) -> str:
    """`text` in which Slack finds nothing to obey."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def mrkdwn(text: str) -> str:
    """Markdown in Slack's notation; at most `GROWTH` times as long and a little."""
    kept: list[str] = []

    def keep(rendered: str) -> str:
        kept.append(rendered)
        return _KEPT.format(len(kept) - 1)

    text = _OURS.sub("", text)
    text = _CODE.sub(lambda code: keep(escaped(_LANGUAGE.sub("```\n", code[0]))), text)
    text = escaped(_LINK.sub(lambda link: keep(_linked(link)), text))
    for pattern, form in _STYLES:
        text = pattern.sub(form, text)
    # From the last to the first: the name of a link may hold code.
    for place in reversed(range(len(kept))):
        text = text.replace(_KEPT.format(place), kept[place])
    return text


def _linked(link: re.Match[str]) -> str:
    address = escaped(link[2] or link[3]).replace("|", "%7C")
    return f"<{address}|{escaped(link[1])}>" if link[1] else f"<{address}>"


def sections(text: str) -> list[dict[str, Any]]:
    """Markdown as blocks; what does not fit when it is escaped gets signs that look alike."""
    if len(mrkdwn(text)) > ROOM:
        text = text.translate(_ALIKE)
    return [
        {
            "type": "section",
            # Verbatim: Slack is not to look for names and channels in it.
            "text": {"type": "mrkdwn", "text": part, "verbatim": True},
            "expand": True,
        }
        for part in _parts(text, SECTION)
    ]


def summary(text: str) -> str:
    """What notifications show of a message: all of it, or its beginning."""
    whole = mrkdwn(text)
    return whole if len(whole) <= WHOLE else f"{mrkdwn(text[: WHOLE // GROWTH - 50])} […]"


def _parts(text: str, limit: int) -> Iterator[str]:
    for piece in pieces(text, limit):
        rendered = mrkdwn(piece)
        if len(rendered) <= SECTION:
            yield rendered
        else:
            yield from _parts(piece, limit // 2)
