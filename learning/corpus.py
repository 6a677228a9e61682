"""Dialogues to pretrain on, read from files into one shape.

A dialogue is a list of role/content messages with the name of the source it came
from. This module knows the file formats of the corpora and which share of them is
held out; it does not know tokens, models or how often a source is shown.

Sources, by the folder they lie in below the data directory:

* ``self_dialogue/*.jsonl.xz``  casual two-sided small talk (Fainberg et al. 2018)
* ``synthetic_persona/valid.csv.xz``  persona small talk (Jandaghi et al. 2023);
  ``test.csv.xz`` is read for evaluation only
* ``everyday/*.txt``  dialogues written for Rapport, shipped beside this module
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import lzma
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from bot.errors import DataError

EVERYDAY = Path(__file__).parent / "everyday"
Split = Literal["train", "validation", "test"]
Turn = tuple[str, str]
"""A (role, content) pair."""

_SPACES = re.compile(r"[ \t\u00a0]+")


@dataclass(frozen=True)
class Dialogue:
    """One conversation; `replies` are alternative last turns, one of them chosen per visit."""

    source: str
    turns: tuple[Turn, ...]
    system: str = ""
    replies: tuple[str, ...] = ()

    def split(self) -> Split:
        """Train, validation (2 %) or test (2 %), by a hash of the words: stable for ever."""
        text = "\n".join(content for _, content in self.turns)
        bucket = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % 100
        return "validation" if bucket < 2 else "test" if bucket < 4 else "train"

    def messages(self, reply: str | None = None) -> list[dict[str, str]]:
        """The role/content messages, ended by `reply` (or the first alternative)."""
        turns = list(self.turns)
        if self.replies:
            turns.append(("assistant", reply or self.replies[0]))
        head = [{"role": "system", "content": self.system}] if self.system else []
        return head + [{"role": role, "content": content} for role, content in turns]


def read_corpus(data: Path) -> list[Dialogue]:
    """Every dialogue below `data`, and the everyday ones that ship with Rapport.

    Raises:
        DataError: nothing to train on was found, or a file is malformed.
    """
    dialogues = [*read_everyday(EVERYDAY)]
    files = [(path, read_self_dialogue) for path in sorted(data.glob("self_dialogue/*.jsonl.xz"))]
    files += [(path, read_persona) for path in sorted(data.glob("synthetic_persona/*.csv.xz"))]
    for path, read in files:
        try:
            dialogues += read(path)
        except (OSError, EOFError, ValueError, KeyError, TypeError, lzma.LZMAError, csv.Error) as e:
            raise DataError(f"{path} cannot be read ({type(e).__name__}: {e})") from e
    if not any(d.source != "everyday" for d in dialogues):
        raise DataError(
            f"{data} holds neither self_dialogue/*.jsonl.xz nor synthetic_persona/*.csv.xz; "
            "docs/models.md says where to get them"
        )
    return dialogues


def read_everyday(folder: Path) -> Iterator[Dialogue]:
    """Blocks of ``S:``, ``U:`` and ``B:`` lines; repeated ``B:`` lines are alternatives."""
    for path in sorted(folder.glob("*.txt")):
        for number, block in enumerate(path.read_text(encoding="utf-8").split("\n\n"), 1):
            if lines := [line for line in block.splitlines() if line.strip()]:
                yield _everyday_block(lines, f"{path.name}, block {number}")


def _everyday_block(lines: list[str], where: str) -> Dialogue:
    system, turns, replies = "", list[Turn](), list[str]()
    for line in lines:
        mark, _, content = line.partition(": ")
        content = content.strip()
        if mark == "S" and not turns:
            system = content
        elif mark == "U" and len(replies) <= 1:
            turns += [("assistant", r) for r in replies] + [("user", content)]
            replies = []
        elif mark == "B" and turns:
            replies.append(content)
        else:
            raise DataError(f"{where}: cannot place the line {line!r}")
    if not replies:
        raise DataError(f"{where}: the block has no reply")
    return Dialogue("everyday", tuple(turns), system, tuple(dict.fromkeys(replies)))


def read_self_dialogue(path: Path) -> Iterator[Dialogue]:
    """One JSON object a line with a list of ``turns``; too short or broken ones are left out."""
    seen = set[str]()
    with lzma.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            turns = [_clean(turn) for turn in json.loads(line)["turns"]]
            if len(turns) < 4 or not all(turns) or len(set(turns)) < len(turns) - 1:
                continue
            if (key := "\n".join(turns)) not in seen:
                seen.add(key)
                yield Dialogue("self_dialogue", _alternate(turns))


def read_persona(path: Path) -> Iterator[Dialogue]:
    """CSV rows of two personas and a conversation of ``User 1:`` / ``User 2:`` lines."""
    with lzma.open(path, "rt", encoding="utf-8", newline="") as file:
        for row in csv.reader(io.StringIO(file.read())):
            if len(row) != 3 or not row[2].startswith("User 1:"):
                continue
            spoken = [line.partition(": ") for line in row[2].splitlines() if ": " in line]
            speakers = [speaker for speaker, _, _ in spoken]
            if speakers != (["User 1", "User 2"] * len(spoken))[: len(spoken)]:
                continue
            persona = " ".join(line.strip() for line in row[1].splitlines() if line.strip())
            source = "persona_test" if path.name.startswith("test") else "persona"
            turns = _alternate([_clean(content) for _, _, content in spoken])
            yield Dialogue(source, turns, f"This is who you are: {persona}")


def _alternate(contents: list[str]) -> tuple[Turn, ...]:
    return tuple(
        ("user" if i % 2 == 0 else "assistant", content) for i, content in enumerate(contents)
    )


def _clean(text: str) -> str:
    return _SPACES.sub(" ", text).strip()


SYSTEM_PROMPTS = (
    "You are Rapport, a friendly chatbot.",
    "You are Rapport, a friendly chatbot in a Discord server.",
    "You are Rapport, a helpful and kind chatbot in a Slack workspace.",
    "Your name is Rapport. You chat with people and you are kind.",
    "You are Rapport. You talk with people about everyday things.",
    "You are a friendly chatbot.",
    "You are Rapport, a friendly chatbot. Keep your answers short.",
)


def dress(dialogue: Dialogue, rng: random.Random, neighbours: list[Dialogue]) -> Dialogue:
    """Choose a system prompt for one visit: its own, a common one, examples, or none.

    A tenth of the dialogues gets up to three liked exchanges in the system prompt, taken
    from `neighbours`, in the words `example_lines` uses when the bot serves.
    """
    draw = rng.random()
    system = dialogue.system
    if dialogue.source.startswith("persona"):
        system = dialogue.system if draw < 0.5 else ""
    elif not system and draw < 0.5:
        system = rng.choice(SYSTEM_PROMPTS)
    if neighbours and rng.random() < 0.1:
        chosen = rng.sample(neighbours, k=min(len(neighbours), rng.randint(1, 3)))
        examples = [(d.turns[-1][1], rng.choice(d.replies)) for d in chosen if d.replies]
        system = "\n".join([system or SYSTEM_PROMPTS[0], *example_lines(examples)])
    return replace(dialogue, system=system)


def example_lines(examples: list[tuple[str, str]]) -> list[str]:
    """Exchanges people liked, as lines of a system prompt."""
    lines = ["People liked these answers:"]
    for question, answer in examples:
        lines += [f"Question: {question}", f"Answer: {answer}"]
    return lines if examples else []
