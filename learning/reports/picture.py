"""A verdict as a picture: how the loss fell, and what the gate asked, drawn without a display.

Knows only numbers and sentences. Passed and failed differ in sign and word, not in colour
alone, and the colours are told apart with any colour vision.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from io import BytesIO
from threading import Lock
from typing import TYPE_CHECKING, Any

from learning.palette import BLUE as PASSED
from learning.palette import VERMILION as FAILED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES = (("loss", "replies it learned from", PASSED, "-"),
          ("held_out", "replies set aside", FAILED, "--"))
"""Name of the curve, what it is called, its colour and line."""
TITLE_WIDTH, TITLE_LINES = 105, 3
COLUMNS = ((0.0, "left"), (0.07, "left"), (0.40, "left"), (0.80, "right"), (1.0, "right"))
"""Where sign, check, result, value and limit stand, as a share of the width."""

_drawing = Lock()
"""matplotlib is not made for several threads at once."""


def draw_verdict(
    sentence: str,
    checks: Sequence[Mapping[str, Any]],
    curve: Sequence[tuple[int, str, float]],
    *,
    adapter: str,
    champion: str,
) -> bytes:
    """A PNG of 1000 by 560 pixels. Blocks.

    Args:
        sentence: the verdict, as the title.
        checks: each with ``name``, ``passed``, ``value`` and ``limit``.
        curve: the (step, name, value) points of the run that made the adapter.
        champion: what it was compared with, as one speaks of it.

    Raises:
        ImportError: matplotlib is not installed.
    """
    # Imported here because it takes a second, and most processes never draw.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    content = BytesIO()
    with _drawing:
        layout = ConstrainedLayoutEngine(w_pad=0.16, h_pad=0.12, wspace=0.03)
        figure = Figure(figsize=(10, 5.6), dpi=100, layout=layout)
        FigureCanvasAgg(figure)
        lines = textwrap.wrap(sentence, TITLE_WIDTH, max_lines=TITLE_LINES, placeholder=" …")
        # A sentence may quote a rule with dollar signs, which are no formula.
        figure.suptitle("\n".join(lines), fontsize=12.5, parse_math=False)
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
        _curves(left, curve, f"How {adapter} learned")
        _checks(right, checks, f"{adapter} against {champion}")
        figure.savefig(content, format="png")
    return content.getvalue()


def _curves(axes: Axes, curve: Sequence[tuple[int, str, float]], title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    drawn = False
    for name, label, colour, line in CURVES:
        points = [(step, value) for step, kind, value in curve
                  if kind == name and math.isfinite(value)]
        if points:
            # One point makes no line; held-out points are few, and each is a measurement.
            marker = "o" if len(points) == 1 or name == "held_out" else ""
            axes.plot(*zip(*points, strict=True), color=colour, linestyle=line, linewidth=2.2,
                      marker=marker, label=label)
            drawn = True
    if not drawn:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "No loss was recorded.", ha="center", transform=axes.transAxes)
        return
    axes.set_title(title, fontsize=12, parse_math=False)
    axes.set_xlabel("optimiser step", fontsize=11)
    axes.set_ylabel("loss (nats a token; lower is better)", fontsize=11)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="best", fontsize=10, frameon=False)


def _checks(axes: Axes, checks: Sequence[Mapping[str, Any]], title: str) -> None:
    axes.set_title(title, fontsize=12, parse_math=False)
    axes.set_axis_off()
    # Downwards from the heading; few checks stay together at the top.
    axes.set(xlim=(0, 1), ylim=(max(len(checks), 10) + 0.6, -0.6))

    def row(at: int, cells: Sequence[str], colour: str, weight: str) -> None:
        for (x, side), cell, own in zip(COLUMNS, cells, (True, False, True, False, False),
                                        strict=True):
            axes.text(x, at, cell, ha=side, va="center", fontsize=10.5, fontweight=weight,
                      color=colour if own else "#222222", parse_math=False)

    row(0, ("", "check", "result", "value", "limit"), "#222222", "bold")
    axes.axhline(0.5, color="#999999", linewidth=0.8)
    for at, check in enumerate(checks, start=1):
        passed = bool(check["passed"])
        result = ("✓", "passed") if passed else ("✗", "failed")
        cells = (result[0], str(check["name"]), result[1], _number(check["value"]),
                 _number(check["limit"]))
        row(at, cells, PASSED if passed else FAILED, "normal" if passed else "bold")


def _number(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.3g}"
