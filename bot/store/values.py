"""The values the store gives back that no other room makes.

Pure and frozen, like those of `bot.types`; they live here because only stored things
have a row id, a run number or a place in a channel's history.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from bot.types import ChannelKey, FinishReason, Message, Timings, VoteValue

Decision = Literal["granted", "refused", ""]
"""What a person said to their words being learned from; empty while they have not."""


@dataclass(frozen=True, slots=True)
class StoredTurn:
    """One line of a channel's history: something a person said, or a reply."""

    role: Literal["user", "assistant"]
    content: str
    author: str | None
    """The platform's id of the person; None for a reply."""
    exchange_id: int | None
    """The exchange that the reply belongs to; None for a person's message."""
    author_name: str = ""
    adapter: str = ""
    """The version that replied; empty for a person's message."""


@dataclass(frozen=True, slots=True)
class WaitingMessage:
    """A message on record that has no answer yet."""

    id: int
    message: Message


@dataclass(frozen=True, slots=True)
class Posted:
    """A message that a reply, or a part of it, stands in."""

    exchange_id: int
    channel: ChannelKey
    platform_id: str


@dataclass(frozen=True, slots=True)
class Moment:
    """When and where an exchange took place, and who asked: what parts are cut from."""

    exchange_id: int
    channel: ChannelKey
    time: datetime
    asker: str = ""


@dataclass(frozen=True, slots=True)
class FollowUp:
    """What the one who asked did after a reply."""

    exchange_id: int
    question: str
    """As it reads now, edits included."""
    next: str
    """What they said next in the channel, soon after the reply; empty where nothing."""


@dataclass(frozen=True, slots=True)
class Review:
    """What an operator decided about a reply that waited to be learned from."""

    exchange_id: int
    keep: bool
    """Whether it may be learned from."""
    by: str
    """Who decided, as ``platform/person``; empty once that person was forgotten."""
    time: datetime


@dataclass(frozen=True, slots=True)
class Ban:
    """Somebody whose votes count no more."""

    rater: str
    votes: int
    """How often they have voted, withdrawals left out; none of it holds."""
    by: str
    """Who said so, as ``platform/person``; empty once that person was forgotten."""
    time: datetime


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a person said of two versions' replies to one prompt, in one respect."""

    one: str
    other: str
    judge: str
    """Who, as ``platform/person``."""
    prompt: str
    """Digest of the conversation that both replied to."""
    seed: int
    """What both replies were drawn with."""
    question: str
    """In which respect: ``relevance``, ``diversity``, ``fluency`` or ``interest``."""
    value: int
    """1 where the reply of `one` is better, -1 where that of `other` is, 0 where neither."""
    asked: bool
    """False where the two replies were the same, so that nobody had to be asked."""
    time: datetime


@dataclass(frozen=True, slots=True)
class Ending:
    """How a reply ended."""

    finish: FinishReason
    text: str
    ids: tuple[int, ...]
    """Only of one that the length limit cut; elsewhere they say nothing about its end."""


@dataclass(frozen=True, slots=True)
class Said:
    """A reply as those see it who ask how many are rated."""

    adapter: str
    time: datetime
    rated: datetime | None
    """When the first of the votes that hold for it was given."""


@dataclass(frozen=True, slots=True)
class Cast:
    """A vote as it came, with where it came from and on which version."""

    exchange_id: int
    rater: str
    value: VoteValue
    source: str
    time: datetime
    adapter: str
    platform: str
    guild: str


@dataclass(frozen=True, slots=True)
class Timed:
    """Where the time of one reply went."""

    exchange_id: int
    adapter: str
    time: datetime
    timings: Timings


@dataclass(frozen=True, slots=True)
class Outcome:
    """The short of a verdict."""

    outcome: str
    champion: str
    """What the version was compared with."""
    sentence: str


@dataclass(frozen=True, slots=True)
class Traces:
    """What there is, or was, of people in the store."""

    messages: int
    exchanges: tuple[int, ...]
    """Ids of those that were asked by them or hold their words, ascending."""
    votes: int
    channels: tuple[ChannelKey, ...]
    """Where the messages and exchanges are."""


@dataclass(frozen=True, slots=True)
class Run:
    """One learning run, as far as it has come."""

    id: int
    trigger: str
    settings: dict[str, Any]
    status: str
    """``running`` from the start; the learning room says what follows."""
    stage: str
    progress: float
    """From 0 to 1."""
    adapter: str | None
    snapshot: str | None
    message: str
    started: datetime
    finished: datetime | None
    metrics: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """Something worth telling the admins."""

    id: int
    kind: str
    data: dict[str, Any]
    time: datetime
