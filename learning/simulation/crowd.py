"""The people of a simulation: a scripted taste, the users who share it, and trolls.

A rater file is trusted code of the operator: it is imported and run with all the rights
of this process. This module knows no model, store or conversation; it turns a
conversation and a reply into a vote, and the same seed always into the same vote.
"""

from __future__ import annotations

import hashlib
import importlib.util
import random
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal, get_args

from bot.errors import DataError
from bot.types import Turn

SHIPPED = Path(__file__).parent / "raters"
"""Where the example raters lie; `--rater short_replies` finds them by name."""

Behaviour = Literal["invert", "down", "up"]
VoteFunction = Callable[[list[dict[str, str]], str, random.Random], object]


def derived_seed(*parts: int | str) -> int:
    """A seed for one purpose, from the parts that name it; the same on every machine."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 33


@dataclass(frozen=True, slots=True)
class Rater:
    """The `vote` function of a rater file."""

    path: Path
    function: VoteFunction
    line: int
    """Where the function begins, for error messages."""

    def vote(self, messages: Sequence[Turn], reply: str, rng: random.Random) -> int | None:
        """+1 liked, -1 disliked, None for no vote.

        Args:
            messages: what was said before the reply; the last is the user's.

        Raises:
            DataError: the function raised, or returned anything else.
        """
        said = [{"role": turn.role, "content": turn.content} for turn in messages]
        try:
            value = self.function(said, reply, rng)
        except Exception as error:
            where = _line_in(self.path, error) or self.line
            kind = type(error).__name__
            raise DataError(f"{self.path}:{where}: vote raised {kind}: {error}") from error
        if value is None:
            return None
        if type(value) is int and value in (1, -1):
            return value
        raise DataError(
            f"{self.path}:{self.line}: vote returned {value!r}; return 1, -1 or None (no vote)"
        )


def load_rater(path: Path) -> Rater:
    """Import a rater file, or one that ships with Rapport when only its name is given.

    Raises:
        DataError: no such file, it cannot be imported, or it defines no `vote`.
    """
    if not path.exists() and path.parent == Path() and not path.suffix:
        path = SHIPPED / f"{path}.py"
    if not path.is_file():
        shipped = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.py")))
        raise DataError(f"there is no rater file {path}; these ship with Rapport: {shipped}")
    function = getattr(_imported(path), "vote", None)
    if not callable(function):
        raise DataError(
            f"{path}:1: defines no vote; add def vote(messages, reply, rng) that returns "
            "1, -1 or None"
        )
    code = getattr(function, "__code__", None)
    return Rater(path, function, code.co_firstlineno if code else 1)


def _imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"rapport_rater_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise DataError(f"{path} is not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise DataError(f"{path}:{error.lineno or 1}: {error.msg}") from error
    except Exception as error:
        where = _line_in(path, error) or 1
        raise DataError(f"{path}:{where}: {type(error).__name__}: {error}") from error
    return module


def _line_in(path: Path, error: BaseException) -> int | None:
    """The deepest line of the file on the way to an error."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == path]
    return lines[-1] if lines else None


@dataclass(frozen=True, slots=True)
class Trolls:
    """A share of the users who do not vote by taste."""

    share: float
    behaviour: Behaviour


def parse_trolls(text: str) -> Trolls:
    """Read ``SHARE:invert``, ``SHARE:down`` or ``SHARE:up``, such as ``0.2:invert``.

    Raises:
        DataError: another form, or a share that is not from 0 to 1.
    """
    share, colon, behaviour = text.partition(":")
    try:
        number = float(share)
    except ValueError:
        number = -1.0
    for known in get_args(Behaviour):
        if colon and behaviour == known and 0.0 <= number <= 1.0:
            return Trolls(number, known)
    raise DataError(
        f"--trolls {text}: write SHARE:invert, SHARE:down or SHARE:up with a share from 0 to 1, "
        "such as 0.2:invert"
    )


class Crowd:
    """The users who vote, some of them trolls; who asks and who trolls follows from the seed."""

    def __init__(self, rater: Rater, raters: int, trolls: Sequence[Trolls], seed: int) -> None:
        self._rater = rater
        self._seed = seed
        self.users = tuple(f"rater-{number:03d}" for number in range(raters))
        mixed = random.Random(derived_seed(seed, "trolls")).sample(self.users, raters)
        self.trolls: dict[str, Behaviour] = {}
        for group in trolls:
            free = mixed[len(self.trolls) :]
            chosen = free[: round(group.share * raters)]
            self.trolls |= dict.fromkeys(chosen, group.behaviour)

    def user(self, index: int) -> str:
        """Who asks the question with this number, and votes on its answer."""
        return random.Random(derived_seed(self._seed, "user", index)).choice(self.users)

    def vote(self, index: int, messages: Sequence[Turn], reply: str) -> int | None:
        """What that user votes; a troll that inverts abstains where the taste abstains."""
        behaviour = self.trolls.get(self.user(index))
        if behaviour == "up":
            return 1
        if behaviour == "down":
            return -1
        rng = random.Random(derived_seed(self._seed, "vote", index))
        value = self._rater.vote(messages, reply, rng)
        return -value if behaviour == "invert" and value is not None else value

    def judge(self, index: int, messages: Sequence[Turn], reply: str) -> int | None:
        """What the taste itself says of a held-out reply: never a troll's vote."""
        rng = random.Random(derived_seed(self._seed, "judge", index))
        return self._rater.vote(messages, reply, rng)
