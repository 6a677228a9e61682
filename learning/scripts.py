"""What people write in: a script's family, found by its characters alone.

Pure text. No language is recognised, only what its writing looks like: Chinese characters,
another script that has no spaces between words, or words with spaces. Which fixed prompts
follow from that is said here as well, because it is a count of the same things.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Literal

Script = Literal["chinese", "unspaced", "spaced", ""]
"""``unspaced`` is any other script without spaces; empty is a text without a word."""
Language = Literal["en", "zh", "mixed"]
"""The languages that there are fixed prompts in."""

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff"
"""Kana, Thai, Lao, Burmese and Khmer: written, like Chinese, without spaces between words."""
FEW = 0.2
"""A share of Chinese questions below which a place is not Chinese, and above 1 - which it is."""

_CHINESE, _OTHER = re.compile(f"[{HAN}]"), re.compile(f"[{UNSPACED}]")
_WORD = re.compile(f"[{HAN}{UNSPACED}]|[^\\W{HAN}{UNSPACED}]+")


def words_of(text: str) -> list[str]:
    """Words in lower case, and single characters of scripts without spaces."""
    return _WORD.findall(text.casefold())


def script_of(text: str) -> Script:
    """What most of a text is written in; a character without spaces counts as a word does."""
    chinese, other = len(_CHINESE.findall(text)), len(_OTHER.findall(text))
    spaced = len(words_of(text)) - chinese - other
    if chinese + other <= spaced:
        return "spaced" if spaced else ""
    # Japanese is full of Chinese characters, and hardly a sentence of it has no kana.
    return "unspaced" if other > 0.1 * (chinese + other) else "chinese"


def language_of(scripts: Iterable[Script]) -> Language:
    """Which fixed prompts suit people who write like this; English where there are no better."""
    number = Counter(script for script in scripts if script)
    share = number["chinese"] / max(1, number.total())
    if share < FEW:
        return "en"
    return "zh" if share > 1 - FEW else "mixed"
