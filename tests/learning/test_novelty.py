"""What is new in a reply and one person alone vouches for."""

from __future__ import annotations

from typing import Any

import pytest

from bot.marks import marks
from bot.types import Exchange, Turn
from learning.votes.novelty import novelties
from tests.learning.rated import exchange

LINK = "Look at https://Evil.example/a?b=1."
MARK = "evil.example/a?b=1"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (LINK, {MARK}),
        ("(http://www.evil.example/)", {"evil.example"}),
        ("join discord.gg/AbC now", {"discord.gg/abc"}),
        ("схожу на пример.com", {"пример.com"}),
        ("write to Eve.X@Evil.Example!", {"eve.x@evil.example"}),
        ("ask <@1234567> or <@U12AB>, <!here>", {"<@1234567>", "<@u12ab>", "<!here>"}),
        ("ask @everyone", {"@everyone"}),
        ("call +49 151 234-5678", {"491512345678"}),
        ("code 123456789", {"123456789"}),
        ("at 10.0.0.17", {"10.0.0.17"}),
        ("ｈttps：／／evil．example/a", {"evil.example/a"}),
        ("see evil\u200b.com", {"evil.com"}),
        ("<https://evil.example/a|harmless>", {"evil.example/a"}),
    ],
)
def test_what_leads_somewhere_is_a_mark(text: str, found: set[str]) -> None:
    assert marks(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "Hello Anna, wie geht es Peter in Berlin?", "It costs 1 000 000 or 1.000.000 euros.",
        "On 2026-11-21 at 12:30, or 21.11.2026.", "From 1914-1918 to 1939/1945.",
        "Pi is 3.14159265.", "1 2 3 4 5 6 7 8 9", "and/or, e.g. a.m./p.m. and so on...",
        "I see.Then we go.", "He said: 'no'. 100% @ home", "24/7, 50/50", "",
        "こんにちは。元気ですか",
    ],
)  # fmt: skip
def test_what_people_say_every_day_is_no_mark(text: str) -> None:
    assert marks(text) == frozenset()


def of(number: int, reply: str, who: str = "ann", asked: str = "hi", **changes: Any) -> Exchange:
    turns = (Turn("system", "Be kind."), Turn("user", asked))
    return exchange(number, reply=reply, asker=who, authors=(who,), prompt=turns, **changes)


def found(
    exchanges: list[Exchange], likers: dict[int, set[str]] | None = None, *vouched: str
) -> dict[int, tuple[str, ...]]:
    who = likers or {1: {"ann"}}
    return novelties(exchanges, {key: frozenset(one) for key, one in who.items()}, vouched)


def test_a_new_link_that_one_person_likes_is_a_novelty() -> None:
    assert found([of(1, LINK), of(2, "Hello.")]) == {1: (MARK,)}


def test_what_a_second_person_likes_is_none() -> None:
    assert found([of(1, LINK)], {1: {"ann", "bob"}}) == {}
    again = [of(1, LINK), of(2, f"Again: {LINK}")]
    assert found(again, {1: {"ann"}, 2: {"bob"}}) == {}
    assert found(again, {1: {"ann"}, 2: {"ann"}}) == {1: (MARK,), 2: (MARK,)}


def test_what_nobody_likes_is_none() -> None:
    assert found([of(1, LINK)], {2: {"ann"}}) == {}


def test_what_somebody_else_said_is_known_and_what_the_liker_or_the_bot_said_is_not() -> None:
    assert found([of(1, LINK), of(2, "Yes.", "bob", f"Do you know {LINK}")]) == {}
    assert found([of(1, LINK, asked=f"Say {LINK}")]) == {1: (MARK,)}
    assert found([of(1, LINK), of(2, LINK, "bob")], {1: {"ann"}}) == {1: (MARK,)}
    both = exchange(2, reply="Yes.", authors=("ann", "bob"), prompt=(Turn("user", LINK),))
    assert found([of(1, LINK), both]) == {1: (MARK,)}


def test_what_the_operator_said_or_let_pass_is_known() -> None:
    assert found([of(1, LINK)], None, f"Help is at {LINK}") == {}
