"""The engine as the rest of Rapport sees it: token ids in, token deltas out.

The engine knows nothing of people, channels' contents, templates or votes. A request
carries everything that shapes its reply, a background job everything it needs to run
beside the replies. `bot.engine.local` serves these protocols with a model in this
process.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bot.types import BASE, FinishReason, Sampling, Timings, Turn

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

WAITS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Bounds of waiting, in seconds: from a short prompt to a long queue."""
GAPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0)
"""Bounds of the pace, in seconds: from a graphics card to a busy processor."""


@dataclass(frozen=True, slots=True)
class Request:
    """One reply to generate."""

    prompt_ids: Sequence[int]
    adapter: str = BASE
    """Name of a loaded adapter, or BASE; fixed for the whole reply."""
    sampling: Sampling = field(default_factory=Sampling)
    cache_key: str = ""
    """Whose kept prefix may be reused and replaced (a channel); empty keeps nothing."""
    tenant: str = ""
    """On whose behalf (a server full of people): tenants who wait are served in turn, and none can
    take all places. Empty is for what is nobody's."""
    best_of: int = 1
    """Replies to draw at most, of which the best is given: by an engine that can tell
    (`bot.engine.choosing`), where it has rows to spare."""
    deadline: float = 0.0
    """Seconds from its submission after which the reply ends with what there is of it, in the queue
    too; 0 sets no limit."""
    log_probs: bool = False
    """Whether to tell how likely each token was."""


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a reply. The last one has `finish` and `timings`."""

    ids: tuple[int, ...]
    """What was sampled, the ids of a stop text too."""
    text: str
    """Decoded text that never ends inside a UTF-8 character, nor holds a part of a stop text; may
    be empty."""
    finish: FinishReason | None = None
    timings: Timings | None = None
    error: str = ""
    """Why, when `finish` is ``error``."""
    log_probs: tuple[float, ...] = ()
    """Of each of `ids`, where the request asks for it: the natural logarithm of how likely the
    model itself found the token, before penalty, biases, temperature and filters. It is what
    `Engine.score` measures."""


@dataclass(frozen=True, slots=True)
class ScoreItem:
    """A given reply to measure: how likely it is after a prompt, under an adapter."""

    prompt_ids: Sequence[int]
    reply_ids: Sequence[int]
    adapter: str = BASE


@dataclass(frozen=True, slots=True)
class Score:
    """Log-probabilities of each reply token (natural logarithm), and the KL to the base.

    `kl_to_base` is the mean over the reply's positions of KL(adapter || base) in nats a
    token; 0.0 for the base itself.
    """

    log_probs: tuple[float, ...]
    kl_to_base: float


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What others need to know of the resident model."""

    name: str
    fingerprint: str
    """Hash of weights' identity, tokenizer and template: equal means interchangeable."""
    parameters: int
    context: int
    """Longest prompt plus reply, in tokens."""
    hidden: int
    device: str
    dtype: str
    end_ids: tuple[int, ...]
    """Ids that end a reply."""
    turn_ids: tuple[int, ...] = ()
    """Ids that open a turn: a reply ends before one, cut as by the length limit for whoever learns
    from it, because nobody was to speak but the model."""
    warnings: tuple[str, ...] = ()
    """What the operator should know, such as a template that breaks prefix reuse."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How often times fell between bounds."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    """How many lie above the bound before, and not above their own; the last have none."""
    sum: float

    def quantile(self, share: float) -> float | None:
        """What a share of all does not exceed, as if each lay evenly between its bounds.

        None of nothing; beyond the last bound it is that bound.
        """
        left = share * sum(self.counts)
        if not left:
            return None
        below = 0.0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            if left <= count:
                return below + (bound - below) * left / count
            left -= count
            below = bound
        return below


@dataclass(frozen=True, slots=True)
class EngineStats:
    """Counters since the start and what is going on now."""

    running: int
    queued: int
    adapters: tuple[str, ...]
    replies: int
    reply_tokens: int
    prompt_tokens: int
    reused_tokens: int
    steps: int
    slices: int
    step_seconds: float
    slice_seconds: float
    cache_bytes: int
    cache_limit: int
    arena_bytes: int
    """Memory of the keys and values of running replies, and what it holds ready for the next."""
    arena_limit: int
    """The same if all were as long as they could be."""
    packed_bytes: int
    """Copies of the weights that are read faster."""
    open: bool
    """Whether replies are taken: not once the engine is closed or its thread has fallen."""
    stuck: float
    """Seconds for which the step or slice under way has lasted, once that is longer than
    `engine.watchdog_seconds`; otherwise 0."""
    waited: Counts
    """Seconds in the queue, of replies on a tenant's behalf; so are the next two."""
    first_token: Counts
    """Seconds from submission to the first token."""
    token_gap: Counts
    """Seconds between two tokens of a reply."""


