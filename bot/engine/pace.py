"""How much of the prompts one step may read, so that those who are answered do not wait for long.

The limit is a time, on top of what a step takes anyway: reading the weights, and a token of every
reply. What that is, and what a token of a prompt adds to it, is measured at every step, since it
depends on the model, the machine and what else that does. Were a step's whole time laid to its
prompts, few tokens would seem dear, fewer be read, and these seem dearer.
"""

from __future__ import annotations

FIRST_GUESS = 256
"""Tokens of the first step, before anything was measured."""
LEAST = 16
"""Tokens that are read however slow they are: a prompt has to come to an end."""
MEMORY = 0.3
"""Weight of the latest step in what is thought of all."""
STEPS = 5
"""So many steps without prompts may one with prompts take, where that is longer than the limit."""
ALONE = 4
"""How many times as long prompts may be read while no reply runs: each step reads all weights."""
OWN = 0.25
"""Of a step's time, the least share that is laid to its prompts."""


class Pace:
    """Prompt tokens a step.

    Args:
        seconds: that a step may take for prompts; a slow model may take longer.
        most: tokens that it reads at most, whatever they take.
    """

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._most = most
        self._plain = 0.0
        """Seconds of a step that reads no prompt."""
        self._per_token = 0.0

    def tokens(self, waited_for: bool = True) -> int:
        """What the next step may read; more if no reply is held up by it."""
        if not self._per_token:
            return min(FIRST_GUESS, self._most)
        seconds = max(self._seconds, STEPS * self._plain) * (1 if waited_for else ALONE)
        return max(min(LEAST, self._most), min(self._most, int(seconds / self._per_token)))

    def told(self, tokens: int, seconds: float) -> None:
        """A step took so long, with so many tokens of prompts."""
        if not tokens:
            self._plain = _blend(self._plain, seconds)
            return
        added = max(seconds - self._plain, OWN * seconds)
        self._per_token = _blend(self._per_token, added / tokens)


def _blend(old: float, new: float) -> float:
    return old + MEMORY * (new - old) if old else new
