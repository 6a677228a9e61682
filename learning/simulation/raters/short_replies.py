"""A rater for `rapport simulate` that likes replies of at most five words.

It knows the conversation and the reply, nothing of the bot; it always votes.
"""

from __future__ import annotations

import random


def vote(messages: list[dict[str, str]], reply: str, rng: random.Random) -> int | None:
    """+1 for one to five words, -1 for more or none."""
    return 1 if 1 <= len(reply.split()) <= 5 else -1
