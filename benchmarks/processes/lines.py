"""What goes over the pipes: one line of JSON with prompts in, one with ids and times out.

Times are of `time.perf_counter()`. Nothing outside the standard library is needed here, for any
Python may run it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO, TypedDict

Prompts = list[list[int]]


@dataclass(frozen=True)
class Task:
    """What a process is told when it starts."""

    model: str
    """A folder with `config.json` and `model.safetensors` in fp32."""
    threads: int
    channels: int
    """Prompts in one line at most."""
    context: int
    """Tokens of one prompt and its reply at most."""
    reply_tokens: int

    @classmethod
    def given(cls) -> Task:
        """As the command line has it."""
        return cls(**json.loads(sys.argv[1]))


class Answer(TypedDict):
    """The replies to one line of prompts."""

    start: float
    ids: list[list[int]]
    """Of every reply, in the order of the prompts."""
    times: list[list[float]]
    """When each of these was there."""


@contextmanager
def answers() -> Iterator[TextIO]:
    """Where answers go; whatever else is printed from now on goes to stderr."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    with out:
        yield out


def serve(answer: Callable[[Prompts], Answer], out: TextIO) -> None:
    """Say that the model is ready, then answer line by line until there are no more."""
    print("ready", file=out)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=out)
