"""What the talking half sees of the learning half: one Protocol and the values it speaks in.

Pure typing. Commands, the dashboard and the terminal are given an object of this shape by
`bot.app`; nothing here knows how learning is done. Answers are sentences that can be
shown as they are; a refusal is raised as a `RapportError` whose message can be shown too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from bot.types import AdapterRef, ChannelKey, FinishReason, Vote, VoteValue

EventKind = Literal[
    "queued", "stage", "progress", "verdict", "swapped", "finished", "failed", "cancelled",
    "rolled_back", "fallback", "tried", "waiting", "approved", "vetoed", "review",
    "watched", "drift",
]
RUN_ENDS = ("finished", "failed", "cancelled")
"""The kinds of events that a run ends with."""
ReportState = Literal["serving", "waiting", "turned away", "shadow", "retired"]


@dataclass(frozen=True, slots=True)
class LearningEvent:
    """Something that happened in the learning half, worth showing as it comes."""

    kind: EventKind
    text: str
    """One sentence."""
    time: datetime
    run: int | None = None
    adapter: str = ""
    progress: float = 0.0
    """Of the stage, from 0 to 1."""
    outcome: str = ""
    """What a verdict comes to: ``promote``, ``reject`` or ``shadow``."""


@dataclass(frozen=True, slots=True)
class RunningStage:
    """The run that is on, as far as it has come."""

    run: int
    adapter: str
    stage: str
    """``preparing``, ``training``, ``judging`` or ``publishing``."""
    progress: float
    eta_seconds: float | None = None
    step: int = 0
    steps: int = 0
    loss: float | None = None
    held_out: float | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A run that was asked for."""

    run: int
    text: str
    """One sentence: whether it starts now."""


@dataclass(frozen=True, slots=True)
class LearningStatus:
    """What `/learn status` shows."""

    serving: str
    votes_since: int
    """Votes since the last run began."""
    running: RunningStage | None = None
    queued: bool = False
    """Whether another run follows."""
    verdict: str = ""
    """The last sentence of the gate."""
    next_time: datetime | None = None
    paused: bool = False
    tries: dict[str, str] = field(default_factory=dict)
    """Channels that try a version."""
    watched: str = ""
    """How the version is doing that is watched after its promotion, in a sentence."""


@dataclass(frozen=True, slots=True)
class ReportCheck:
    """One question the gate asked."""

    name: str
    passed: bool
    reason: str
    """One sentence with the numbers."""


@dataclass(frozen=True, slots=True)
class Report:
    """A verdict as people can read it."""

    adapter: str
    champion: str
    """What it was compared with."""
    outcome: Literal["promote", "reject", "shadow"]
    state: ReportState
    """``waiting`` is for an operator's approval."""
    sentence: str
    """What there is to say, if there is room for no more."""
    checks: tuple[ReportCheck, ...]
    samples: tuple[tuple[str, str, str], ...]
    """Prompt, reply before, reply after; none once words it learned from were deleted."""
    picture: bytes
    """PNG of the loss curves and the checks; empty where matplotlib is absent."""


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """A liked reply that is not learned from before an operator has looked at it."""

    exchange_id: int
    question: str
    reply: str
    novel: tuple[str, ...]
    """What in the reply nobody else has said: links, addresses, mentions, long numbers."""
    raters: tuple[str, ...]
    """Who rated it."""
    time: datetime


@dataclass(frozen=True, slots=True)
class RaterTrust:
    """Somebody who votes, and what that counts."""

    rater: str
    """The platform's id of the person."""
    votes: int
    """Those that hold."""
    likes: int
    trust: float | None
    """By how often others agree, above 0 and at most 1; None where nobody is weighed by that."""
    weight: float
    """What one vote counts in the end, at most 1."""
    reasons: tuple[str, ...]
    """One for each rule that took weight away."""
    banned: bool = False
    """Whether an operator has said that their votes count no more."""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a document as a table; columns without headings have none."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Two versions compared: settings, data, verdicts, figures and replies."""

    notes: tuple[str, ...]
    """What to know before comparing."""
    sections: tuple[Section, ...]


