"""Folds of the training votes, so that nearly every vote can judge: cross-fitting.

Held-out votes are few where votes are few, and what they say drowns in luck. So the examples
that are trained on are cut into folds; a sibling of the candidate is trained without each of
them, the same way and from the same base, and says how likely its replies are. A candidate is
judged by what it was not shown and by what its siblings were not shown, and a fold by the number
it has for ever: the champion's sibling of that number was not shown it either. It knows no engine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from learning.types import Example


def fold_of(conversation: str, folds: int) -> int:
    """The fold a conversation is in, for ever, from 0; independent of its part."""
    return int.from_bytes(hashlib.sha256(f"fold/{conversation}".encode()).digest()[:8]) % folds


def cut(examples: Sequence[Example], folds: int, fold_items: int) -> list[tuple[int, ...]]:
    """The exchange ids of each fold, by its number; no folds where siblings would tell nothing.

    A fold is empty where nobody voted on it, or where nothing is liked outside it: no sibling is
    trained without it, and the others keep their numbers.

    Args:
        examples: of all parts.
        folds: how many; below 2 none.
        fold_items: so many held-out votes are enough without.
    """
    held_out = sum(one.voted for one in examples if one.part == "holdout")
    train = [one for one in examples if one.part == "train"]
    found = [
        tuple(one.exchange_id for one in train if fold_of(one.conversation, folds) == number)
        for number in range(folds if folds > 1 and held_out < fold_items else 0)
    ]
    voted = {one.exchange_id for one in train if one.voted}
    liked = {one.exchange_id for one in train if one.liked}
    told = [
        fold if voted.intersection(fold) and liked.difference(fold) else () for fold in found
    ]
    return told if any(told) else []
