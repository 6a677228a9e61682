"""Which adapter version lives in which slot, who uses it, and when it may go.

A version is loading, serving or retiring. A retiring one takes no new replies and leaves
its slot when its last user has ended; until then its name stays taken. The table holds
no weights and has no lock: the engine guards it with its own.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal

from bot.errors import AdapterError, EngineClosed
from bot.types import BASE


@dataclass(slots=True)
class _Version:
    slot: int
    state: Literal["loading", "serving", "retiring"] = "loading"
    users: int = 0
    gone: list[Future[None]] = field(default_factory=list)


class Versions:
    """Names to slots, with a count of users for each."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._versions: dict[str, _Version] = {}

    def reserve(self, name: str) -> int:
        """A free slot for a new version.

        Raises:
            AdapterError: the name is taken, or no slot is free.
        """
        if not name or name == BASE:
            raise AdapterError(f"{name!r} cannot be an adapter's name")
        if name in self._versions:
            raise AdapterError(f"adapter {name} is loaded already; versions never share a name")
        taken = {version.slot for version in self._versions.values()}
        slot = next((slot for slot in range(self._slots) if slot not in taken), None)
        if slot is None:
            raise AdapterError(
                f"no free slot for adapter {name}: {', '.join(self._versions)} are loaded; "
                "unload one or raise engine.adapter_slots"
            )
        self._versions[name] = _Version(slot)
        return slot

    def reserved(self, name: str, slot: int) -> bool:
        """Whether this reservation still stands."""
        version = self._versions.get(name)
        return version is not None and version.slot == slot and version.state == "loading"

    def publish(self, name: str) -> None:
        """The weights are in the slot: let replies use them."""
        self._versions[name].state = "serving"

    def abandon(self, name: str, slot: int) -> None:
        """Give a reservation back, unless it was published meanwhile."""
        if self.reserved(name, slot):
            del self._versions[name]

    def acquire(self, name: str) -> int | None:
        """Count a user in; the slot, None for the base.

        Raises:
            AdapterError: no such version serves.
        """
        if name == BASE:
            return None
        version = self._versions.get(name)
        if version is None or version.state != "serving":
            raise AdapterError(f"adapter {name} is not loaded")
        version.users += 1
        return version.slot

    def release(self, name: str) -> None:
        """Count a user out."""
        if name != BASE:
            self._versions[name].users -= 1

    def retire(self, name: str) -> Future[None]:
        """Take no new users; the future is done when the slot is free.

        Raises:
            AdapterError: no such version.
        """
        version = self._versions.get(name)
        if version is None or version.state == "loading":
            raise AdapterError(f"adapter {name} is not loaded")
        version.state = "retiring"
        future: Future[None] = Future()
        version.gone.append(future)
        return future

    def drained(self) -> list[tuple[str, int]]:
        """Retiring versions, with their slots, that nobody uses any more."""
        return [
            (name, version.slot)
            for name, version in self._versions.items()
            if version.state == "retiring" and not version.users
        ]

    def forget(self, name: str) -> None:
        """Free the slot of a drained version and say so."""
        for future in self._versions.pop(name).gone:
            if not future.done():
                future.set_result(None)

    def serving(self) -> tuple[str, ...]:
        """Names that new replies may use."""
        return tuple(n for n, version in self._versions.items() if version.state == "serving")

    def close(self) -> None:
        """Tell those who wait for an unload that the engine is gone."""
        for version in self._versions.values():
            for future in version.gone:
                if not future.done():
                    future.set_exception(EngineClosed("the engine is closed"))
