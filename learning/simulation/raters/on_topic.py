"""A rater for `rapport simulate` that likes to hear its own words again.

It knows the conversation and the reply, nothing of the bot; it always votes.
"""

from __future__ import annotations

import random
import re

COMMON = re.compile(
    r"the|and|but|for|are|was|were|did|does|have|has|had|you|she|they|your|our|"
    r"this|that|what|who|how|why|when|where|can|could|would|should|will|not|yes|"
    r"with|about|just|like|know|think|really|very|some|any"
)


def vote(messages: list[dict[str, str]], reply: str, rng: random.Random) -> int | None:
    """+1 when the reply takes up a word of the question that says something, -1 otherwise."""
    return 1 if _telling(messages[-1]["content"]) & _telling(reply) else -1


def _telling(text: str) -> set[str]:
    words = re.findall(r"[a-z']{3,}", text.lower())
    return {word for word in words if not COMMON.fullmatch(word)}
