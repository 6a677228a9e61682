"""The engine in this process, as the rest of Rapport calls it: coroutines over one thread.

Everything here runs on the caller's event loop and does nothing slow: it checks what is
asked, leaves it for the engine's thread (`bot.engine.worker`) and waits for what comes
back. It knows no text beyond the template it passes on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from bot.config import EngineConfig
from bot.engine.adapter_file import AdapterWeights, read_adapter
from bot.engine.apart import apart
from bot.engine.background import Ended, Task
from bot.engine.base import Delta, Engine, EngineStats, Job, Request, Score, ScoreItem, Template
from bot.engine.beams import Search, refused
from bot.engine.delivery import Mailbox
from bot.engine.model import LoadedModel
from bot.engine.row import Row
from bot.engine.scoring import score_job
from bot.engine.worker import Worker
from bot.errors import AdapterError, EngineError, PromptTooLong
from bot.types import BASE


class LocalEngine:
    """Serves replies, holds adapter versions and runs background work on one model.

    Args:
        loaded: the model; nobody else may run it from now on.
        config: rows, queue, cache and adapter limits.
        share: fraction of time that background work may take while replies run.
        clock: seconds that only grow, for all that is told in time.
    """

    def __init__(
        self, loaded: LoadedModel, config: EngineConfig, share: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.info = loaded.info
        self.template: Template = loaded.template
        self._rows = config.rows
        self._worker = Worker(loaded, config, share, clock)
        self._worker.thread.start()

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Generate one reply; see `Engine.stream`."""
        self._check_length(request.prompt_ids, 1)
        if why := refused(request.sampling, self._rows):
            raise EngineError(why)
        box: Mailbox[Delta] = Mailbox(lambda: self._worker.cancel(row))
        kind = Search if request.sampling.beams > 1 else Row
        row = kind(
            request,
            self.info.context,
            self.template.decode,
            lambda delta: self._worker.outgoing.add(box, delta),
            self._worker.clock,
            self._worker.meters if request.tenant else None,
        )
        self._worker.submit(row)
        try:
            while True:
                delta = await box.get()
                yield delta
                if delta.finish is not None:
                    return
        finally:
            if not row.finished:
                self._worker.cancel(row)

    async def score(self, items: Sequence[ScoreItem]) -> list[Score]:
        """Measure given replies; see `Engine.score`."""
        for item in items:
            self._check_length(item.prompt_ids, len(item.reply_ids))
        found: dict[int, Score] = {}
        with self._using({item.adapter for item in items}) as slots:
            async for scores in self.run(score_job(items, self._worker.forward, slots)):
                found.update(cast("list[tuple[int, Score]]", scores))
        return [found[index] for index in range(len(items))]

    async def load(self, name: str, folder: Path) -> None:
        """Make a checkpoint servable; see `Engine.load`."""
        worker = self._worker
        with worker.wake:
            worker.check_open()
            slot = worker.versions.reserve(name)
        try:
            bank = worker.bank
            weights = await asyncio.to_thread(
                apart, lambda: read_adapter(folder, bank.shapes(), bank.rank)
            )
            await asyncio.wrap_future(worker.call(lambda: self._install(name, slot, weights)))
        finally:
            with worker.wake:
                worker.versions.abandon(name, slot)

    async def unload(self, name: str) -> None:
        """Forget an adapter once its last reply has ended; see `Engine.unload`."""
        worker = self._worker
        with worker.wake:
            worker.check_open()
            gone = worker.versions.retire(name)
            worker.order(worker.drop_drained)
        await asyncio.shield(asyncio.wrap_future(gone))

    def loaded(self) -> tuple[str, ...]:
        """Names of the adapters that can serve now."""
        with self._worker.wake:
            return self._worker.versions.serving()

    async def run(self, job: Job) -> AsyncGenerator[object, None]:
        """Run background work in slices; see `Engine.run`."""
        box: Mailbox[object] = Mailbox(lambda: self._worker.cancel(task))
        task = Task(job, lambda item: self._worker.outgoing.add(box, item))
        self._worker.add(task)
        item: object = None
        try:
            while not isinstance(item := await box.get(), Ended):
                yield item
            if item.error is not None:
                raise item.error
        finally:
            if not isinstance(item, Ended):
                self._worker.cancel(task)
            # When this returns, whatever the job held is free again.
            while not isinstance(item, Ended):
                item = await box.get()

    def forget_prefix(self, cache_key: str) -> None:
        """Drop what is kept of a channel, and what its running replies would leave behind."""
        self._worker.forget(cache_key)

    def stats(self) -> EngineStats:
        """A snapshot of the counters."""
        return self._worker.stats()

    async def close(self) -> None:
        """Stop; see `Engine.close`. Closing twice is harmless."""
        self._worker.close()
        await asyncio.to_thread(self._worker.thread.join)

    def _check_length(self, prompt: Sequence[int], reply: int) -> None:
        if not prompt:
            raise EngineError("the prompt is empty; render at least one turn")
        if len(prompt) + reply > self.info.context:
            raise PromptTooLong(
                f"the prompt has {len(prompt)} tokens and the model's context {self.info.context}; "
                "shorten the history or raise engine.context"
            )

    @contextmanager
    def _using(self, names: set[str]) -> Iterator[dict[str, int | None]]:
        """Hold adapters so that none is unloaded meanwhile; their slots, the base included."""
        worker = self._worker
        held: dict[str, int | None] = {}
        try:
            with worker.wake:
                worker.check_open()
                for name in sorted(names):
                    held[name] = worker.versions.acquire(name)
            yield {**held, BASE: None}
        finally:
            with worker.wake:
                for name in held:
                    worker.versions.release(name)
                if not worker.closed:
                    worker.order(worker.drop_drained)

    def _install(self, name: str, slot: int, weights: AdapterWeights) -> None:
        """Put weights into a slot, on the engine's thread."""
        worker = self._worker
        worker.bank.put(slot, weights)
        with worker.wake:
            if not worker.versions.reserved(name, slot):
                raise AdapterError(f"loading adapter {name} was called off")
            worker.versions.publish(name)


if TYPE_CHECKING:

    def _keeps_the_protocol(engine: LocalEngine) -> Engine:
        return engine
