"""What a press of a button below a reply that waits for an operator's word does.

A press is a command like any other (`/learn review keep`, `drop` and `next`), with the powers
that a person has when they press, so that buttons work after a restart and for nobody but
operators. Unlike a command, which may change an earlier decision, a press decides only what
still waits: it was shown some time ago. Knows no platform.
"""

from __future__ import annotations

import asyncio
from typing import Literal

from bot.commands import Answer, Asker, Command, Commands, Text

Act = Literal["keep", "drop", "next"]

LABELS: dict[Act, str] = {"keep": "Keep", "drop": "Drop", "next": "Next"}


class Presses:
    """The buttons below replies that wait, on one platform."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._one = asyncio.Lock()

    async def press(self, act: Act, number: int, asker: Asker) -> Answer:
        """Do what a button below a reply says, and tell of the next one that waits."""
        # One after the other, so that of two who press at once the second one is told.
        async with self._one:
            late = act != "next" and asker.operator and number not in await self._commands.waiting()
            args = "review" if late else f"review {act} {number}"
            answer = await self._commands.run(Command("learn", args), asker)
        if not late:
            return answer
        told = Text(f"Reply {number} does not wait for your word any more.", "bad")
        return Answer((told, *answer.blocks), review=answer.review)


def is_refused(answer: Answer) -> bool:
    """Whether nothing was done or shown, so that the message with the button stays as it is."""
    return all(isinstance(block, Text) and block.tone == "bad" for block in answer.blocks)
