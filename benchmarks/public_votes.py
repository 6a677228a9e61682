"""Public votes as the lines that `rapport votes import` takes.

    python -m benchmarks.public_votes hh-rlhf FILE > votes.jsonl

*taskmaster* is the Taskmaster reward data (TM-3, TM-4): a reply to a conversation, with reward 0
or 1. Calls of services, and what they answered, are left out of conversations; where such a call
is the reply itself, so is the line. Who judged is not told, so each line is another person.
*hh-rlhf* is pairs of helpful replies, one chosen and one rejected by the same person: a like and
a dislike. Files are read as they are downloaded, or packed with xz. Nothing is known here of
models, or of what the votes are for.
"""

from __future__ import annotations

import argparse
import json
import lzma
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bot.errors import DataError

Line = dict[str, Any]
"""A vote in the form that is imported."""

SPEAKERS = {
    "user": "user", "agent": "assistant", "Human": "user", "Assistant": "assistant",
}  # fmt: skip
"""Roles by the names they have in the files."""

_TURN = re.compile(r"\n\n(Human|Assistant):")


def taskmaster(row: Mapping[str, Any], number: int) -> Iterator[Line | str]:
    """The vote of a line, or why it is left out."""
    said = json.loads(row["generation"])
    turns = json.loads(row["context"])
    if "text" not in said:
        yield "calls of a service"
        return
    reward = row["reward"]
    if reward not in (0, 1):
        raise ValueError(f"the reward is {reward!r}, not 0 or 1")
    messages = [_message(one["role"], one["text"]) for one in turns if "text" in one]
    yield _vote(messages, said["text"], reward == 1, str(row["conversation_id"]))


def hh_rlhf(row: Mapping[str, Any], number: int) -> Iterator[Line | str]:
    """The like and the dislike of a pair, or why it is left out."""
    (messages, chosen), (others, rejected) = _spoken(row["chosen"]), _spoken(row["rejected"])
    if messages != others:
        yield "pairs of different conversations"
    elif chosen == rejected:
        yield "pairs of the same reply"
    else:
        yield _vote(messages, chosen, True, f"pair {number}")
        yield _vote(messages, rejected, False, f"pair {number}")


SOURCES: Mapping[str, Callable[[Mapping[str, Any], int], Iterator[Line | str]]] = {
    "taskmaster": taskmaster, "hh-rlhf": hh_rlhf,
}  # fmt: skip


def convert(source: str, path: Path) -> tuple[list[Line], Counter[str]]:
    """The votes of a public file, in its order, and how much was left out for which reason.

    Raises:
        DataError: the file cannot be read, or a line is not as the source has them; the message
            has its number.
    """
    votes: list[Line] = []
    left_out: Counter[str] = Counter()
    # Not splitlines: what people said may hold other line breaks than the file does.
    for number, text in enumerate(_read(path).split("\n"), 1):
        if not text.strip():
            continue
        try:
            for found in SOURCES[source](json.loads(text), number):
                if isinstance(found, str):
                    left_out[found] += 1
                else:
                    votes.append(found)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            why = f"lacks {error}" if isinstance(error, KeyError) else str(error)
            raise DataError(
                f"{path.name}: line {number} is none of {source} ({why}); look there, or give "
                "the source that the file is from"
            ) from error
    return votes, left_out


def _read(path: Path) -> str:
    try:
        data = path.read_bytes()
        return (lzma.decompress(data) if path.suffix == ".xz" else data).decode()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except lzma.LZMAError as error:
        raise DataError(f"cannot unpack {path}: {error}; download it again") from error
    except UnicodeDecodeError as error:
        raise DataError(f"cannot read {path}: it is not UTF-8") from error


def _message(speaker: str, text: str) -> dict[str, str]:
    return {"role": SPEAKERS[speaker], "content": text.strip()}


def _spoken(text: str) -> tuple[list[dict[str, str]], str]:
    """The conversation of one side of a pair, and the reply that ends it."""
    before, *rest = _TURN.split(text)
    messages = [_message(*one) for one in zip(rest[::2], rest[1::2], strict=True)]
    if before.strip() or not messages or messages[-1]["role"] != "assistant":
        raise ValueError("it is no conversation that ends with the assistant")
    return messages[:-1], messages[-1]["content"]


def _vote(messages: list[dict[str, str]], reply: str, label: bool, user: str) -> Line | str:
    reply = reply.strip()
    if not messages or messages[-1]["role"] != "user":
        return "replies to nobody"
    if not reply or not all(one["content"] for one in messages):
        return "empty texts"
    return {"messages": messages, "reply": reply, "label": label, "user": user}


def main() -> None:
    """Print the votes of a file; what was left out is told on the standard error."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.public_votes", description="Public votes as JSON lines."
    )
    parser.add_argument("source", choices=SOURCES)
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    try:
        votes, left_out = convert(arguments.source, arguments.file)
    except DataError as error:
        sys.exit(f"error: {error}")
    for one in votes:
        print(json.dumps(one, ensure_ascii=False))
    for why, times in left_out.items():
        print(f"left out: {times} {why}", file=sys.stderr)


if __name__ == "__main__":
    main()
