"""The values that travel between the rooms: pure, frozen, without I/O.

Nothing here knows a platform, a database or a model. Identity (row ids) belongs to the
store; a value carries an id only once the store has given it one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

BASE = "base"
"""The adapter name that stands for the model without any adapter."""

LOCAL = frozenset({"console", "playground", "simulate", "import"})
"""Platforms that only the operator reaches: no permissions, no limits, nobody else's words."""

FinishReason = Literal["stop", "length", "timeout", "expired", "cancelled", "error"]
"""How a reply ended: by itself, at the limit of tokens, cut by its deadline, at its deadline before
the first word, stopped by whoever asked or by the end of the bot, or in the engine's failure."""
Role = Literal["system", "user", "assistant"]
VoteValue = Literal[-1, 0, 1]
"""+1 liked, -1 disliked, 0 withdrawn."""


@dataclass(frozen=True, slots=True)
class ChannelKey:
    """Where a conversation takes place; `guild` is a server, workspace or ``local``."""

    platform: str
    guild: str
    channel: str

    def __str__(self) -> str:
        return f"{self.platform}/{self.guild}/{self.channel}"

    @property
    def tenant(self) -> str:
        """The people whom the machine is shared with as one: everybody of a guild."""
        return f"{self.platform}/{self.guild}"


@dataclass(frozen=True, slots=True)
class Message:
    """Something a person said, as a platform hands it over."""

    channel: ChannelKey
    author: str
    """The platform's id of the person."""
    text: str
    platform_id: str
    """The platform's id of the message; unique within the channel."""
    time: datetime
    author_name: str = ""
    private: bool = False
    """True for direct messages and private channels: never learned from unless enabled."""
    roles: tuple[str, ...] = ()
    """The platform's ids of the roles or groups that the person has there."""
    within: tuple[str, ...] = ()
    """Ids of what the channel lies in: a thread's channel, a channel's category."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One line of a conversation as the model is shown it."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a reply is drawn. Temperature 0 is greedy; 0 or 1 switches a filter off."""

    temperature: float = 0.8
    top_k: int = 0
    top_p: float = 0.95
    repetition_penalty: float = 1.0
    max_tokens: int = 120
    seed: int | None = None
    min_p: float = 0.0
    """A token must be so likely, as a share of the likeliest."""
    min_tokens: int = 0
    """The reply does not end by itself, nor does another turn begin, before so many tokens."""
    bad_words: tuple[tuple[int, ...], ...] = ()
    """Token ids that must not be said, one alone or several in a row."""
    logit_bias: tuple[tuple[int, float], ...] = ()
    """Token ids, each with a finite number that is added to its logit."""
    stop: tuple[str, ...] = ()
    """Texts that end a reply; it is what stands before the first."""
    beams: int = 1
    """Beginnings that are pursued at once, each in a row of its own, of which the reply is the best
    that ends; above 1 it is greedy and comes whole (`bot.engine.beams`)."""
    length_penalty: float = 1.0
    """Their scores are divided by the length to this power: the higher, the longer the reply."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time of a reply went, in seconds, and how much of its prompt was reused."""

    queued: float = 0.0
    first_token: float = 0.0
    """From submission to the first token."""
    total: float = 0.0
    prompt_tokens: int = 0
    reused_tokens: int = 0
    reply_tokens: int = 0
    drawn: int = 1
    """Replies that were drawn, of which this is the best."""
    mean_gap: float = 0.0
    """Between two tokens; 0 where there are not two."""
    worst_gap: float = 0.0

    @property
    def reuse(self) -> float:
        """Reused prompt tokens / prompt tokens."""
        return self.reused_tokens / self.prompt_tokens if self.prompt_tokens else 0.0

    @property
    def sentence(self) -> str:
        """Where the time went, for an operator."""
        return (
            f"{self.queued:.2f} s for its turn, {self.first_token:.2f} s to its first token, then "
            f"{self.mean_gap * 1e3:.0f} ms a token, {self.worst_gap * 1e3:.0f} ms at most"
        )


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question, the reply, and exactly what the model saw and said."""

    channel: ChannelKey
    asker: str
    """Author id of the message that was answered."""
    authors: tuple[str, ...]
    """Author ids of everyone whose words are in the prompt, in its examples too."""
    prompt: tuple[Turn, ...]
    """The turns that were rendered into `prompt_ids`, system prompt first."""
    prompt_ids: tuple[int, ...]
    reply_ids: tuple[int, ...]
    """Generated ids, the end-of-turn token included when the reply ended by itself. Where a text
    of `Sampling.stop` ended it there is none: the last ids say that text, and perhaps a little
    behind it, which is not in `reply`."""
    reply: str
    finish: FinishReason
    adapter: str
    base: str
    """Fingerprint of the base model and template (`ModelInfo.fingerprint`)."""
    sampling: Sampling
    timings: Timings
    time: datetime
    private: bool = False
    id: int = 0
    """Given by the store."""
    platform_ids: tuple[str, ...] = field(default=())
    """The platform's ids of the posted reply; a long one is several messages."""
    examples: tuple[int, ...] = ()
    """Ids of the liked exchanges that the prompt showed as examples."""


@dataclass(frozen=True, slots=True)
class Example:
    """A liked exchange, short enough to be shown to the model in later prompts."""

    exchange_id: int
    question: str
    reply: str
    authors: tuple[str, ...]
    """The asker, and everyone else whose words were in the prompt."""


@dataclass(frozen=True, slots=True)
class Vote:
    """One person's reaction to one exchange, as it came."""

    exchange_id: int
    rater: str
    value: VoteValue
    source: str
    """``terminal``, ``reaction``, ``button`` or ``simulate``."""
    time: datetime


@dataclass(frozen=True, slots=True)
class AdapterRef:
    """A version the model can answer with: its name and when it appeared."""

    name: str
    status: Literal[
        "champion", "retired", "candidate", "shadow", "rejected", "broken", "waiting"
    ]
    """``waiting`` is for an operator's approval."""
    created: datetime
    verdict: str = ""
    """One sentence of the gate."""


def last_user_text(turns: Sequence[Turn]) -> str:
    """The newest thing a person said in `turns`, or an empty string."""
    return next((turn.content for turn in reversed(turns) if turn.role == "user"), "")


def likeness(prompt: Iterable[Turn], reply: str) -> tuple[object, ...]:
    """Equal where the same was said to the same words, but for spaces and the prompt's case."""
    asked = tuple((turn.role, " ".join(turn.content.casefold().split())) for turn in prompt)
    # Case and punctuation of a reply may be just what people like or dislike about it.
    return (asked, " ".join(reply.split()))
