"""What was computed for earlier turns, kept so that the next turn need not repeat it.

An entry belongs to an adapter and a channel: keys and values computed under one adapter
are wrong under every other. Entries are bounded in bytes and the least recently used go
first. The store compares token ids and nothing else: it does not know what a turn is.

The longest common beginning with any channel of the same adapter is shared, which is how a new
channel gets the system prompt's part for nothing. Only a beginning with equal ids is ever
reused, so nothing of one channel can reach another's reply. An adapter's entries stand in the
order of their ids, as words in a dictionary: whoever shares the longest beginning with a prompt
stands next to where the prompt would stand, however many there are.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from bot.engine.kv import Saved

WORTHWHILE = 16
"""Tokens another channel's beginning must share before it is copied."""
BLOCK = 64
"""Ids that are compared at once."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A beginning and its keys and values."""

    ids: tuple[int, ...]
    saved: Saved

    @property
    def size(self) -> int:
        """Bytes."""
        return self.saved.nbytes


class PrefixStore:
    """Kept beginnings by (adapter, channel), least recently used first."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self._entries: OrderedDict[tuple[str, str], Kept] = OrderedDict()
        self._ordered: defaultdict[str, list[tuple[tuple[int, ...], str]]] = defaultdict(list)
        """Ids and key of all entries, by adapter."""

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, adapter: str, key: str, ids: Sequence[int]) -> tuple[Kept | None, int]:
        """The best entry for a prompt and how many of its tokens can be reused.

        The prompt's last token is never reused: its forward pass gives the first logits.
        """
        if not key:
            return None, 0
        ids = tuple(ids)
        best, length = self._entries.get((adapter, key)), 0
        if best is not None:
            self._entries.move_to_end((adapter, key))
            length = common(best.ids, ids)
        ordered = self._ordered.get(adapter, [])
        place = bisect_left(ordered, (ids, key))
        for beginning, other in ordered[max(0, place - 1) : place + 1]:
            shared = common(beginning, ids)
            if shared > length and shared >= WORTHWHILE:
                best, length = self._entries[adapter, other], shared
        return best, min(length, len(ids) - 1)

    def take(self, adapter: str, key: str) -> Kept | None:
        """Take out what is kept of a channel, to be kept again with more behind it."""
        return self._drop((adapter, key))

    def keep(self, adapter: str, key: str, ids: Sequence[int], saved: Saved) -> None:
        """Replace what is kept of a channel, and drop the oldest entries beyond the limit."""
        self._drop((adapter, key))
        if saved.nbytes > self.limit:
            return
        kept = self._entries[adapter, key] = Kept(tuple(ids), saved)
        insort(self._ordered[adapter], (kept.ids, key))
        self.size += kept.size
        while self.size > self.limit:
            self._drop(next(iter(self._entries)))

    def forget_key(self, key: str) -> None:
        """Drop a channel under every adapter."""
        for entry in [entry for entry in self._entries if entry[1] == key]:
            self._drop(entry)

    def forget_adapter(self, adapter: str) -> None:
        """Drop everything computed under an adapter."""
        for entry in [entry for entry in self._entries if entry[0] == adapter]:
            self._drop(entry)

    def _drop(self, entry: tuple[str, str]) -> Kept | None:
        kept = self._entries.pop(entry, None)
        if kept is not None:
            self.size -= kept.size
            adapter, key = entry
            ordered = self._ordered[adapter]
            del ordered[bisect_left(ordered, (kept.ids, key))]
            if not ordered:
                del self._ordered[adapter]
        return kept


def common(left: Sequence[int], right: Sequence[int]) -> int:
    """Length of the longest common beginning; quick where both are lists, or both tuples."""
    size = min(len(left), len(right))
    for start in range(0, size, BLOCK):
        ours, theirs = left[start : start + BLOCK], right[start : start + BLOCK]
        if ours != theirs:
            for at, (a, b) in enumerate(zip(ours, theirs, strict=False), start):
                if a != b:
                    return at
    return size
