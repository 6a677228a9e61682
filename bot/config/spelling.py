"""Words of the configuration as the token ids that a model says them by.

A word has other ids behind a space than without one, and which of the two a tokenizer gives
for the word alone differs. So it is spelled as it stands in a text, behind a line break. It
knows no tokenizer, only a function that gives the ids of a text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

Encode = Callable[[str], Sequence[int]]
"""A text's token ids, with nothing added."""

BEFORE = "\n"


def spellings(words: Iterable[str], encode: Encode) -> tuple[tuple[int, ...], ...]:
    """The ids of each word, with and without a space before it."""
    texts = (f"{space}{word.strip()}" for word in words for space in ("", " "))
    return tuple(dict.fromkeys(_spelled(text, encode) for text in texts))


def _spelled(text: str, encode: Encode) -> tuple[int, ...]:
    before, ids = tuple(encode(BEFORE)), tuple(encode(BEFORE + text))
    # A tokenizer may have one token for both; then the text is spelled by itself.
    return ids[len(before) :] if ids[: len(before)] == before else tuple(encode(text))
