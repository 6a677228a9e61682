"""The text of a growing reply up to the first of its stop texts.

Text that may be the beginning of a stop text is held back until it is known not to be, so
that nobody is shown a part of one. Where several could end a reply, the one does that is
complete first, however the text is cut into tokens. Nothing here knows which tokens end a
reply by themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

from bot.engine.detokenise import Detokeniser


class Stops:
    """A reply's text, which ends before a stop text.

    Args:
        text: ids to text; none is added behind the stop.
        stops: none of them empty.
    """

    def __init__(self, text: Detokeniser, stops: Sequence[str]) -> None:
        self._text = text
        self._stops = stops
        self._held = ""
        """What may be the beginning of a stop text."""
        self.stopped = False
        """Whether one was said."""

    def copy(self) -> Stops:
        """One that goes on from here by itself."""
        twin = copy(self)
        twin._text = self._text.copy()
        return twin

    def add(self, token: int) -> str:
        """The text that this token completes and that may be shown; sometimes nothing."""
        return self._shown(self._text.add(token))

    def finish(self) -> str:
        """What is still held back; nothing once a stop text was said."""
        return self._shown(self._text.finish()) + self._held

    def _shown(self, fresh: str) -> str:
        if not self._stops or not fresh:
            return fresh
        text = self._held + fresh
        found = [(start + len(one), start) for one in self._stops if (start := text.find(one)) >= 0]
        self.stopped = bool(found)
        shown = min(found)[1] if found else len(text) - self._overlap(text)
        self._held = "" if found else text[shown:]
        return text[:shown]

    def _overlap(self, text: str) -> int:
        """Characters at the end of a text that a stop text begins with."""
        longest = min(len(text), max(map(len, self._stops)) - 1)
        return next(
            (size for size in range(longest, 0, -1)
             if any(one.startswith(text[-size:]) for one in self._stops)),
            0,
        )
