"""Two versions side by side as whoever shows pages asks for them: read, compared, as tables.

`learning.reports.record` knows what is known of a version, `learning.reports.difference` what
two have in common. Nothing is kept.
"""

from __future__ import annotations

from bot.learning_port import SideBySide
from bot.store import Store
from learning.registry import Registry
from learning.reports.difference import difference, sections
from learning.reports.record import record_of


async def side_by_side(store: Store, registry: Registry, one: str, other: str) -> SideBySide:
    """The difference of two versions.

    Raises:
        AdapterError: there is no such version.
    """
    first = await record_of(store, registry, one)
    second = await record_of(store, registry, other)
    found = difference(first, second, await store.current_votes())
    return SideBySide(found.notes, sections(found))
