"""What an operator's monitoring reads: counts and times of one Rapport, in Prometheus' form.

Replies are watched as they pass (`Measured` stands around an engine), votes and learning runs
are told as they come, and what is going on and who serves is asked for whenever somebody reads.
Counts begin at zero with the process, as Prometheus expects. Labels are names of versions and
words of the code; people, channels and what they say are not known here. What each number means
is said in docs/metrics.md, and who may read them is decided elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import HistogramMetricFamily, Metric

from bot.engine.base import GAPS, WAITS, Around, Delta, Engine, Request
from bot.errors import Busy, PromptTooLong, StoreError
from bot.learning_port import RUN_ENDS, LearningEvent
from bot.store import Store
from bot.types import FinishReason, Timings, Vote, VoteValue

log = logging.getLogger(__name__)

End = FinishReason | Literal["refused"]
"""How a reply ended; ``refused`` are those the engine did not take: a full queue, a long prompt."""

OUTCOMES = ("promote", "shadow", "reject")
VALUES: dict[VoteValue, str] = {1: "like", -1: "dislike", 0: "withdrawn"}
PATIENCE = 3.0
"""Seconds that the database has to say who serves; the rest is told without it."""


class Registry(CollectorRegistry):
    """A registry that leaves out when each count began, which would double the list."""

    def collect(self) -> Iterable[Metric]:
        """All metrics, as they are now."""
        for metric in super().collect():
            metric.samples = [one for one in metric.samples if not one.name.endswith("_created")]
            yield metric


class _Waited:
    """What the engine has counted itself, as Prometheus collects it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterable[Metric]:
        """The histogram of waiting for a row."""
        waited = self._engine.stats().waited
        bounds = (*map(str, waited.bounds), "+Inf")
        below = list(zip(bounds, accumulate(waited.counts), strict=True))
        yield HistogramMetricFamily(
            "rapport_queue_seconds", "From a question to its row.", below, waited.sum
        )


@dataclass(frozen=True, slots=True)
class _Serving:
    adapter: str
    likes: int
    rated: int


