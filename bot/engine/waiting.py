"""Who is admitted next: tenants in turn, and each one's rows in the order in which they came.

A tenant that asks for much waits behind itself and not before everybody else. Who is next and needs
more room than there is waits for it, and everybody else behind that, so that nobody waits for ever.
The rows are only kept here; where there is room, and what else is done with them, is not known.
"""

from __future__ import annotations

from collections import OrderedDict, deque

from bot.engine.row import Row


class Waiting:
    """The rows that wait, with nobody's lock: whoever holds it sees to that."""

    def __init__(self) -> None:
        self._tenants: OrderedDict[str, deque[Row]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._tenants.values()))

    def add(self, row: Row) -> None:
        """Let a row wait; a tenant without others comes after all tenants that wait."""
        self._tenants.setdefault(row.request.tenant, deque()).append(row)

    def take(self, room: int) -> Row | None:
        """The next row, whose tenant then comes last; None where nobody waits, or where the next
        needs more than `room` rows of the batch."""
        if not self._tenants or next(iter(self._tenants.values()))[0].places > room:
            return None
        tenant, rows = self._tenants.popitem(last=False)
        row = rows.popleft()
        if rows:
            self._tenants[tenant] = rows
        return row

    def take_gone(self, now: float) -> list[Row]:
        """The rows that nobody wants any more, and those whose time is up."""
        gone = [row for rows in self._tenants.values() for row in rows if _gone(row, now)]
        if gone:
            left = [(tenant, deque(row for row in rows if not _gone(row, now)))
                    for tenant, rows in self._tenants.items()]
            self._tenants = OrderedDict((tenant, rows) for tenant, rows in left if rows)
        return gone

    def clear(self) -> None:
        """Forget them all."""
        self._tenants.clear()


def _gone(row: Row, now: float) -> bool:
    return row.cancelled or now >= row.expires
