"""The table of the engine and its peers as a picture: tokens a second by channels.

It knows only the rows of `benchmarks.engine`, and draws without a display.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from learning.durable import write_file
from learning.palette import COLOURS

MARKERS = "osD^vP*"


def draw(rows: Sequence[Mapping[str, Any]], path: Path, title: str = "") -> None:
    """Draw rows as a PNG of 900 by 540 pixels, written whole or not at all. Blocks.

    Raises:
        OSError: the file cannot be written.
    """
    # Imported here because it takes a second, and most measurements are not drawn.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator, ScalarFormatter

    figure = Figure(figsize=(9, 5.4), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, peer in enumerate(dict.fromkeys(one["peer"] for one in rows)):
        own = [one for one in rows if one["peer"] == peer]
        axes.plot(
            [one["channels"] for one in own], [one["tokens_per_s"] for one in own], label=peer,
            color=COLOURS[number % len(COLOURS)], marker=MARKERS[number % len(MARKERS)],
            markersize=7, linewidth=2.5 if number == 0 else 1.8,
        )
    channels = sorted({one["channels"] for one in rows})
    axes.set_xscale("log", base=2)
    axes.set_xticks(channels)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(bottom=0)
    axes.set_title(title or "Tokens a second in all channels together", fontsize=14)
    axes.set_xlabel("channels that talk at once", fontsize=12)
    axes.set_ylabel("tokens a second", fontsize=12)
    axes.tick_params(labelsize=11)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="best", fontsize=11, frameon=False)
    content = BytesIO()
    figure.savefig(content, format="png")
    write_file(path, content.getvalue())
