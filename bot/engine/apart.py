"""Heavy work on threads that end.

OpenMP keeps helper threads for every thread that has ever computed in parallel. When there are more
of them than cores they all stop looking out for work and have to be woken for each operation, which
makes a step of the engine half as slow again. So the engine's thread is to be the only one that has
helpers and lasts; whoever else computes does it here.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def apart(work: Callable[[], T]) -> T:
    """Do something on a thread that ends, and wait for it."""
    with ThreadPoolExecutor(1, "apart") as thread:
        return thread.submit(work).result()
