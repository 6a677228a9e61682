"""A rater for `rapport simulate` that likes short replies but is not to be relied on.

It votes on every second reply only, and one time in five it votes against its taste, as
people do.
"""

from __future__ import annotations

import random


def vote(messages: list[dict[str, str]], reply: str, rng: random.Random) -> int | None:
    """The vote of `short_replies.py`, flipped at random one time in five; often no vote."""
    if rng.random() < 0.5:
        return None
    taste = 1 if 1 <= len(reply.split()) <= 5 else -1
    return -taste if rng.random() < 0.2 else taste