class Learning(Protocol):
    """The learning half, as commands, conversations and pages use it."""

    def current(self, channel: ChannelKey) -> str:
        """The adapter a new reply in `channel` is to come from; never waits."""

    async def on_vote(self, vote: Vote) -> None:
        """Say that a vote has been stored."""

    def on_reply(
        self, adapter: str, finish: FinishReason, text: str, ids: Sequence[int]
    ) -> None:
        """Say how a reply of a version has ended; never waits."""

    async def retrain(self) -> Asked:
        """Ask for a run now; at most one waits behind the one that is on.

        Raises:
            NothingToLearn: too few votes, with the numbers.
            LearningError: paused or switched off.
        """

    async def cancel(self) -> str:
        """Give up the run that is on, or else the one that waits."""

    async def status(self) -> LearningStatus:
        """How things stand."""

    async def adapters(self) -> list[AdapterRef]:
        """Every version, oldest first."""

    async def report(self, name: str | None = None) -> Report:
        """The newest verdict, or the newest on this version.

        Raises:
            LearningError: there is none yet.
        """

    async def approve(self, name: str) -> str:
        """Let a version that waits for approval serve.

        Raises:
            AdapterError: damaged, or made for another base.
            LearningError: it does not wait, or the champion has changed since the verdict.
        """

    async def promote(self, name: str) -> str:
        """Let a judged version serve on an operator's word, whatever the gate said.

        Raises:
            AdapterError: unknown, damaged, never judged, or made for another base.
            LearningError: it serves already, or another one has begun to meanwhile.
        """

    async def difference(self, one: str, other: str) -> SideBySide:
        """Two versions side by side.

        Raises:
            AdapterError: there is no such version.
        """

    async def raters(self) -> list[RaterTrust]:
        """Everybody whose votes hold, those with the most first, and who is banned.

        Reads every rated reply, as `review` does.
        """

    async def ban(self, rater: str, by: str) -> str:
        """Let somebody's votes count no more, past and future ones; a sentence on what follows.

        Args:
            by: who says so, as ``platform/person``.

        Raises:
            StoreError: nobody of that name has voted, or they are banned already.
        """

    async def unban(self, rater: str, by: str) -> str:
        """Let a banned person's votes count again; a sentence on what follows.

        Raises:
            StoreError: they are not banned.
        """

    async def veto(self, name: str) -> str:
        """Turn a version away that waits for approval; it never serves.

        Raises:
            LearningError: it does not wait.
        """

    async def review(self) -> list[ReviewItem]:
        """Liked replies that wait for an operator's word, oldest first."""

    async def decide(self, exchange_id: int, keep: bool, by: str) -> str:
        """Say whether a reply may be learned from; a sentence on what follows.

        Args:
            by: who decides, as ``platform/person``.

        Raises:
            LearningError: there is no such reply.
        """

    async def try_version(self, channel: ChannelKey, name: str | None) -> str:
        """Let one channel talk with a version, or with None follow the others again.

        Raises:
            AdapterError: unknown, damaged, or made for another base.
            LearningError: not judged, rejected, or no slot is free.
        """

    async def rollback(self, to: str | None = None) -> str:
        """Serve the champion before this one again, or the one named, or ``base``.

        Raises:
            AdapterError: unknown, damaged, or made for another base.
            LearningError: there is nothing to go back to, or it never was champion.
        """

    async def forget(self, exchanges: Collection[int]) -> str:
        """Unlearn exchanges that were deleted, at once; a sentence on what that meant."""

    async def export(self, form: str) -> str:
        """All votes of people who consent, as text: csv, or sft, kto or dpo as JSON lines.

        Raises:
            DataError: an unknown format.
        """

    async def pause(self) -> str:
        """Start no runs until `resume`; the one that is on goes on. Survives a restart."""

    async def resume(self) -> str:
        """Let runs start again."""

    def listen(self, callback: Callable[[LearningEvent], None]) -> Callable[[], None]:
        """Call `callback` with each event, on the event loop; returns what ends that."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What simulated people did: a question, what came back, and what they thought of it."""

    channel: ChannelKey
    person: str
    question: str
    reply: str
    adapter: str
    exchange: int
    value: VoteValue


class Crowd(Protocol):
    """Simulated people who talk with the bot and rate what it says, for newcomers to watch."""

    @property
    def progress(self) -> tuple[int, int]:
        """Votes so far, and votes in all; zeros while nobody is at it."""

    @property
    def trouble(self) -> str:
        """Why those who came last left before the end; empty where they did not."""

    async def close(self) -> None:
        """Send them away; what they said and voted stays."""

    def tastes(self) -> dict[str, str]:
        """What people may like: names, and what each means in a few words."""

    async def start(self, taste: str, votes: int) -> None:
        """Have people of a taste vote so often, beside everything else.

        Raises:
            LearningError: others are at it, or there is no such taste.
        """

    def watch(self, callback: Callable[[Seen], None]) -> Callable[[], None]:
        """Call `callback` with each question, reply and vote; returns what ends that."""
