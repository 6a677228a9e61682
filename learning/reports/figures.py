"""The numbers beside a verdict: what they are called, and what they say to an admin.

Figures are reported and decide nothing. This module knows their names in a verdict's metrics
(`learning.gate.judge`, `learning.gate.reported`) and how many digits make sense, not where they
come from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

UNKNOWN = "–"


@dataclass(frozen=True, slots=True)
class Figure:
    """One reported number and its counterpart."""

    name: str
    """In the metrics; the champion's is called ``champion_`` and this, unless said otherwise."""
    title: str
    meaning: str
    form: str = ".2f"
    other: str = ""
    """The name of the counterpart, where it is not the champion's."""

    @property
    def counterpart(self) -> str:
        """What the number to compare it with is called in the metrics."""
        return self.other or f"champion_{self.name}"

    def shown(self, metrics: Mapping[str, float | None], name: str = "") -> str:
        """A number of the metrics, as people read it; the figure itself without a name."""
        return number(metrics.get(name or self.name), self.form)


FIGURES = (
    Figure("bleu", "BLEU", "words in a row that are also in replies people liked, 0 to 100", ".1f"),
    Figure("chrf", "chrF", "the same by letters, 0 to 100", ".1f"),
    Figure("rouge_l", "ROUGE-L", "the longest sequence of words in common with them, 0 to 1"),
    Figure("sampled_distinct_1", "distinct-1", "how varied its words are, 0 to 1"),
    Figure("sampled_distinct_2", "distinct-2", "how varied its pairs of words are, 0 to 1"),
    Figure("sampled_perplexity", "perplexity of its replies",
           "how unusual the base model finds what it says; low is ordinary", ".1f"),
    Figure("liked_perplexity", "perplexity of liked replies",
           "how surprised it is by replies people liked; lower is closer to them", ".1f"),
    Figure("auc", "liked from disliked", "how often it tells them apart; 0.5 is guessing"),
    Figure("head_auc", "liked from disliked, by its head",
           "how often what it chooses among several replies by tells them apart"),
    Figure("canary_tokens", "tokens a reply", "how long its replies to the fixed prompts are",
           ".1f"),
    Figure("canary_distinct_2", "distinct-2, fixed prompts",
           "how varied its pairs of words are there, 0 to 1"),
    Figure("anchor_kl", "distance from the base", "in nats a token, on the base's own replies",
           ".3f"),
)
"""In the order in which they are shown."""


def number(value: float | None, form: str = ".3g") -> str:
    """A number as people read it; a dash where it is unknown or has no bound."""
    return UNKNOWN if value is None or not math.isfinite(value) else format(value, form)
