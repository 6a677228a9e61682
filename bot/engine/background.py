"""Work beside the conversations: jobs advance one slice at a time, in turn.

With nobody talking, slices follow one another. While replies run, a slice is due only
when the share of time that background work may take has been earned by serving. What a
job does is its own affair; here it is an iterator on the engine's thread.
"""

from __future__ import annotations

import copy
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

import torch
from transformers import PreTrainedModel

from bot.engine.base import Job, Resident

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ended:
    """The last thing a task emits: how it went."""

    error: BaseException | None = None


class DutyShare:
    """A fraction of time: serving earns what background work spends.

    For a share ``s``, ``t`` seconds of serving pay for ``t * s / (1 - s)`` seconds of
    background work. A slice may start on any credit above zero and its excess is paid
    off before the next.
    """

    def __init__(self, share: float) -> None:
        self._rate = share / (1 - share) if share < 1 else float("inf")
        self._credit = 0.0

    @property
    def due(self) -> bool:
        """Whether a slice may run now, beside replies."""
        return self._credit > 0

    def served(self, seconds: float) -> None:
        """Serving took this long. Credit beyond one step's worth is not saved up."""
        if self._rate:
            earned = seconds * self._rate
            self._credit = min(self._credit + earned, earned) if seconds > 0 else self._credit

    def spent(self, seconds: float) -> None:
        """A slice beside replies took this long."""
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
    """The tasks that wait for their turn."""

    def __init__(self, resident: Resident, share: float) -> None:
        self._resident = resident
        self._duty = DutyShare(share)
        self._tasks: deque[Task] = deque()
        self.slices = 0
        self.seconds = 0.0

    @property
    def pending(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._tasks)

    def add(self, task: Task) -> None:
        """Queue a task behind the others."""
        self._tasks.append(task)

    def advance(self, busy: bool, served: float) -> None:
        """At most one slice of the task whose turn it is.

        Args:
            busy: whether replies are running.
            served: seconds that serving took since the last call.
        """
        self._duty.served(served) if busy else self._duty.reset()
        for task in [task for task in self._tasks if task.cancelled]:
            self._tasks.remove(task)
            task.stop()
        if not self._tasks or (busy and not self._duty.due):
            return
        task = self._tasks.popleft()
        started = time.monotonic()
        if task.advance(self._resident):
            self._tasks.append(task)
        seconds = time.monotonic() - started
        self.slices += 1
        self.seconds += seconds
        if busy:
            self._duty.spent(seconds)

    def close(self, reason: BaseException) -> None:
        """Stop all tasks."""
        while self._tasks:
            self._tasks.popleft().stop(reason)


class ResidentModel:
    """The serving model, and the mould its twins are cast from.

    The mould is taken before the bank hangs its hooks on the serving modules, so that no
    twin ever carries one.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        parameter = next(model.parameters())
        self.model = model
        self.device = parameter.device
        self.dtype = parameter.dtype
        self._mould = share_tensors(model)

    def twin(self) -> PreTrainedModel:
        """A module tree of its own over the very same parameters and buffers."""
        twin = share_tensors(self._mould)
        twin.requires_grad_(False)
        twin.train(False)
        return twin


def share_tensors(model: PreTrainedModel) -> PreTrainedModel:
    """Copy a module tree but not its tensors."""
    tensors = chain(model.parameters(), model.buffers())
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
