"""Is this message for the model at all? Decided before anything is stored or generated.

Thin on purpose: empties, our own words and length today; allow and deny lists, rates and
consent belong here too. Duplicates are the store's knowledge (`Store.add_message`), so
`bot.conversation` asks it. Knows no platform and does no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace

from bot.types import Message

EMPTY_ANSWER = "I can only read text: write me something and I will answer."

_CONTROL = dict.fromkeys({*range(0x20), 0x7F, *range(0x80, 0xA0)} - {ord("\n"), ord("\t")})
_SURROGATE = re.compile("[\ud800-\udfff]")
_INVISIBLE = re.compile(r"[\s\u00ad\u034f\u115f\u1160\u180e\u200b-\u200f\u202a-\u202e"
                        r"\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff]*")


@dataclass(frozen=True, slots=True)
class Admitted:
    """A message to answer, cleaned, and what the person should be told about it."""

    message: Message
    note: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """A message the model never sees; `answer` is empty where silence is right."""

    reason: str
    answer: str = ""


class Admission:
    """Decides about each message, in one place for every platform."""

    def __init__(self, max_characters: int, own: Collection[str] = ()) -> None:
        self._max_characters = max_characters
        self._own = frozenset(own)

    def check(self, message: Message) -> Admitted | Refused:
        """Admit a message, with its text cleaned, or refuse it."""
        if message.author in self._own:
            return Refused("own message")
        text = clean(message.text)
        if _INVISIBLE.fullmatch(text):
            return Refused("empty", EMPTY_ANSWER)
        note = ""
        if len(text) > self._max_characters:
            note = (
                f"Your message has {len(text):,} characters; I read the first "
                f"{self._max_characters:,}."
            )
        return Admitted(replace(message, text=text), note)


def clean(text: str) -> str:
    """Text that every part of Rapport can carry: valid Unicode, no control characters.

    Surrogate pairs become their character, lone surrogates U+FFFD; line breaks become
    ``\\n``; other control characters but the tab are left out.
    """
    if _SURROGATE.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return without_controls(text.replace("\r\n", "\n").replace("\r", "\n")).strip()


def without_controls(text: str) -> str:
    """`text` without control characters; line breaks and tabs stay."""
    return text.translate(_CONTROL)