class Metrics:
    """The numbers of one Rapport; in a registry of their own, so that there may be several."""

    def __init__(self, store: Store, engine: Engine) -> None:
        self._store = store
        self._engine = engine
        self._reading = asyncio.Lock()
        self.registry = registry = Registry()
        self._replies = Counter(
            "rapport_replies", "Replies that ended.", ("adapter", "finish"), registry=registry
        )
        self._prompt_tokens = Counter(
            "rapport_prompt_tokens", "Prompt tokens of whole replies.", registry=registry
        )
        self._reused_tokens = Counter(
            "rapport_reused_tokens", "Prompt tokens that needed no reading.", registry=registry
        )
        self._reply_tokens = Counter(
            "rapport_reply_tokens", "Tokens of replies.", registry=registry
        )
        self._first_token = Histogram(
            "rapport_first_token_seconds", "From a question to the first token of its reply.",
            buckets=WAITS, registry=registry,
        )
        self._token_gap = Histogram(
            "rapport_token_gap_seconds", "Between two tokens of a reply.",
            buckets=GAPS, registry=registry,
        )
        self._queue = Gauge(
            "rapport_queue_length", "Replies that wait for a row.", registry=registry
        )
        self._rows = Gauge(
            "rapport_running_rows", "Replies that are being generated.", registry=registry
        )
        self._stuck = Gauge(
            "rapport_stuck_seconds", "How long the engine has hung.", registry=registry
        )
        self._cache = Gauge(
            "rapport_prefix_cache_bytes", "Memory of kept prefixes.", registry=registry
        )
        self._cache_limit = Gauge(
            "rapport_prefix_cache_limit_bytes", "Most memory of kept prefixes.", registry=registry
        )
        self._arena = Gauge(
            "rapport_arena_bytes", "Memory of replies that are generated.", registry=registry
        )
        self._arena_limit = Gauge(
            "rapport_arena_limit_bytes", "The same if all were as long as can be.",
            registry=registry,
        )
        self._packed = Gauge(
            "rapport_packed_weights_bytes", "Copies of the weights that are read faster.",
            registry=registry,
        )
        registry.register(_Waited(engine))
        self._votes = Counter(
            "rapport_votes", "Votes as they came.", ("value", "source"), registry=registry
        )
        self._runs = Counter(
            "rapport_learning_runs", "Learning runs that ended.", ("end",), registry=registry
        )
        self._verdicts = Counter(
            "rapport_verdicts", "Verdicts of the gate.", ("outcome",), registry=registry
        )
        self._serving = Gauge(
            "rapport_serving_info", "The version that serves.", ("adapter",), registry=registry
        )
        self._likes = Gauge(
            "rapport_serving_likes", "Likes that hold for the version that serves.", ("adapter",),
            registry=registry,
        )
        self._rated = Gauge(
            "rapport_serving_votes", "Votes that hold for the version that serves.", ("adapter",),
            registry=registry,
        )
        # What happens seldom is there from the start, or its first time would be no increase.
        for end in RUN_ENDS:
            self._runs.labels(end)
        for outcome in OUTCOMES:
            self._verdicts.labels(outcome)

    async def exposition(self) -> tuple[bytes, str]:
        """Everything as text, and the media type of that.

        Where the database does not answer, what it alone knows is left out.
        """
        # One reader at a time: each writes down first what is so now.
        async with self._reading:
            serving = await self._who_serves()
            return await asyncio.to_thread(self._text, serving), CONTENT_TYPE_PLAIN_0_0_4

    def begun(self, waited: float) -> None:
        """A reply has its first token, after so many seconds."""
        self._first_token.observe(waited)

    def went_on(self, gap: float, tokens: int) -> None:
        """A reply has so many more tokens, after so many seconds."""
        for _ in range(tokens):
            self._token_gap.observe(gap / tokens)

    def ended(self, adapter: str, end: End, tokens: int, timings: Timings | None) -> None:
        """A reply of a version has ended; without `timings` where somebody stopped it."""
        self._replies.labels(adapter, end).inc()
        self._reply_tokens.inc(tokens)
        if timings is not None and end != "expired":
            self._prompt_tokens.inc(timings.prompt_tokens)
            self._reused_tokens.inc(timings.reused_tokens)

    def voted(self, vote: Vote) -> None:
        """A vote has been stored."""
        self._votes.labels(VALUES[vote.value], vote.source).inc()

    def hear(self, event: LearningEvent) -> None:
        """Take note of what the learning half tells."""
        if event.kind in RUN_ENDS:
            self._runs.labels(event.kind).inc()
        elif event.kind == "verdict":
            self._verdicts.labels(event.outcome).inc()

    async def _who_serves(self) -> _Serving | None:
        try:
            async with asyncio.timeout(PATIENCE):
                adapter = await self._store.champion()
                likes, rated = await self._store.like_rate(adapter)
        except (StoreError, TimeoutError) as error:
            why = str(error) or "it takes too long"
            log.warning("the database does not say who serves: %s", why)
            return None
        return _Serving(adapter, likes, rated)

    def _text(self, serving: _Serving | None) -> bytes:
        stats = self._engine.stats()
        self._queue.set(stats.queued)
        self._rows.set(stats.running)
        self._stuck.set(stats.stuck)
        self._cache.set(stats.cache_bytes)
        self._cache_limit.set(stats.cache_limit)
        self._arena.set(stats.arena_bytes)
        self._arena_limit.set(stats.arena_limit)
        self._packed.set(stats.packed_bytes)
        for gauge in (self._serving, self._likes, self._rated):
            gauge.clear()
        if serving is not None:
            self._serving.labels(serving.adapter).set(1)
            self._likes.labels(serving.adapter).set(serving.likes)
            self._rated.labels(serving.adapter).set(serving.rated)
        return generate_latest(self.registry)


class Measured(Around):
    """An engine around an engine that watches its replies."""

    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        super().__init__(engine)
        self._metrics = metrics

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Generate one reply; see `Engine.stream`."""
        last = time.monotonic()
        tokens, timings = 0, None
        end: End = "cancelled"  # unless it says how it ends
        try:
            async with aclosing(self._engine.stream(request)) as deltas:
                async for delta in deltas:
                    if delta.ids:
                        before, last = last, time.monotonic()
                        if tokens:
                            self._metrics.went_on(last - before, len(delta.ids))
                        else:
                            self._metrics.begun(last - before)
                    tokens += len(delta.ids)
                    end, timings = delta.finish or end, delta.timings or timings
                    yield delta
        except (Busy, PromptTooLong):
            end = "refused"
            raise
        except Exception:
            end = "error"
            raise
        finally:
            self._metrics.ended(request.adapter, end, tokens, timings)
            log.info(
                "a reply of %s ended (%s): %d tokens%s", request.adapter, end, tokens,
                _in_words(timings),
            )



def _in_words(timings: Timings | None) -> str:
    if timings is None:
        return ""
    best = f", the best of {timings.drawn}" if timings.drawn > 1 else ""
    prompt = f"{timings.reused_tokens} of {timings.prompt_tokens} prompt tokens kept from before"
    return f"{best}; {timings.sentence}; {prompt}"
