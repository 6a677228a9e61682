"""Token by token to text, never splitting a character.

A character may take several tokens (and a token hold parts of two); text is held back
until it is whole. What was emitted up to the end is exactly what decoding all ids at
once gives. Nothing here knows which tokens end a reply.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy

UNFINISHED = "\ufffd"
"""What a decoder writes for bytes that are not yet, or never will be, a character."""


class Detokeniser:
    """The text of one growing reply."""

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._start = 0
        """Decoding begins here: early enough that a leading space is told from none."""
        self._emitted = 0
        """Ids whose text is out."""
        self._known = ""
        """The text of ids ``start:emitted``, the part of the window that is out."""
        self._length = 0
        """Characters that are out, over the whole reply."""

    def copy(self) -> Detokeniser:
        """One that goes on from here by itself."""
        twin = copy(self)
        twin._ids = list(self._ids)
        return twin

    def add(self, token: int) -> str:
        """The text that this token completes; often a word, sometimes nothing."""
        self._ids.append(token)
        text = self._decode(self._ids[self._start :])
        if text.endswith(UNFINISHED) or not text.startswith(self._known):
            return ""
        fresh = text[len(self._known) :]
        if not fresh:
            return ""
        self._start, self._emitted = self._emitted, len(self._ids)
        self._known = self._decode(self._ids[self._start :])
        self._length += len(fresh)
        return fresh

    def finish(self) -> str:
        """What is still held back."""
        if self._emitted == len(self._ids):
            return ""
        rest = self._decode(self._ids)[self._length :]
        self._emitted, self._length = len(self._ids), self._length + len(rest)
        return rest
