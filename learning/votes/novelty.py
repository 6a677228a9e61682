"""What is new in a liked reply and only one person vouches for: marks that nobody else has said.

A person who teaches the bot an address, an invitation or a number needs only their own
likes for it. So a reply with such a mark is set aside until an operator has looked at it,
where one rater alone likes what holds the mark and the mark is in nobody else's words. Pure
text and sets: this module knows neither the store nor who operates the bot. What a mark is
says `bot.marks`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from bot.marks import marks
from bot.types import Exchange


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
