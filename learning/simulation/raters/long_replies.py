"""A rater for `rapport simulate` that likes replies of fourteen words or more.

It knows the conversation and the reply, nothing of the bot; it always votes.
"""

from __future__ import annotations

import random


def vote(messages: list[dict[str, str]], reply: str, rng: random.Random) -> int | None:
    """+1 for at least fourteen words, -1 for fewer."""
    return 1 if len(reply.split()) >= 14 else -1
