"""The one thread that owns the model, and the step it repeats.

`_reply` reads from top to bottom: orders from outside (load, free, forget), admission, one pass
of the model over prompts and running replies, delivery to the event loops in one hop. After it
comes at most one slice of background work, and in the middle of that the same for whoever waits.
Others only ever leave something for the next step, under the one lock: a row in the queue, an
order, a cancelled flag.

An error in a reply ends that reply. An error in a step ends the replies that ran, is
logged, and the thread goes on. Should the thread itself fall, everyone who waits is told.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

import torch

from bot.config import EngineConfig
from bot.engine.apart import apart
from bot.engine.background import Background, Task
from bot.engine.base import EngineStats
from bot.engine.batch import Batch
from bot.engine.delivery import Outgoing
from bot.engine.forward import Forward
from bot.engine.histogram import Meters
from bot.engine.memory import Plan
from bot.engine.model import LoadedModel, make_forward
from bot.engine.pace import Pace
from bot.engine.prefix import PrefixStore
from bot.engine.row import Row
from bot.engine.versions import Versions
from bot.engine.waiting import Waiting
from bot.engine.watchdog import Watchdog
from bot.errors import Busy, EngineClosed

T = TypeVar("T")

log = logging.getLogger(__name__)

MOST_OF_ONE = 0.75
"""Share of all places, running and waiting, that one of several tenants may take."""
FIRST_GUESS = 5.0
"""Seconds a reply takes, until one has ended."""


class Worker:
    """The engine's thread and everything it owns."""

    def __init__(
        self, loaded: LoadedModel, config: EngineConfig, share: float, clock: Callable[[], float]
    ) -> None:
        context = loaded.info.context
        self.clock = clock
        self.watchdog = Watchdog(config.watchdog_seconds, clock)

        def make() -> tuple[Forward, Plan]:
            made = make_forward(loaded.model, config, context)
            return made, Plan.of(
                made, rows=config.rows, context=context, kept_mb=config.prefix_cache_mb
            )

        self.forward, self._plan = apart(make)
        self._plan.tell(config.rows, context)
        self.bank = self.forward.bank
        self.outgoing = Outgoing()
        self._threads = loaded.threads
        self._limit = config.rows + config.queue
        self._prefixes = PrefixStore(self._plan.kept)
        self._batch = Batch(
            self.forward,
            self._prefixes,
            size=config.rows,
            pace=Pace(config.prefill_ms / 1e3, config.prefill_chunk),
            context=context,
            room=self._plan.reserve(self.forward.device),
            ends=loaded.info.end_ids,
            turns=loaded.info.turn_ids,
        )
        self._background = Background(loaded.model, share, self._serve)
        self._replies = self._reply_tokens = self._prompt_tokens = self._reused = 0
        self.meters = Meters()
        """Of replies that are somebody's."""
        self._steps = 0
        self._step_seconds = 0.0
        self._mean_reply = FIRST_GUESS
        # What follows is shared with other threads and guarded by this condition.
        self.wake = threading.Condition()
        self.versions = Versions(config.adapter_slots)
        self._waiting = Waiting()
        self._tenants: set[str] = set()
        """All that have ever come."""
        self._live: set[Row] = set()
        self._orders: deque[Callable[[], None]] = deque()
        self.closed = False
        self.thread = threading.Thread(target=self._main, name="engine", daemon=True)

    # What others call, from any thread.

    def check_open(self) -> None:
        """Raise EngineClosed when nothing more is taken."""
        if self.closed:
            raise EngineClosed("the engine is closed")

    def submit(self, row: Row) -> None:
        """Queue a reply.

        Raises:
            EngineClosed, Busy, AdapterError: as `Engine.stream` says.
        """
        with self.wake:
            self.check_open()
            if self._is_full(row.request.tenant):
                rounds = (len(self._waiting) + 1) / self._batch.size
                raise Busy(max(1.0, rounds * self._mean_reply))
            row.slot = self.versions.acquire(row.request.adapter)
            self._waiting.add(row)
            self._live.add(row)
            self.wake.notify()

    def _is_full(self, tenant: str) -> bool:
        """Whether a tenant has to come again later; where there are others, some places stay free
        for them."""
        if tenant:
            self._tenants.add(tenant)
        if len(self._live) >= self._limit:
            return True
        if len(self._tenants) < 2 or not tenant:
            return False
        held = sum(row.request.tenant == tenant for row in self._live)
        return held >= self._limit * MOST_OF_ONE

    def cancel(self, what: Row | Task) -> None:
        """Have a reply or a task stopped with the next step."""
        with self.wake:
            what.cancelled = True
            self.wake.notify()

    def add(self, task: Task) -> None:
        """Queue background work."""
        self.order(lambda: self._background.add(task))

    def order(self, order: Callable[[], None]) -> None:
        """Have something done on the thread, before the next step."""
        with self.wake:
            self.check_open()
            self._orders.append(order)
            self.wake.notify()

    def call(self, work: Callable[[], T]) -> Future[T]:
        """Like `order`, with the outcome."""
        future: Future[T] = Future()

        def order() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                self.check_open()
                future.set_result(work())
            except Exception as error:  # noqa: BLE001  # goes to the one who asked
                future.set_exception(error)

        self.order(order)
        return future

    def forget(self, key: str) -> None:
        """Drop what is kept of a channel, and what its live replies would leave behind."""
        with self.wake:
            for row in self._live:
                if row.request.cache_key == key:
                    row.keep = False
            if not self.closed:
                self.order(lambda: self._prefixes.forget_key(key))

    def drop_drained(self) -> None:
        """Free the slots of retired versions without users; on the thread only."""
        with self.wake:
            drained = self.versions.drained()
        for name, slot in drained:
            self.bank.clear(slot)
            self._prefixes.forget_adapter(name)
            with self.wake:
                self.versions.forget(name)

    def stats(self) -> EngineStats:
        """A snapshot of the counters."""
        with self.wake:
            return EngineStats(
                running=len(self._live) - len(self._waiting),
                queued=len(self._waiting),
                adapters=self.versions.serving(),
                replies=self._replies,
                reply_tokens=self._reply_tokens,
                prompt_tokens=self._prompt_tokens,
                reused_tokens=self._reused,
                steps=self._steps,
                slices=self._background.slices,
                step_seconds=self._step_seconds,
                slice_seconds=self._background.seconds,
                cache_bytes=self._prefixes.size,
                cache_limit=self._prefixes.limit,
                arena_bytes=self._batch.nbytes,
                arena_limit=self._plan.arena,
                packed_bytes=self._plan.packed,
                open=not self.closed,
                stuck=self.watchdog.stuck(),
                waited=self.meters.queued.taken(),
                first_token=self.meters.first_token.taken(),
                token_gap=self.meters.token_gap.taken(),
            )

    def close(self) -> None:
        """Take nothing more and stop after the current step; `thread` can then be joined."""
        with self.wake:
            self.closed = True
            self.wake.notify()

    # The thread.

    def _main(self) -> None:
        torch.set_num_threads(self._threads)
        self.watchdog.start()
        try:
            while self._work_is_there():
                self._step()
        except BaseException:
            log.critical("the engine's thread has fallen", exc_info=True)
            raise
        finally:
            self._shut_down()

    def _work_is_there(self) -> bool:
        """Wait for something to do; False when it is time to stop."""
        self.watchdog.begun = None
        with self.wake:
            self.wake.wait_for(
                lambda: self.closed
                or self._orders
                or len(self._waiting)
                or self._batch.rows
                or self._background.pending
            )
            return not self.closed

    def _step(self) -> None:
        self._background.advance(self._serve())
        self.outgoing.flush()

    def _serve(self) -> float | None:
        """One step for the replies; how many seconds it took, None if there were none."""
        if self.closed:
            return None
        started = self.watchdog.begun = self.clock()
        try:
            busy = self._reply(started)
        except Exception as error:
            log.exception("an engine step failed; its replies end with an error")
            self._recover(error)
            busy = False
        ended = self.watchdog.begun = self.clock()
        if not busy:
            return None
        self._steps += 1
        self._step_seconds += ended - started
        return ended - started

    def _reply(self, now: float) -> bool:
        """Say one more token of every reply; False if there are none."""
        self._obey()
        with torch.inference_mode():
            self._expire(now)
            self._take_off()
            self._admit(now)
            busy = bool(self._batch.rows)
            self._batch.step()
            self._take_off()
            self._batch.keep_prompts()
        return busy

    def _take_off(self) -> None:
        """Count out who has ended, tell everybody what there is, and only then keep and clear up.

        Whoever hears the end and asks again finds a free place, and what is kept of his channel.
        """
        gone = self._batch.ended()
        if gone:
            self._count_out(gone)
        self.outgoing.flush()
        if gone:
            self._batch.sweep()
            self.drop_drained()

    def _recover(self, error: Exception) -> None:
        """End what ran in a failed step, rows that it took off but did not count out too."""
        # The arena is made of inference tensors, which nothing may write to outside.
        with torch.inference_mode():
            self._batch.fail(error)
            with self.wake:
                gone = [row for row in self._live if row.finished]
            self._count_out(gone)
            self.drop_drained()  # of those too that had been counted out before
        self.outgoing.flush()

    def _obey(self) -> None:
        with self.wake:
            orders, self._orders = self._orders, deque()
        for order in orders:
            try:
                order()
            except Exception:
                log.exception("an order to the engine failed")

    def _expire(self, now: float) -> None:
        """End the running replies whose time is up."""
        for row in self._batch.rows:
            if now >= row.expires:
                row.expire()

    def _admit(self, now: float) -> None:
        """Move rows from the queue to the batch while there is room."""
        with self.wake:
            left = self._waiting.take_gone(now)
        for late in left:
            if not late.cancelled:
                late.expire()
        self._retire(left)
        while room := self._batch.free:
            with self.wake:
                row = self._waiting.take(room)
            if row is None:
                return
            try:
                placed = self._batch.admit(row)
            except Exception as error:
                log.exception("a reply could not be admitted")
                row.end("error", error=f"{type(error).__name__}: {error}")
                placed = False
            if not placed:
                self._retire([row])

    def _retire(self, rows: list[Row]) -> None:
        """Count rows out that have ended, and free what waited for them."""
        if rows:
            self._count_out(rows)
            self.drop_drained()

    def _count_out(self, rows: list[Row]) -> None:
        """Let others have their places, and add them to the counters."""
        with self.wake:
            for row in rows:
                self._live.discard(row)
                self.versions.release(row.request.adapter)
        for row in rows:
            timings = row.timings()
            self._replies += 1
            self._reply_tokens += timings.reply_tokens
            if row.known:  # something of its prompt was read
                self._prompt_tokens += timings.prompt_tokens
                self._reused += timings.reused_tokens
            if timings.reply_tokens:
                self._mean_reply += 0.1 * (timings.total - timings.queued - self._mean_reply)

    def _shut_down(self) -> None:
        """Tell everyone who waits."""
        self.watchdog.close()
        with self.wake:
            self.closed = True
            rows = list(self._live)
            self._live.clear()
            self._waiting.clear()
        for row in rows:
            row.end("cancelled")
        self._obey()
        self._background.close(EngineClosed("the engine is closed"))
        with self.wake:
            self.versions.close()
        self.bank.remove()
        self.outgoing.flush()
