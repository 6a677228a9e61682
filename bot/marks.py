"""What in a text could lead somebody somewhere: links, addresses, mentions, long numbers.

Pure text, and the same in every language. Names of people are left out: in one language every
noun has a capital letter, in another there are none, and a queue full of false alarms is a
queue that nobody reads. What a mark means for who may see or learn a reply is not known here.
"""

from __future__ import annotations

import re
import unicodedata

DIGITS = 7
"""Fewest digits of a number that could lead to somebody, such as a telephone number."""

_ENDINGS = "com|net|org|edu|gov|io|gg|ly|dev|xyz|biz|info|onion|app|eu|uk|cn|ru"
"""Of addresses that are written bare; other words after a dot are more often a missing space."""
_MARKS = (
    r"<[@#!][^<>\s]{1,80}>",  # how Discord and Slack write a mention
    r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    r"(?<![\w@.])@\w{2,}",
    r"\w{2,10}://[^\s<>|]+",
    r"www\.[^\s<>|]+",
    r"(?<![\w@.-])(?:[\w-]+\.)+[^\W\d_]{2,}/[^\s<>|]+",
    rf"(?<![\w@.-])(?:[\w-]+\.)+(?:{_ENDINGS})\b",
    r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.])",
)
_MARK = re.compile("|".join(_MARKS), re.IGNORECASE)
_NUMBER = re.compile(r"(?<!\w)\+?\d(?:[ ()./-]{0,2}\d)+(?!\w)")
_DATE = re.compile(r"(?<!\d)(?:\d{4}[-./]\d\d?[-./]\d\d?|\d\d?[-./]\d\d?[-./]\d{4})(?!\d)")
_USUAL = re.compile(
    r"\d{1,3}(?:[ .]\d{3})+"  # thousands
    r"|\d\.\d+"  # a fraction
    r"|[12]\d{3} ?[-/] ?[12]\d{3}"  # from year to year
    r"|\d(?:[ ./-]{1,2}\d)+"  # counting
)
_EDGE = ".,;:!?'\"()[]{}<>*_~`…"


def marks(text: str) -> frozenset[str]:
    """The links, addresses, mentions and long numbers in a text, in one spelling each."""
    plain = "".join(
        sign for sign in unicodedata.normalize("NFKC", text)
        if unicodedata.category(sign) != "Cf"  # what is invisible makes no difference
    )
    found = {_spelt(one) for one in _MARK.findall(plain)}
    rest = _DATE.sub(" ; ", _MARK.sub(" ; ", plain))
    for number in _NUMBER.findall(rest):
        digits = "".join(sign for sign in number if sign.isdecimal())
        if len(digits) >= DIGITS and not _USUAL.fullmatch(number):
            found.add(digits)
    return frozenset(found - {""})


def _spelt(mark: str) -> str:
    if mark.startswith("<"):
        return mark.casefold()
    bare = re.sub(r"^\w{2,10}://", "", mark.casefold()).removeprefix("www.")
    return bare.rstrip(_EDGE + "/")
