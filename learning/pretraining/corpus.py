"""Dialogues to pretrain on, read from files into one shape.

A dialogue is a list of role/content messages with the name of the source it came
from. This module knows the file formats of the corpora and which share of them is
held out; it does not know tokens, models or how often a source is shown.

Sources, by the folder they lie in below the data directory:

* ``self_dialogue/*.jsonl.xz``  casual two-sided small talk (Fainberg et al. 2018)
* ``synthetic_persona/valid.csv.xz``  persona small talk (Jandaghi et al. 2023);
  ``test.csv.xz`` is read for evaluation only
* ``everyday/*.txt``  dialogues written for Rapport, shipped beside this module, with
  choices and slots (`learning.pretraining.phrases`)
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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from bot.errors import DataError
from learning.pretraining.phrases import Phrasing, Table, Tables, casual, sentences

EVERYDAY = Path(__file__).parent / "everyday"
CORE, CORE_VISITS = "core_", 3
"""How the files of the commonest things people say begin, and how often those are visited."""
Split = Literal["train", "validation", "test"]
Turn = tuple[str, str]
"""A (role, content) pair."""

OR = "|\n"
"""Between alternative lines of a turn; a choice inside a line has no line break."""
_SPACES = re.compile(r"[ \t\u00a0]+")


@dataclass(frozen=True)
class Dialogue:
    """One conversation; `replies` are alternative last turns, one of them chosen per visit.

    Lines may hold choices and slots, filled from `tables` when the dialogue is said.
    """

    source: str
    turns: tuple[Turn, ...]
    system: str = ""
    replies: tuple[str, ...] = ()
    tables: Tables = field(default_factory=dict, compare=False, repr=False)
    times: int = 1
    """How often a pass visits each opening."""

    @property
    def openings(self) -> int:
        """In how many lines the first turn is written."""
        return self.turns[0][1].count(OR) + 1

    @property
    def visits(self) -> int:
        """How often a pass visits the dialogue."""
        return self.openings * self.times

    def said(self, rng: random.Random, hurried: bool = False) -> Dialogue:
        """The dialogue with one reply, its choices made; `hurried` people type carelessly."""
        if self.source != "everyday":
            return self
        phrasing = Phrasing(self.tables, rng)
        turns = [*self.turns, ("assistant", rng.choice(self.replies))]
        said = list[Turn]()
        for role, content in turns:
            line = phrasing.say(content)
            if role == "assistant":
                line = sentences(line)
            elif hurried:
                line = casual(line, rng)
            said.append((role, line))
        return replace(self, turns=tuple(said[:-1]), replies=(said[-1][1],), tables={})

    def split(self) -> Split:
        """Train, validation (2 %) or test (2 %), by a hash of the words: stable for ever."""
        text = "\n".join(content for _, content in self.turns)
        bucket = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % 100
        return "validation" if bucket < 2 else "test" if bucket < 4 else "train"

    def messages(self) -> list[dict[str, str]]:
        """The role/content messages, ended by the first reply where there are several."""
        turns = [*self.turns, *(("assistant", reply) for reply in self.replies[:1])]
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
    """Blocks of ``S:``, ``U:`` and ``B:`` lines; repeated lines are alternatives.

    A block that begins with ``= name: column, ...`` is a table for the slots of its file.
    """
    for path in sorted(folder.glob("*.txt")):
        times = CORE_VISITS if path.name.startswith(CORE) else 1
        tables = dict[str, Table]()
        for number, block in enumerate(path.read_text(encoding="utf-8").split("\n\n"), 1):
            lines = [line for line in block.splitlines() if line.strip()]
            where = f"{path.name}, block {number}"
            if lines and lines[0].startswith("= "):
                name, table = _table(lines, where)
                tables[name] = table
            elif lines:
                dialogue = replace(_everyday_block(lines, where), tables=tables, times=times)
                yield _checked(dialogue, where)


def _table(lines: list[str], where: str) -> tuple[str, Table]:
    name, _, columns = lines[0].removeprefix("= ").partition(":")
    names = (name.strip(), *(c.strip() for c in columns.split(",") if c.strip()))
    rows = [tuple(cell.strip() for cell in line.split("|")) for line in lines[1:]]
    for row in rows:
        if len(row) != len(names):
            raise DataError(f"{where}: {' | '.join(row)!r} has {len(row)} of {len(names)} columns")
    return names[0], Table(names, tuple(rows))


def _checked(dialogue: Dialogue, where: str) -> Dialogue:
    phrasing = Phrasing(dialogue.tables, random.Random(0))
    try:
        for line in (*(content for _, content in dialogue.turns), *dialogue.replies):
            phrasing.say(line)
    except (ValueError, IndexError) as error:
        raise DataError(f"{where}: {error}") from error
    return dialogue


def _everyday_block(lines: list[str], where: str) -> Dialogue:
    system, turns = "", list[tuple[str, list[str]]]()
    for line in lines:
        mark, _, content = line.partition(": ")
        content = content.strip()
        role = {"U": "user", "B": "assistant"}.get(mark)
        if mark == "S" and not turns:
            system = content
        elif role and turns and turns[-1][0] == role:
            turns[-1][1].append(content)
        elif role and (turns or role == "user"):
            turns.append((role, [content]))
        else:
            raise DataError(f"{where}: cannot place the line {line!r}")
    if not turns or turns[-1][0] != "assistant":
        raise DataError(f"{where}: the block has no reply")
    *before, (_, replies) = turns
    spoken = tuple((r, c[0] if len(c) == 1 else f"[{OR.join(c)}]") for r, c in before)
    return Dialogue("everyday", spoken, system, tuple(dict.fromkeys(replies)))


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
        spoken = [d.said(rng) for d in chosen if d.replies]
        examples = [(d.turns[-1][1], d.replies[0]) for d in spoken]
        system = "\n".join([system or SYSTEM_PROMPTS[0], *example_lines(examples)])
    return replace(dialogue, system=system)


def example_lines(examples: list[tuple[str, str]]) -> list[str]:
    """Exchanges people liked, as lines of a system prompt."""
    lines = ["People liked these answers:"]
    for question, answer in examples:
        lines += [f"Question: {question}", f"Answer: {answer}"]
    return lines if examples else []
