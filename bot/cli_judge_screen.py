"""How a person at the terminal sees two replies and says which is better.

In a terminal the replies stand side by side and one key is one answer; from a pipe they come as
lines, and every character of a line is a key. What a model wrote is never trusted with the
terminal. Whose reply is on which side is not known here, so it cannot be shown.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from typing import Protocol

from prompt_toolkit import PromptSession
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys as Key
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bot.admission import without_controls
from bot.platforms.console import standard_input
from learning.judging.pairs import Pair, Side
from learning.judging.session import Better, Word
from learning.judging.tally import QUESTIONS

SIDES: dict[str, Side] = {"l": "left", "r": "right", "t": "tie"}
ARROWS = {Key.Left: "l", Key.Right: "r", Key.Down: "t"}
HOW = (
    "Which reply is better? l: left, r: right, t: tie; L, R, T: the same for all that is left to "
    "ask about the two. s: skip them, q: quit. Every answer is kept at once."
)


def word_of(key: str) -> Word | None:
    """What a key says; None for one that says nothing.

    >>> word_of("L")
    Better(side='left', rest=True)
    """
    if key in ("s", "q"):
        return "skip" if key == "s" else "quit"
    side = SIDES.get(key.lower())
    return None if side is None else Better(side, rest=key.isupper())


class Keys(Protocol):
    """Where keys come from."""

    async def next(self, prompt: str) -> str | None:
        """The next key; None at the end."""


class Pressed:
    """Keys as they are pressed, without the return key."""

    def __init__(self) -> None:
        self._session: PromptSession[str] = PromptSession(key_bindings=_bindings())

    async def next(self, prompt: str) -> str | None:
        """The next key that says something; None after Ctrl-C or Ctrl-D."""
        try:
            return await self._session.prompt_async(prompt)
        except (EOFError, KeyboardInterrupt):
            return None


class Typed:
    """Keys as the characters of lines, for pipes."""

    def __init__(self, lines: AsyncGenerator[str, None]) -> None:
        self._lines = lines
        self._keys: list[str] = []

    async def next(self, prompt: str) -> str | None:
        """The next character that is no space; None after the last line."""
        while not self._keys:
            line = await anext(self._lines, None)
            if line is None:
                return None
            self._keys += "".join(line.split())
        return self._keys.pop(0)


class Screen:
    """A person at the terminal, or a script in their place."""

    def __init__(self, keys: Keys, console: Console, *, side_by_side: bool) -> None:
        self._keys = keys
        self._console = console
        self._side_by_side = side_by_side
        self._explained = False

    def show(self, pair: Pair, number: int, of: int) -> None:
        """The conversation, then the two replies."""
        if not self._explained:
            self._explained = True
            self._print(HOW, "dim")
        self._print(f"\n{number} of {of}", "bold")
        for turn in pair.messages:
            who = "you" if turn.role == "user" else "bot"
            self._print(f"{who} › {turn.content}", "cyan")
        if not self._side_by_side:
            self._print(f"left › {pair.left}\nright › {pair.right}")
            return
        table = Table("left", "right", expand=True, show_lines=False)
        for column in table.columns:
            column.ratio = 1
        table.add_row(*(Text(without_controls(text)) for text in (pair.left, pair.right)))
        self._console.print(table)

    async def better(self, question: str) -> Word:
        """One key; other keys are answered with what there is to press."""
        asked = f"{question} ({QUESTIONS[question]}) › "
        while True:
            key = await self._keys.next(asked)
            if key is None:
                return "quit"
            word = word_of(key)
            if word is not None:
                return word
            self._print(f"{key!r} says nothing here. {HOW}", "yellow")

    def _print(self, text: str, style: str = "") -> None:
        self._console.print(Text(without_controls(text), style=style), soft_wrap=True)


def screen() -> Screen:
    """The person at this process' standard input and output."""
    console = Console(highlight=False)
    if sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty():
        return Screen(Pressed(), console, side_by_side=True)
    return Screen(Typed(standard_input()), console, side_by_side=False)


def _bindings() -> KeyBindings:
    """Each key that says something ends the prompt with itself, shown as the word it means."""
    bindings = KeyBindings()

    def bind(pressed: str, key: str, shown: str) -> None:
        @bindings.add(pressed)
        def press(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text(shown)
            event.app.exit(result=key)

    for key, side in SIDES.items():
        bind(key, key, side)
        bind(key.upper(), key.upper(), f"{side}, for all that is left")
    for arrow, key in ARROWS.items():
        bind(arrow.value, key, SIDES[key])
    bind("s", "s", "skip")
    bind("q", "q", "quit")
    bindings.add(Key.Any)(lambda event: None)
    return bindings
