"""Which losses a run minimises: as the configuration says, or by how much was rated.

It reads a snapshot's numbers only. A choice that the votes cannot bear falls back to `sft`,
and says so: whoever asked for it reads the reason where the run is announced.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.config import LearningConfig
from learning.training.supervision import Choice, pairs, rated
from learning.types import Snapshot


def choose(snapshot: Snapshot, end_ids: Sequence[int], settings: LearningConfig) -> Choice:
    """The losses of a run on this snapshot, with the reason in words."""
    liked, disliked = rated(snapshot, end_ids)
    rivals = len(pairs(liked, disliked))
    match settings.objective:
        case "auto":
            return _by_amount(snapshot, settings, bool(liked and disliked), rivals)
        case "kto" if not (liked and disliked):
            return Choice(
                reason="kto learns from liked and disliked replies, and of those that may be "
                f"trained on {len(liked)} are liked and {len(disliked)} disliked"
            )
        case "dpo" if not rivals:
            return Choice(
                reason="dpo learns from liked and disliked replies to the same prompt, and "
                "there is none with both"
            )
    asked = settings.objective
    return Choice(
        asked == "kto", asked == "dpo", settings.preference, "as learning.objective says"
    )


def _by_amount(
    snapshot: Snapshot, settings: LearningConfig, both: bool, rivals: int
) -> Choice:
    need = settings.preference
    number = len(snapshot.examples)
    disliked = sum(not one.liked for one in snapshot.examples)
    if number < need.min_rated or disliked < need.min_disliked or not both:
        return Choice(
            reason=f"{number} rated replies, {disliked} of them disliked; dislikes are trained "
            f"on from {need.min_rated} and {need.min_disliked}"
        )
    found = f"{number} rated replies, {disliked} of them disliked"
    return Choice(True, rivals > 0, need, found + (f"; {rivals} pairs" if rivals else ""))
