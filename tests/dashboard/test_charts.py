"""Figures as charts: what is drawn, named, and told to those who do not see it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from bot.dashboard.charts import (
    GREY,
    Options,
    curve_options,
    like_options,
    pace_options,
    share_options,
)
from bot.dashboard.figures.likes import Share, likes_of
from bot.dashboard.figures.machine import Pace
from bot.dashboard.figures.runs import RunCurves
from bot.likerate import LikeRate
from bot.store import Cast
from tests.store.samples import NOW

LIKES = likes_of([
    Cast(number, "bob", 1 if number % 2 else -1, "reaction", NOW + timedelta(seconds=number),
         f"v{1 + number // 10:04d}" if number >= 10 else "base", "console", "local")
    for number in range(100)
], [("v0001", "", NOW + timedelta(seconds=9.5))])  # fmt: skip
CHARTS = {
    "likes": like_options(LIKES),
    "shares": share_options("Votes", [Share("button", LikeRate(2, 3))]),
    "pace": pace_options(Pace((7, 9), (0.1234, 0.5), (10.0,))),
    "curves": curve_options(3, RunCurves(((1, 2.0), (2, 1.0)), ((2, 1.5),))),
}


def keys(value: Any) -> Iterator[str]:
    """Every key anywhere in a chart's options."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner)


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_has_a_title_named_axes_a_legend_and_words_for_screen_readers(name: str) -> None:
    options: Options = CHARTS[name]
    assert options["title"]["text"]
    assert options["aria"]["enabled"]
    assert options["backgroundColor"] == "transparent"
    assert all(axis["name"] for axis in (options["xAxis"], options["yAxis"])
               if axis["type"] != "category")
    named = {one["name"] for one in options["series"]}
    assert set(options["legend"]["data"]) == named
    # A key with a colon would be run by the browser as code.
    assert not [key for key in keys(options) if key.startswith(":")]


def test_each_version_has_its_like_rate_and_its_interval_under_one_name() -> None:
    series = CHARTS["likes"]["series"]
    rates, intervals = series[0::2], series[1::2]
    assert [one["name"] for one in rates] == [one["name"] for one in intervals]
    at, rate, low, high, votes = rates[0]["data"][0]
    assert low < rate < high
    assert votes == 5
    assert intervals[0]["data"][:3] == [[at, low], [at, high], [at, None]]


def test_the_base_and_the_six_newest_versions_are_shown_each_with_colours_of_its_own() -> None:
    rates = CHARTS["likes"]["series"][0::2]
    assert [one["name"] for one in rates] == ["base", *(f"v{n:04d}" for n in range(5, 11))]
    assert rates[0]["color"] == GREY
    assert len({one["color"] for one in rates}) == 7
    assert len({one["symbol"] for one in rates[1:]}) == 6


def test_a_version_keeps_its_colour_when_others_come() -> None:
    fewer = likes_of([
        Cast(1, "bob", 1, "reaction", NOW, "v0006", "console", "local"),
    ])
    alone = like_options(fewer)["series"][0]
    among = next(one for one in CHARTS["likes"]["series"] if one["name"] == "v0006")
    assert (alone["color"], alone["symbol"]) == (among["color"], among["symbol"])


def test_two_versions_that_are_shown_never_look_alike() -> None:
    found = likes_of([
        Cast(number, "bob", 1, "reaction", NOW, name, "console", "local")
        for number, name in enumerate(("v0001", "v0007", "v0013", "v0002"))
    ])
    rates = like_options(found)["series"][0::2]
    assert len({(one["color"], one["symbol"]) for one in rates}) == 4


def test_where_a_version_began_to_serve_is_marked() -> None:
    (mark,) = CHARTS["likes"]["series"][0]["markLine"]["data"]
    assert mark == {"xAxis": 10.5, "name": "v0001"}


def test_dislikes_are_what_is_left_of_the_votes() -> None:
    likes, dislikes = CHARTS["shares"]["series"]
    assert (likes["data"], dislikes["data"]) == ([2], [1])


def test_nothing_is_drawn_of_no_votes() -> None:
    assert like_options(likes_of([]))["series"] == []