class Template(Protocol):
    """Turns to token ids and back; owned by the loaded model, safe to call anywhere."""

    def render(self, turns: Sequence[Turn], *, reply_follows: bool = True) -> str:
        """The text the model is shown; marks inside people's words are defused."""

    def encode(self, text: str) -> list[int]:
        """Token ids of rendered text, marks recognised, nothing added."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, marks left out."""


class Resident(Protocol):
    """The model as a background job sees it, on the engine's own thread."""

    model: PreTrainedModel
    """The serving module; never to be changed."""
    device: torch.device
    dtype: torch.dtype

    def twin(self) -> PreTrainedModel:
        """A second module tree over the same parameter tensors, for PEFT to wrap.

        Changing the twin's structure leaves the serving module as it is. The twin's own
        parameters are frozen and shared: nothing may write to them. It pauses by itself
        between its blocks.
        """

    def pause(self) -> None:
        """In the middle of a slice: those who wait for replies are served first."""


Job = Callable[[Resident], Iterator[object]]
"""Work for the engine's thread: each `next` is one slice, and may take tens of ms between pauses.

Called and advanced on the engine's thread with gradients enabled; closed (GeneratorExit)
when cancelled, so that ``finally`` blocks free what they hold.
"""


class Engine(Protocol):
    """What serves replies, holds adapter versions and runs background work."""

    info: ModelInfo
    template: Template

    def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Generate one reply. Closing the iterator cancels it and frees its row.

        The request joins the queue at the first step of the iteration.

        Raises:
            Busy: the queue is full.
            PromptTooLong: prompt and reply cannot fit.
            EngineError: it can never be served so, as with more beams than there are rows.
            AdapterError: the adapter is not loaded.
            EngineClosed: the engine is shutting down.
        """

    async def score(self, items: Sequence[ScoreItem]) -> list[Score]:
        """Measure given replies on the serving path, beside the conversations."""

    async def load(self, name: str, folder: Path) -> None:
        """Make a PEFT LoRA checkpoint servable under `name`, which must be new.

        Raises:
            AdapterError: damaged, another base or rank, or no free slot.
        """

    async def unload(self, name: str) -> None:
        """Forget an adapter once its last queued or running reply has ended."""

    def loaded(self) -> tuple[str, ...]:
        """Names of the adapters that can serve now."""

    def run(self, job: Job) -> AsyncGenerator[object, None]:
        """Run background work in slices; yields what the job yields, in order.

        Closing the iterator cancels the job. An exception of the job is raised here.
        """

    def forget_prefix(self, cache_key: str) -> None:
        """Drop what is kept of a channel (reset, edit, deletion)."""

    def stats(self) -> EngineStats:
        """A snapshot of the counters."""

    async def close(self) -> None:
        """Stop: running replies end as ``cancelled``, the thread is joined."""


async def whole(engine: Engine, request: Request) -> Delta:
    """A reply in one piece, from its first token to its last; see `Engine.stream`."""
    ids: list[int] = []
    log_probs: list[float] = []
    text = ""
    last = Delta((), "", "error", error="no answer")
    async with aclosing(engine.stream(request)) as deltas:
        async for last in deltas:
            ids += last.ids
            log_probs += last.log_probs
            text += last.text
    return replace(last, ids=tuple(ids), text=text, log_probs=tuple(log_probs))


class Ranker(Protocol):
    """Tells which of several replies of a version is best."""

    @property
    def log_probs(self) -> bool:
        """Whether it needs to know how likely their tokens are."""

    async def scores(self, request: Request, replies: Sequence[Delta]) -> Sequence[float]:
        """How good each of some whole replies to a request is: the more, the better."""


class Around:
    """An engine around an engine, which changes nothing: what watches replies, or chooses among
    them, begins with it and says only what it does otherwise."""

    def __init__(self, engine: Engine) -> None:
        self.info = engine.info
        self.template = engine.template
        self._engine = engine

    def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Generate one reply; see `Engine.stream`."""
        return self._engine.stream(request)

    async def score(self, items: Sequence[ScoreItem]) -> list[Score]:
        """Measure given replies; see `Engine.score`."""
        return await self._engine.score(items)

    async def load(self, name: str, folder: Path) -> None:
        """Make a checkpoint servable; see `Engine.load`."""
        await self._engine.load(name, folder)

    async def unload(self, name: str) -> None:
        """Forget an adapter once its last reply has ended; see `Engine.unload`."""
        await self._engine.unload(name)

    def loaded(self) -> tuple[str, ...]:
        """Names of the adapters that can serve now."""
        return self._engine.loaded()

    def run(self, job: Job) -> AsyncGenerator[object, None]:
        """Run background work in slices; see `Engine.run`."""
        return self._engine.run(job)

    def forget_prefix(self, cache_key: str) -> None:
        """Drop what is kept of a channel."""
        self._engine.forget_prefix(cache_key)

    def stats(self) -> EngineStats:
        """The inner engine's counters."""
        return self._engine.stats()

    async def close(self) -> None:
        """Stop; see `Engine.close`."""
        await self._engine.close()


if TYPE_CHECKING:

    def _keeps_the_protocol(engine: Around) -> Engine:
        return engine
