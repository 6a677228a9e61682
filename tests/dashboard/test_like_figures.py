"""How replies are liked, over time and by where votes come from."""

from __future__ import annotations

from datetime import timedelta

from bot.dashboard.figures.likes import LEAST, holding, likes, likes_of
from bot.likerate import LikeRate
from bot.store import Cast, Store
from bot.types import ChannelKey, VoteValue
from tests.store.samples import HERE, NOW, exchange, vote

DAY = 86_400.0


def cast(
    number: int, value: VoteValue = 1, seconds: float = 0.0, *, rater: str = "bob",
    adapter: str = "v0001", source: str = "reaction", guild: str = "local",
) -> Cast:
    return Cast(number, rater, value, source, NOW + timedelta(seconds=seconds), adapter,
                "console", guild)


def test_only_the_last_vote_of_a_rater_on_a_reply_holds_unless_it_was_taken_back() -> None:
    casts = [cast(1, 1), cast(1, -1, 1), cast(2, 1, 2), cast(2, 0, 3), cast(1, 1, 4, rater="cid")]
    assert [(one.rater, one.value) for one in holding(casts)] == [("bob", -1), ("cid", 1)]


def test_votes_of_less_than_a_day_are_cut_into_groups_and_what_is_left_joins_the_last() -> None:
    found = likes_of([cast(number, seconds=number) for number in range(12)])
    (curve,) = found.curves
    assert not found.by_day
    assert [point.rate.rated for point in curve.points] == [LEAST, LEAST + 2]
    assert [point.place for point in curve.points] == [3.0, 9.0]
    assert curve.points[0].time == NOW + timedelta(seconds=2)


def test_groups_grow_with_the_votes_so_that_there_are_never_many_points() -> None:
    found = likes_of([cast(number, seconds=number) for number in range(1000)])
    assert [point.rate.rated for point in found.curves[0].points] == [50] * 20


def test_votes_of_several_days_are_counted_by_day_and_version() -> None:
    found = likes_of([
        cast(1, 1, 0), cast(2, -1, 10), cast(3, 1, DAY), cast(4, 1, DAY, adapter="v0002"),
    ])  # fmt: skip
    assert found.by_day
    assert {curve.adapter: [point.rate for point in curve.points] for curve in found.curves} == {
        "v0001": [LikeRate(1, 2), LikeRate(1, 1)], "v0002": [LikeRate(1, 1)],
    }


def test_a_version_began_to_serve_between_the_votes_before_and_after() -> None:
    votes = [cast(number, seconds=number * 10) for number in range(4)]
    champions = [
        (name, "", NOW + timedelta(seconds=at))
        for name, at in (("v0001", -1), ("v0002", 15), ("v0003", 99))
    ]
    found = likes_of(votes, champions)
    assert [(one.name, one.place) for one in found.changes] == [("v0002", 2.5), ("v0003", 4.5)]


def test_sources_and_places_are_told_with_their_like_rates_most_votes_first() -> None:
    found = likes_of([
        cast(1, source="button", guild="a"), cast(2, -1, guild="b"), cast(3, guild="b"),
    ])
    assert [(one.name, one.rate) for one in found.sources] == [
        ("reaction", LikeRate(1, 2)), ("button", LikeRate(1, 1)),
    ]
    assert [one.name for one in found.places] == ["console/b", "console/a"]


def test_nothing_comes_of_no_votes() -> None:
    found = likes_of([])
    assert (found.votes, found.curves, found.changes, found.sources) == (0, (), (), ())


async def test_the_store_is_asked_for_the_newest_votes_and_says_whether_there_are_more(
    store: Store,
) -> None:
    away = ChannelKey("slack", "T1", "c")
    first = await store.add_exchange(exchange(HERE, adapter="base"))
    second = await store.add_exchange(exchange(away, adapter="v0002"))
    for key, rater in ((first, "bob"), (second, "bob"), (second, "cid")):
        await store.add_vote(vote(key, rater))
    every = await likes(store)
    assert (every.votes, every.limited) == (3, False)
    assert [one.name for one in every.places] == ["slack/T1", "console/local"]
    newest = await likes(store, 2)
    assert (newest.votes, newest.limited) == (2, True)
    assert [curve.adapter for curve in newest.curves] == ["v0002"]
