"""What is asked in a simulation: prompt files, their split, and the order of asking.

A file holds a prompt a line, or is JSONL with ``{"messages": [{"role", "content"}, …]}``
whose last message is the user's. This module knows nothing of users, votes or models.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.errors import DataError
from bot.types import Turn
from learning.simulation.crowd import derived_seed

EVERYDAY = Path(__file__).parent / "prompts" / "everyday.txt"
"""The default set: everyday prompts of our own, one a line."""

HELD_OUT_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Question:
    """A conversation that waits for a reply."""

    messages: tuple[Turn, ...]
    """The user's question last; without a system prompt, which is the bot's own."""

    @property
    def text(self) -> str:
        """The question itself."""
        return self.messages[-1].content


def read_questions(path: Path | None = None, least: int = 2) -> list[Question]:
    """The questions of a file, or the default set; blank lines are skipped, doubles dropped.

    Raises:
        DataError: unreadable, a line that is not what it should be, or fewer than `least`.
    """
    path = path or EVERYDAY
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error.reason}") from error
    filled = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    as_json = path.suffix == ".jsonl" or (bool(filled) and filled[0][1].startswith("{"))
    found = [
        _parsed(line, f"{path}:{number}") if as_json else Question((Turn("user", line),))
        for number, line in filled
    ]
    distinct = list(dict.fromkeys(found))
    if not distinct:
        raise DataError(f"{path} has no prompts; write one a line")
    if len(distinct) < least:
        raise DataError(
            f"{path} has {len(distinct)} prompts; at least two different ones are needed, so "
            "that some can be held out"
        )
    return distinct


def _parsed(line: str, where: str) -> Question:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not valid JSON: {error.msg} at column {error.colno}") from error
    messages = record.get("messages") if isinstance(record, dict) else None
    if not isinstance(messages, list) or not messages:
        raise DataError(f'{where}: write {{"messages": [{{"role": "user", "content": "…"}}]}}')
    turns = tuple(_turn(message, where) for message in messages)
    if any(turn.role != ("assistant", "user")[place % 2 == 0] for place, turn in enumerate(turns)):
        raise DataError(f"{where}: the user and the assistant must take turns, the user first")
    if turns[-1].role != "user":
        raise DataError(f"{where}: the last message must be the user's")
    return Question(turns)


def _turn(message: object, where: str) -> Turn:
    if not isinstance(message, dict):
        raise DataError(f"{where}: a message must have a role and a content")
    role, content = message.get("role"), message.get("content")
    if role != "user" and role != "assistant":
        raise DataError(f"{where}: a role must be user or assistant, not {role!r}")
    if not isinstance(content, str) or not content.strip():
        raise DataError(f"{where}: the content of a message must be text")
    return Turn(role, content)


def split(questions: Sequence[Question]) -> tuple[list[Question], list[Question]]:
    """The questions that are voted on, and those held out for measuring.

    A quarter is held out, chosen by a hash of the words: the same ones for every seed, so
    that the figures of several seeds can be compared.
    """
    by_hash = sorted(questions, key=_digest)
    count = min(max(1, round(HELD_OUT_SHARE * len(by_hash))), len(by_hash) - 1)
    return by_hash[count:], by_hash[:count]


def _digest(question: Question) -> bytes:
    words = json.dumps([[turn.role, turn.content] for turn in question.messages])
    return hashlib.blake2b(words.encode(), digest_size=16).digest()


def asked_in_turn(questions: Sequence[Question], seed: int) -> Iterator[Question]:
    """All questions in a random order, then again in another, without end."""
    visit = 0
    while True:
        rng = random.Random(derived_seed(seed, "order", visit))
        yield from rng.sample(questions, len(questions))
        visit += 1
