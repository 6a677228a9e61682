"""Rapport's answers in Slack's words: there is one command, and the others come after it.

Pure: it knows texts, and neither who asked nor how they are shown.
"""

from __future__ import annotations

import re

from bot.commands import HELP, Answer
from bot.platforms.markdown import as_markdown
from bot.platforms.slack.manifest import COMMAND

_NAMES = "|".join(sorted({line.usage.split()[0].lstrip("/") for line in HELP}))
_SLASH = re.compile(rf"(?<![\w/.])/({_NAMES})\b")


def shown(answer: Answer) -> str:
    """An answer as Markdown, with every command as it is given on Slack."""
    return as_given(as_markdown(answer))


def as_given(text: str) -> str:
    """A text with every command in it as it is given on Slack."""
    return _SLASH.sub(rf"{COMMAND} \1", text)
