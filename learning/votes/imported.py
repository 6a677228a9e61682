"""``rapport votes import``: votes that were gathered elsewhere, as JSON lines.

A line is a conversation, the reply to it, and what somebody thought of that::

    {"messages": [{"role": "user", "content": "hi"}], "reply": "Hello!", "label": true,
     "user": "ada", "time": "2026-11-01T12:00:00Z"}

The whole file is read before anything is kept, so a bad line changes nothing. What is kept are
exchanges and votes like any others, on a platform of their own; the ids are made by the
model's own template, as if it had been asked here. Given twice, a line is taken once. It does
not know what the votes will lead to.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bot.engine.base import Engine, Template
from bot.errors import DataError
from bot.store import Store
from bot.types import ChannelKey, Exchange, Sampling, Timings, Turn, Vote, VoteValue

PLATFORM = "import"
ADAPTER = "imported"
"""What stands for the version that said an imported reply: nobody knows it."""
TOGETHER = 100
"""Lines that are kept at a time, so that they share commits."""
ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class GivenVote:
    """One line."""

    turns: tuple[Turn, ...]
    """The last is a person's."""
    reply: str
    value: VoteValue
    rater: str
    time: datetime | None

    @property
    def name(self) -> str:
        """Equal for the same reply to the same conversation."""
        return _digest(*(f"{turn.role}:{turn.content}" for turn in self.turns), self.reply)

    @property
    def channel(self) -> ChannelKey:
        """Conversations that begin alike are one: they must not be split in learning."""
        first = next(turn.content for turn in self.turns if turn.role == "user")
        return ChannelKey(PLATFORM, "local", _digest(first))


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a file."""

    votes: int
    replies: int
    """New ones."""
    known: int
    """Lines whose reply was there already; their votes count all the same."""
    too_long: int
    """Lines left out, because the model has no room for them."""


def read_votes(lines: Iterable[str]) -> Iterator[GivenVote]:
    """The votes of a file, in order; empty lines are skipped.

    Raises:
        DataError: a line cannot be used; the message has its number and what it lacks.
    """
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield _parsed(json.loads(line))
            except (ValueError, TypeError, KeyError) as error:
                why = f"lacks {error}" if isinstance(error, KeyError) else str(error)
                raise DataError(f"line {number} {why}; nothing was imported") from error


async def import_votes(
    store: Store, engine: Engine, given: Sequence[GivenVote], now: datetime,
    report: Callable[[int], None] = lambda done: None,
) -> Imported:
    """Keep votes and what they are about; what is confirmed is durable.

    Args:
        now: the time of votes that have none.
        report: told how many lines are done.
    """
    known: dict[str, int] = {}
    new = old = too_long = votes = 0
    for start in range(0, len(given), TOGETHER):
        part = given[start : start + TOGETHER]
        exchanges = await asyncio.to_thread(exchanges_of, engine, part, now)
        fitting = [one for one in part if one.name in exchanges]
        too_long += len(part) - len(fitting)
        wanted = {one.name: one for one in fitting if one.name not in known}
        found = await asyncio.gather(
            *(store.exchange_of(one.channel, name) for name, one in wanted.items())
        )
        known |= {name: key for name, key in zip(wanted, found, strict=True) if key is not None}
        missing = [name for name in wanted if name not in known]
        kept = await asyncio.gather(*(store.add_exchange(exchanges[name]) for name in missing))
        known |= dict(zip(missing, kept, strict=True))
        new, old = new + len(missing), old + len(fitting) - len(missing)
        await asyncio.gather(*(
            store.add_vote(Vote(known[one.name], one.rater, one.value, "import", one.time or now))
            for one in fitting
        ))
        votes += len(fitting)
        report(start + len(part))
    return Imported(votes, new, old, too_long)


def exchanges_of(
    engine: Engine, given: Iterable[GivenVote], now: datetime
) -> dict[str, Exchange]:
    """What votes are about, by `GivenVote.name`; only what the model has room for. Blocks."""
    found = {}
    for one in given:
        prompt_ids, reply_ids = _ids(engine.template, one, engine.info.end_ids)
        if len(prompt_ids) + len(reply_ids) <= engine.info.context:
            found[one.name] = Exchange(
                channel=one.channel, asker=one.rater, authors=(one.rater,), prompt=one.turns,
                prompt_ids=prompt_ids, reply_ids=reply_ids, reply=one.reply, finish="stop",
                adapter=ADAPTER, base=engine.info.fingerprint, sampling=Sampling(),
                timings=Timings(), time=one.time or now, platform_ids=(one.name,),
            )
    return found


def _ids(
    template: Template, given: GivenVote, end_ids: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Prompt and reply as the model would have seen and said them, its end included."""
    asked = template.render(given.turns)
    whole = template.render([*given.turns, Turn("assistant", given.reply)], reply_follows=False)
    said = template.encode(whole[len(asked) :] if whole.startswith(asked) else given.reply)
    ends = [place for place, token in enumerate(said) if token in end_ids]
    reply = [*said[: ends[0]], said[ends[0]]] if ends else [*said, end_ids[0]]
    return tuple(template.encode(asked)), tuple(reply)


def _parsed(row: Any) -> GivenVote:
    if not isinstance(row, dict):
        raise TypeError("is no JSON object")
    turns = tuple(_turn(one) for one in _list(row["messages"]))
    if not turns or turns[-1].role != "user":
        raise ValueError("has 'messages' whose last is not the user's")
    reply = _text(row["reply"], "reply")
    return GivenVote(turns, reply, _value(row["label"]), _text(row["user"], "user"), _time(row))


def _value(label: Any) -> VoteValue:
    # 0 is a withdrawal here and a dislike elsewhere: whoever means one of them must say so.
    if label is True or label == 1:
        return 1
    if label is False or label == -1:
        return -1
    raise ValueError(f"has the label {label!r}; true (or 1) is liked, false (or -1) is not")


def _turn(row: Any) -> Turn:
    if not isinstance(row, dict) or row.get("role") not in ROLES:
        raise ValueError(f"has a message whose role is none of {', '.join(ROLES)}")
    return Turn(row["role"], _text(row.get("content"), "content"))


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("has 'messages' that are no list")
    return value


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise TypeError(f"has no text as {name!r}")
    return value


def _time(row: dict[str, Any]) -> datetime | None:
    if row.get("time") is None:
        return None
    try:
        time = datetime.fromisoformat(_text(row["time"], "time"))
    except ValueError:
        raise ValueError(f"has the time {row['time']!r}; write 2026-11-01T12:00:00Z") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
