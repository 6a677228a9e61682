"""A simulation as a picture: like-rate by round, drawn without a display.

Knows only the dictionary that `rapport simulate --json` writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from learning.durable import write_file
from learning.palette import BLUE as CHAMPION
from learning.palette import VERMILION as BASE_LINE


def plot_simulation(result: Mapping[str, Any], path: Path, title: str = "") -> None:
    """Draw a simulation as a PNG of 900 by 540 pixels, written whole or not at all. Blocks.

    Raises:
        OSError: the file cannot be written.
    """
    # Imported here because it takes a second, and most commands never draw.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    rounds = result["rounds"]
    numbers = [one["round"] for one in rounds]
    rates = [one["like_rate"] for one in rounds]
    figure = Figure(figsize=(9, 5.4), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    low, high = zip(*(one["ci"] for one in rounds), strict=True)
    axes.fill_between(
        numbers, low, high, color=CHAMPION, alpha=0.18, linewidth=0, label="95 % interval"
    )
    axes.axhline(
        result["final"]["base_like_rate"], color=BASE_LINE, linestyle="--", linewidth=2,
        label="base model",
    )
    axes.plot(numbers, rates, color=CHAMPION, marker="o", markersize=5, linewidth=2.5,
              label="serving version")
    promoted = [(one["round"], one["like_rate"], one["adapter"]) for one in rounds
                if one["verdict"] == "promote"]
    if promoted:
        axes.scatter([one[0] for one in promoted], [one[1] for one in promoted], marker="*",
                     s=260, color=CHAMPION, edgecolor="white", zorder=3, label="promotion")
    for number, rate, name in promoted:
        axes.annotate(name, (number, rate), xytext=(0, 14), textcoords="offset points",
                      ha="center", fontsize=10)
    axes.set_ylim(0, 1.05)
    axes.set_xlim(min(numbers) - 0.2, max(numbers) + 0.2)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(title or "Like-rate on held-out prompts", fontsize=14)
    votes = rounds[-1]["votes"]
    axes.set_xlabel(f"round (a retrain after each; {votes} votes in all)", fontsize=12)
    axes.set_ylabel("liked, of the rated held-out replies", fontsize=12)
    axes.tick_params(labelsize=11)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="best", fontsize=11, frameon=False)
    content = BytesIO()
    figure.savefig(content, format="png")
    write_file(path, content.getvalue())
