"""A rater for `rapport simulate` that likes a kind word.

It knows the conversation and the reply, nothing of the bot; it always votes.
"""

from __future__ import annotations

import random
import re

KIND = re.compile(
    r"\b(glad|happy|love|lovely|nice|great|good luck|thanks?|enjoy|hope|wonderful|kind|proud|"
    r"sweet|fun|welcome|sorry|hug|cheer|well done)\b",
    re.IGNORECASE,
)


def vote(messages: list[dict[str, str]], reply: str, rng: random.Random) -> int | None:
    """+1 when the reply has one of a few kind words in it, -1 otherwise."""
    return 1 if KIND.search(reply) else -1
