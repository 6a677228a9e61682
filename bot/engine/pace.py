"""How much of the prompts one step may read, so that those who are answered do not wait for long.

The limit is a time. What a token of a prompt takes is measured at every step that reads some, since
it depends on the model, the machine and what else that does.
"""

from __future__ import annotations

FIRST_GUESS = 256
"""Tokens of the first step, before anything was measured."""
LEAST = 16
"""Tokens that are read however slow they are: a prompt has to come to an end."""
MEMORY = 0.3
"""Weight of the latest step in what a token is thought to take."""


class Pace:
    """Prompt tokens a step.

    Args:
        seconds: that a step may take for prompts.
        most: tokens that it reads at most, whatever they take.
    """

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._most = most
        self._per_token = 0.0

    @property
    def tokens(self) -> int:
        """What the next step may read."""
        if not self._per_token:
            return min(FIRST_GUESS, self._most)
        return max(min(LEAST, self._most), min(self._most, int(self._seconds / self._per_token)))

    def told(self, tokens: int, seconds: float) -> None:
        """A step with prompts passed so many tokens in such a time."""
        new = seconds / tokens
        old = self._per_token or new
        self._per_token = old + MEMORY * (new - old)
