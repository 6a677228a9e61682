"""Work beside the conversations: jobs advance one slice at a time, in turn.

With nobody talking, slices follow one another. While replies run, work goes on only when the
share of time that it may take has been earned by serving. A slice may be long: a job that runs a
twin of the model pauses between its blocks, on the way there and on a gradient's way back, and
those who wait are served in the middle of it. What a job does is its own affair; here it is an
iterator on the engine's thread.
"""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from bot.engine.base import Job, Resident

log = logging.getLogger(__name__)

LINEAR = (nn.Linear, Conv1D)


@dataclass(frozen=True, slots=True)
class Ended:
    """The last thing a task emits: how it went."""

    error: BaseException | None = None


class DutyShare:
    """A fraction of time: serving earns what background work spends.

    For a share ``s``, ``t`` seconds of serving pay for ``t * s / (1 - s)`` seconds of
    background work. Work may go on with any credit above zero, and what it takes beyond it is
    paid off before it goes on again.
    """

    def __init__(self, share: float) -> None:
        self._rate = share / (1 - share) if share < 1 else float("inf")
        self._credit = 0.0

    @property
    def due(self) -> bool:
        """Whether work may go on now, beside replies."""
        return self._credit > 0

    def served(self, seconds: float) -> None:
        """Serving took this long. Credit beyond one step's worth is not saved up."""
        if self._rate:
            earned = seconds * self._rate
            self._credit = min(self._credit + earned, earned) if seconds > 0 else self._credit

    def spent(self, seconds: float) -> None:
        """Work beside replies took this long."""
        if self._rate != float("inf"):
            self._credit -= seconds

    def reset(self) -> None:
        """Nobody is talking: debts are void."""
        self._credit = 0.0


class Task:
    """One job and whoever waits for what it yields."""

    def __init__(self, job: Job, emit: Callable[[object], None]) -> None:
        self._job = job
        self._emit = emit
        self._work: Iterator[object] | None = None
        self.cancelled = False
        """Set from the event loop, read by the engine's thread."""

    def advance(self, resident: Resident) -> bool:
        """Run one slice; False when the job has ended."""
        try:
            with torch.inference_mode(False), torch.enable_grad():
                if self._work is None:
                    self._work = iter(self._job(resident))
                value = next(self._work)
        except StopIteration:
            self._emit(Ended())
            return False
        except Exception as error:  # noqa: BLE001  # raised again where the job is awaited
            self._emit(Ended(error))
            return False
        self._emit(value)
        return True

    def stop(self, reason: BaseException | None = None) -> None:
        """Close the job so that it frees what it holds, and say that it has ended."""
        close = getattr(self._work, "close", None)
        try:
            if close is not None:
                close()
        except Exception:
            log.exception("a cancelled background job failed while closing")
        self._emit(Ended(reason))


class Background:
    """The tasks that wait for their turn.

    Args:
        model: that serves; jobs are given twins of it.
        share: of the time, for work beside replies.
        serve: takes one step for those who wait for replies, and says how many seconds that
            took; None if nobody waited.
    """

    def __init__(
        self, model: PreTrainedModel, share: float, serve: Callable[[], float | None]
    ) -> None:
        self._resident = ResidentModel(model, self.pause)
        self._serve = serve
        self._duty = DutyShare(share)
        self._tasks: deque[Task] = deque()
        self._since = 0.0
        """When the work began that is not yet counted."""
        self._thread: int | None = None
        """Whose slice is running."""
        self.slices = 0
        self.seconds = 0.0

    @property
    def pending(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._tasks)

    def add(self, task: Task) -> None:
        """Queue a task behind the others."""
        self._tasks.append(task)

    def advance(self, served: float | None) -> None:
        """At most one slice of the task whose turn it is.

        Args:
            served: seconds that serving took since the last call; None if nobody waited.
        """
        self._earn(served)
        for task in [task for task in self._tasks if task.cancelled]:
            self._tasks.remove(task)
            task.stop()
        if not self._tasks or (served is not None and not self._duty.due):
            return
        task = self._tasks.popleft()
        self._since, self._thread = time.monotonic(), threading.get_ident()
        if task.advance(self._resident):
            self._tasks.append(task)
        self._thread = None
        self.slices += 1
        self._duty.spent(self._worked())

    def pause(self) -> None:
        """In the middle of a slice: serve those who wait until work may go on."""
        # A gradient's way back through a GPU is a thread of torch's own, which must not serve.
        if threading.get_ident() != self._thread:
            return
        self._duty.spent(self._worked())
        self._earn(served := self._serve())
        while served is not None and not self._duty.due:
            self._earn(served := self._serve())
        self._since = time.monotonic()

    def _worked(self) -> float:
        """Count the work since the last look at the clock."""
        seconds = time.monotonic() - self._since
        self.seconds += seconds
        return seconds

    def _earn(self, served: float | None) -> None:
        if served is None:
            self._duty.reset()
        else:
            self._duty.served(served)

    def close(self, reason: BaseException) -> None:
        """Stop all tasks."""
        while self._tasks:
            self._tasks.popleft().stop(reason)


class ResidentModel:
    """The serving model, and the mould its twins are cast from.

    Args:
        model: that serves.
        pause: called by every twin between its blocks.

    The mould is taken before the bank hangs its hooks on the serving modules, so that no
    twin ever carries one.
    """

    def __init__(self, model: PreTrainedModel, pause: Callable[[], None] = lambda: None) -> None:
        parameter = next(model.parameters())
        self.model = model
        self.pause = pause
        self.device = parameter.device
        self.dtype = parameter.dtype
        self._mould = share_tensors(model)

    def twin(self) -> PreTrainedModel:
        """A module tree of its own over the very same parameters and buffers."""
        twin = share_tensors(self._mould)
        twin.requires_grad_(False)
        twin.train(False)
        pausing(twin, self.pause)
        return twin


def pausing(model: nn.Module, pause: Callable[[], None]) -> None:
    """Have whoever runs a model pause after each block, and before it on a gradient's way back.

    A block is what holds linear layers, such as a layer's attention and what follows it.
    """

    def after(module: nn.Module, inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
        pause()
        said = output if isinstance(output, Tensor) else output[0]
        if said.requires_grad:
            said.register_hook(lambda _: pause())  # type: ignore[no-untyped-call]  # torch's

    for module in model.modules():
        if module is not model and any(isinstance(one, LINEAR) for one in module.children()):
            module.register_forward_hook(after)


def share_tensors(model: PreTrainedModel) -> PreTrainedModel:
    """Copy a module tree but not its tensors."""
    tensors = chain(model.parameters(), model.buffers())
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
