"""Which losses a run minimises: as the configuration says, or by how much was rated.

It reads a snapshot's numbers only. A choice that the votes cannot bear falls back to `sft`,
and says so: whoever asked for it reads the reason where the run is announced.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from bot.config import LearningConfig, SftConfig
from learning.training.supervision import Choice, pairs, rated
from learning.types import Snapshot


def choose(snapshot: Snapshot, end_ids: Sequence[int], settings: LearningConfig) -> Choice:
    """The losses of a run on this snapshot, with the reason in words."""
    if settings.objective in ("auto", "taste") and snapshot.chosen:
        return _by_taste(snapshot)
    liked, disliked = rated(snapshot, end_ids)
    rivals = len(pairs(liked, disliked))
    match settings.objective:
        case "auto":
            return _by_amount(snapshot, settings, bool(liked and disliked), rivals)
        case "taste":
            return Choice(
                reason="likes cannot be told from dislikes well enough to choose replies by "
                "(learning.taste)"
            )
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
        kto=asked == "kto", dpo=asked == "dpo", settings=settings.preference,
        reason="as learning.objective says",
    )


def _by_taste(snapshot: Snapshot) -> Choice:
    liked = sum(one.liked for one in snapshot.of("train"))
    return Choice(
        taste=True, reason=f"{liked} liked replies, and {len(snapshot.chosen)} that were drawn"
    )


def passes(choice: Choice, settings: LearningConfig) -> SftConfig:
    """The settings of training that hold for a choice."""
    if not choice.taste:
        return settings.sft
    taste = settings.taste
    return settings.sft.model_copy(
        update={"epochs": taste.epochs, "learning_rate": taste.learning_rate}
    )


def identity(digest: str, settings: SftConfig, choice: Choice, seed: int) -> str:
    """What the bytes of a run follow from; `digest` is that of its snapshot."""
    preference = choice.settings.model_dump() if choice.compares else {}
    parts = [digest, settings.model_dump(), choice.name, preference, seed]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _by_amount(
    snapshot: Snapshot, settings: LearningConfig, both: bool, rivals: int
) -> Choice:
    need = settings.preference
    voted = [one for one in snapshot.examples if one.voted]
    number = len(voted)
    disliked = sum(not one.liked for one in voted)
    if number < need.min_rated or disliked < need.min_disliked or not both:
        return Choice(
            reason=f"{number} rated replies, {disliked} of them disliked; dislikes are trained "
            f"on from {need.min_rated} and {need.min_disliked}"
        )
    found = f"{number} rated replies, {disliked} of them disliked"
    reason = found + (f"; {rivals} pairs" if rivals else "")
    return Choice(kto=True, dpo=rivals > 0, settings=need, reason=reason)
