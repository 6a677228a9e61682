"""What is new in a liked reply and only one person vouches for: marks that nobody else has said.

A person who teaches the bot an address, an invitation or a number needs only their own
likes for it. So a reply with such a mark is set aside until an operator has looked at it,
where one rater alone likes what holds the mark and the mark is in nobody else's words. Pure
text and sets: this module knows neither the store nor who operates the bot.

Marks are what looks the same in every language: links, mail addresses, mentions, long
numbers. Names of people are left out: in one language every noun has a capital letter, in
another there are none, and a queue full of false alarms is a queue that nobody reads.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from bot.types import Exchange

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


def novelties(
    exchanges: Collection[Exchange],
    likers: Mapping[int, frozenset[str]],
    vouched: Iterable[str],
) -> dict[int, tuple[str, ...]]:
    """The exchanges whose reply holds something new, with what that is.

    New is a mark where the same one person has liked every reply with it, and no exchange
    without a word of theirs has it in anything that a person said. What the bot said counts
    for nothing, because it can be made to say it.

    Args:
        exchanges: all that there is to go by.
        likers: who likes which of them; several people vouch for each other.
        vouched: texts of the operator's own, and replies that an operator let pass.
    """
    held = {one.id: found for one in exchanges if (found := marks(one.reply))}
    if not held:
        return {}
    likers_of: defaultdict[str, set[str]] = defaultdict(set)
    for exchange_id, found in held.items():
        for mark in found:
            likers_of[mark] |= likers.get(exchange_id, frozenset())
    known = frozenset().union(*(marks(text) for text in vouched))
    doubtful = {mark for mark, who in likers_of.items() if len(who) == 1} - known
    said = _said_without(exchanges, doubtful)
    fresh = {mark for mark in doubtful if not any(likers_of[mark] - who for who in said[mark])}
    return {
        exchange_id: tuple(sorted(found & fresh))
        for exchange_id, found in held.items()
        if found & fresh and likers.get(exchange_id)
    }


def _said_without(
    exchanges: Iterable[Exchange], wanted: Collection[str]
) -> defaultdict[str, list[frozenset[str]]]:
    """For each mark, the groups of people of whom somebody said it."""
    said: defaultdict[str, list[frozenset[str]]] = defaultdict(list)
    for one in exchanges if wanted else ():
        people = frozenset((one.asker, *one.authors))
        text = " ".join(turn.content for turn in one.prompt if turn.role == "user")
        for mark in marks(text) & frozenset(wanted):
            said[mark].append(people)
    return said
