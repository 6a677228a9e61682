"""Figures as options for Apache ECharts: colours, axes with units, words for screen readers.

Pure: values in, a dictionary out. Colours are Okabe and Ito's, told apart with any colour vision,
and lie on no ground of their own, so that light and dark pages carry them. Nothing here is code
for the browser: what it writes are texts and numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from bot.dashboard.figures.likes import Change, LikeCurve, LikePoint, Likes, Share
from bot.dashboard.figures.machine import Pace
from bot.dashboard.figures.runs import RunCurves
from bot.types import BASE

Options = dict[str, Any]

BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
ORANGE, SKY, PURPLE = "#E69F00", "#56B4E9", "#CC79A7"
GREY = "#8a8f98"
"""Legible on white and on black."""
VERSIONS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
PLUS = "path://M-1,-3H1V-1H3V1H1V3H-1V1H-3V-1H-1Z"
CROSS = "path://M-3,-2L-2,-3L0,-1L2,-3L3,-2L1,0L3,2L2,3L0,1L-2,3L-3,2L-1,0Z"
SYMBOLS = ("circle", "rect", "triangle", "diamond", PLUS, CROSS)
"""A version is known by its sign as well as by its colour."""


def like_options(found: Likes) -> Options:
    """The like rate of the newest versions as votes came in, with intervals and promotions."""
    shown = newest_curves(found.curves)
    looks = _looks(shown)
    series: list[Options] = []
    for (name, colour, symbol), curve in zip(looks, shown, strict=True):
        rows = [_like_row(point, by_day=found.by_day) for point in curve.points]
        series += [_like_line(name, colour, symbol, rows), _whiskers(name, colour, rows)]
    if series:
        series[0]["markLine"] = _promotions(found.changes, by_day=found.by_day)
    across = (
        _axis("day of the votes (UTC)", kind="time") if found.by_day
        else _axis("votes so far", whole=True, low=0, high=found.votes)
    )
    return _frame(
        "Liked, of the votes on each version", legend=[name for name, _, _ in looks]
    ) | {
        "useUTC": True,
        "xAxis": across,
        "yAxis": _axis("liked (%)", low=0, high=100),
        "tooltip": {"trigger": "item", "confine": True},
        "series": series,
    }


def newest_curves(curves: Sequence[LikeCurve]) -> list[LikeCurve]:
    """As many versions as there are colours, and the base if it was rated."""
    base = [curve for curve in curves if curve.adapter == BASE]
    return base + [curve for curve in curves if curve.adapter != BASE][-len(VERSIONS) :]


def share_options(title: str, shares: Sequence[Share]) -> Options:
    """Likes and dislikes by where they came from, as bars, the longest on top."""
    rows = list(reversed(shares))
    bars = {"type": "bar", "stack": "votes", "barMaxWidth": 22}
    return _frame(title, legend=["likes", "dislikes"]) | {
        "aria": {"enabled": True, "decal": {"show": True}},
        "grid": {"left": 8, "right": 24, "top": 58, "bottom": 24, "containLabel": True},
        "xAxis": _axis("votes", whole=True),
        "yAxis": {"type": "category", "data": [one.name for one in rows],
                  "axisLabel": {"color": GREY, "width": 130, "overflow": "truncate"},
                  "axisLine": {"lineStyle": {"color": GREY}}},
        "tooltip": {"trigger": "axis", "axisPointer": {"type": "shadow"}, "confine": True},
        "series": [
            {"name": "likes", "color": BLUE, "data": [one.rate.likes for one in rows], **bars},
            {"name": "dislikes", "color": VERMILION,
             "data": [one.rate.rated - one.rate.likes for one in rows], **bars},
        ],
    }


def pace_options(found: Pace) -> Options:
    """How long people waited for the first token of each of the newest replies."""
    points = [[number, round(waited, 3)]
              for number, waited in zip(found.replies, found.first_token, strict=True)]
    return _frame("Waiting for the first token", legend=["first token"]) | {
        "xAxis": _axis("number of the reply", whole=True, low="dataMin", high="dataMax"),
        "yAxis": _axis("seconds", low=0),
        "tooltip": {"trigger": "item", "confine": True},
        "series": [{
            "name": "first token", "type": "scatter", "symbolSize": 6, "color": BLUE,
            "itemStyle": {"opacity": 1},
            "data": points, "dimensions": ["reply", "seconds"], "encode": {"tooltip": [0, 1]},
        }],
    }  # fmt: skip


def curve_options(run: int, curves: RunCurves) -> Options:
    """How the loss of a run fell."""
    lines = (
        ("replies it learned from", BLUE, "solid", "circle", curves.loss),
        ("replies set aside", VERMILION, "dashed", "diamond", curves.held_out),
    )
    return _frame(f"Loss of run {run}", legend=[name for name, *_ in lines]) | {
        "xAxis": _axis("optimiser step", whole=True),
        "yAxis": _axis("nats a token", scale=True),
        "tooltip": {"trigger": "axis", "confine": True},
        "series": [
            {"name": name, "type": "line", "color": colour, "lineStyle": {"type": style},
             "symbol": symbol, "symbolSize": 5, "showSymbol": len(points) < 60,
             "data": [[step, round(value, 4)] for step, value in points]}
            for name, colour, style, symbol, points in lines
        ],
    }


def _looks(curves: Sequence[LikeCurve]) -> list[tuple[str, str, str]]:
    """Name, colour and sign of each; the base is grey, and a version has its own by its number.

    Only where that is taken by another that is shown does it have the next that is free.
    """
    looks = []
    free = list(range(len(VERSIONS)))
    for curve in curves:
        if curve.adapter == BASE:
            looks.append((BASE, GREY, "circle"))
            continue
        own = int("".join(filter(str.isdigit, curve.adapter)) or 1) - 1
        at = min(free, key=lambda place: (place - own) % len(VERSIONS))
        free.remove(at)
        looks.append((curve.adapter, VERSIONS[at], SYMBOLS[at]))
    return looks


def _like_row(point: LikePoint, *, by_day: bool) -> list[float]:
    shares = (point.rate.value, *point.rate.interval)
    at = _milliseconds(point.time) if by_day else round(point.place, 1)
    return [at, *(round(100 * share, 1) for share in shares), point.rate.rated]


def _like_line(name: str, colour: str, symbol: str, rows: Sequence[Sequence[float]]) -> Options:
    return {
        "name": name, "type": "line", "color": colour, "symbol": symbol, "symbolSize": 9,
        "data": rows, "z": 3,
        "dimensions": ["at", "liked (%)", "95% from (%)", "to (%)", "votes"],
        "encode": {"x": 0, "y": 1, "tooltip": [1, 2, 3, 4]},
    }


def _whiskers(name: str, colour: str, rows: Sequence[Sequence[float]]) -> Options:
    """Intervals as one line that is broken off after each; named alike, both are hidden at once."""
    return {
        "name": name, "type": "line", "color": colour, "symbol": "none", "silent": True, "z": 2,
        "lineStyle": {"width": 2, "opacity": 0.45}, "tooltip": {"show": False},
        "data": [
            point for at, _, low, high, _ in rows for point in ([at, low], [at, high], [at, None])
        ],
    }


def _promotions(changes: Sequence[Change], *, by_day: bool) -> Options:
    """Where another version began to serve."""
    return {
        "symbol": "none", "silent": True, "animation": False,
        "lineStyle": {"color": GREY, "type": "dotted"},
        "label": {"color": GREY, "formatter": "{b}", "position": "end", "rotate": 0},
        "data": [
            {"xAxis": _milliseconds(one.time) if by_day else one.place, "name": one.name}
            for one in changes
        ],
    }


def _milliseconds(time: datetime) -> int:
    return round(time.timestamp() * 1000)


def _frame(title: str, legend: Sequence[str]) -> Options:
    return {
        "title": {"text": title, "left": 0, "top": 0,
                  "textStyle": {"color": GREY, "fontSize": 14, "fontWeight": 600}},
        "aria": {"enabled": True},
        "animation": False,
        "backgroundColor": "transparent",
        "textStyle": {"fontFamily": "system-ui, sans-serif"},
        "grid": {"left": 26, "right": 24, "top": 72, "bottom": 24, "containLabel": True},
        "legend": {"type": "scroll", "left": 0, "top": 26, "data": list(legend),
                   "textStyle": {"color": GREY}, "pageTextStyle": {"color": GREY},
                   "pageIconColor": GREY},
    }


def _axis(
    name: str, *, kind: str = "value", low: float | str | None = None,
    high: float | str | None = None, whole: bool = False, scale: bool = False,
) -> Options:
    """An axis; those of times and of whole numbers lie below, the others stand to the left."""
    below = kind == "time" or whole
    bounds = {"min": low, "max": high}
    return {
        "type": kind, "name": name, "nameTextStyle": {"color": GREY}, "scale": scale,
        "nameLocation": "middle", "nameGap": 26 if below else 40,
        "axisLabel": {"color": GREY, "hideOverlap": True},
        "axisLine": {"lineStyle": {"color": GREY}},
        "splitLine": {"show": not below, "lineStyle": {"color": GREY, "opacity": 0.25}},
        **({"minInterval": 1} if whole else {}),
        **{key: bound for key, bound in bounds.items() if bound is not None},
    }
