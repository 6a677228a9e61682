"""What a verdict leads to, and the versions that wait for an operator's word.

With ``learning.approval = "admin"`` a version that passed the gate waits: it serves once it
is approved, unless the champion it was judged against has changed. At most one waits.
Runs, training and who the operators are, are not known here.
"""

from __future__ import annotations

import asyncio

from bot.errors import AdapterError, LearningError
from bot.store import Store
from learning.announcements import Announcements
from learning.serving import Serving, called

_LEADS_TO = {"promote": "waiting", "shadow": "shadow", "reject": "rejected"}


class Approval:
    """The judged versions of one store.

    Args:
        asked: whether an operator is asked before a version serves.
    """

    def __init__(
        self, store: Store, serving: Serving, announcements: Announcements, *, asked: bool
    ) -> None:
        self._store = store
        self._serving = serving
        self._announcements = announcements
        self._asked = asked
        self._lock = asyncio.Lock()

    async def settle(self, name: str, outcome: str) -> str:
        """Give a version the status its verdict leads to; ``candidate`` if it is to serve now.

        What was decided before a restart, by an operator or a swap, stands.
        """
        async with self._lock:
            status = await self._status(name)
            if status not in ("candidate", "waiting"):
                return status
            if outcome == "promote" and not self._asked:
                return "candidate"
            status = _LEADS_TO[outcome]
            await self._store.set_adapter_status(name, status)
            return status

    async def ask(self, name: str, run: int) -> str:
        """Tell that a version waits, in a sentence; an older one that waited retires."""
        async with self._lock:
            older = [
                ref.name for ref in await self._store.adapters()
                if ref.status == "waiting" and ref.name != name
            ]
            for one in older:
                await self._store.set_adapter_status(one, "retired")
            text = f"{name} waits for approval: /learn approve v{int(name[1:])}"
            if older:
                text += f"; {', '.join(older)} no longer waits"
            await self._announcements.tell("waiting", text, run=run, adapter=name)
            return text

    async def approve(self, name: str) -> str:
        """Let a version that waits serve.

        Raises:
            AdapterError: damaged, or made for another base.
            LearningError: it does not wait, or the champion has changed since the verdict.
        """
        async with self._lock:
            await self._require_waiting(name)
            verdict = await self._store.verdict(name)
            over = str(verdict["champion"]) if verdict else ""
            if not await self._serving.promote(name, "approved by an operator", over=over):
                raise LearningError(
                    f"{name} was judged against {called(over)}, but "
                    f"{called(self._serving.champion)} serves now; /learn retrain starts a new "
                    "run, which is judged against the one that serves"
                )
            await self._announcements.tell(
                "approved", f"an operator approved {name}", adapter=name
            )
            await self._announcements.tell("swapped", f"{name} serves now", adapter=name)
        return f"Approved: {name} serves now."

    async def promote(self, name: str) -> str:
        """Let a judged version serve, whatever the gate said.

        Raises:
            AdapterError: unknown, damaged, never judged, or made for another base.
            LearningError: it serves already, or another one has begun to meanwhile.
        """
        async with self._lock:
            if not await self._status(name):
                raise AdapterError(f"there is no version {name}; /learn adapters lists them")
            if await self._store.verdict(name) is None:
                raise AdapterError(f"{name} is not judged yet; nothing serves without a verdict")
            over = self._serving.champion
            if over == name:
                raise LearningError(f"{name} serves already")
            if not await self._serving.promote(name, "promoted by an operator", over=over):
                raise LearningError(
                    f"{called(self._serving.champion)} serves since a moment ago, and no longer "
                    f"{called(over)}; say it again if {name} is to serve all the same"
                )
            await self._announcements.tell(
                "approved", f"an operator promoted {name}", adapter=name
            )
            await self._announcements.tell("swapped", f"{name} serves now", adapter=name)
        return f"{name} serves now."

    async def veto(self, name: str) -> str:
        """Turn a version away that waits.

        Raises:
            LearningError: it does not wait.
        """
        async with self._lock:
            await self._require_waiting(name)
            await self._store.set_adapter_status(name, "rejected")
            await self._serving.dismiss(name)
            await self._announcements.tell(
                "vetoed", f"an operator turned {name} away", adapter=name
            )
        return f"{name} is turned away; {called(self._serving.champion)} goes on serving."

    async def _require_waiting(self, name: str) -> None:
        status = await self._status(name)
        if status != "waiting":
            why = f"{name} is {status}" if status else f"there is no version {name}"
            raise LearningError(
                f"{why}: only a version that waits for approval can be approved or turned "
                "away; /learn adapters shows which one does"
            )

    async def _status(self, name: str) -> str:
        return {ref.name: ref.status for ref in await self._store.adapters()}.get(name, "")
