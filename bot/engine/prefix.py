"""What was computed for earlier turns, kept so that the next turn need not repeat it.

An entry belongs to an adapter and a channel: keys and values computed under one adapter
are wrong under every other. Entries are bounded in bytes and the least recently used go
first. The store compares token ids and nothing else: it does not know what a turn is.

A channel's own entry is tried first; without one, the longest common beginning with any
channel of the same adapter is shared, which is how a new channel gets the system
prompt's part for nothing. Only a beginning with equal ids is ever reused, so nothing of
one channel can reach another's reply.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from bot.engine.kv import Saved

WORTHWHILE = 16
"""Tokens another channel's beginning must share before it is copied."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A beginning and its keys and values."""

    ids: tuple[int, ...]
    saved: Saved
    size: int
    """Bytes."""


class PrefixStore:
    """Kept beginnings by (adapter, channel), least recently used first."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self._entries: OrderedDict[tuple[str, str], Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, adapter: str, key: str, ids: Sequence[int]) -> tuple[Kept | None, int]:
        """The best entry for a prompt and how many of its tokens can be reused.

        The prompt's last token is never reused: its forward pass gives the first logits.
        """
        if not key:
            return None, 0
        own = self._entries.get((adapter, key))
        if own is not None:
            self._entries.move_to_end((adapter, key))
            shared = common(own.ids, ids)
            if shared >= WORTHWHILE or shared == len(own.ids):
                return own, min(shared, len(ids) - 1)
        best, length = own, common(own.ids, ids) if own else WORTHWHILE - 1
        for (other, _), kept in self._entries.items():
            if other == adapter and (shared := common(kept.ids, ids)) > length:
                best, length = kept, shared
        return (best, min(length, len(ids) - 1)) if best is not None else (None, 0)

    def keep(self, adapter: str, key: str, ids: Sequence[int], saved: Saved) -> None:
        """Replace what is kept of a channel, and drop the oldest entries beyond the limit."""
        size = sum(k.nbytes + v.nbytes for k, v in saved)
        self._drop((adapter, key))
        if size > self.limit:
            return
        self._entries[(adapter, key)] = Kept(tuple(ids), saved, size)
        self.size += size
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

    def _drop(self, entry: tuple[str, str]) -> None:
        kept = self._entries.pop(entry, None)
        if kept is not None:
            self.size -= kept.size


def common(left: Sequence[int], right: Sequence[int]) -> int:
    """Length of the longest common beginning."""
    count = 0
    for a, b in zip(left, right, strict=False):
        if a != b:
            break
        count += 1
    return count
