"""Which reactions are votes: the signs of like and dislike, on every platform.

A sign is compared without its skin tone and its variation selector, by its character on
Discord and by its name on Slack, whose names for the same thing are folded together. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from bot.types import VoteValue

_NOISE = re.compile("[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]|::skin-tone-[2-6]")
_NAMES = {"+1": "👍", "thumbsup": "👍", "-1": "👎", "thumbsdown": "👎", "heart": "❤"}


class Thumbs:
    """The signs that an installation counts as votes."""

    def __init__(self, up: Iterable[str], down: Iterable[str]) -> None:
        self._values: dict[str, VoteValue] = {}
        for signs, value in ((up, 1), (down, -1)):
            for sign in signs:
                self._values[plain_sign(sign)] = 1 if value > 0 else -1

    def value(self, sign: str) -> VoteValue:
        """+1 or -1 for a sign that is a vote, else 0."""
        return self._values.get(plain_sign(sign), 0)


def plain_sign(sign: str) -> str:
    """A sign without skin tone and colons: ``:thumbsup::skin-tone-3:`` is 👍."""
    bare = _NOISE.sub("", sign.strip()).strip(":")
    return _NAMES.get(bare, bare)
