"""Packed rows and kept prefixes, looked at from close by."""

from __future__ import annotations

import torch

from bot.engine.kv import SMALLEST, Arena, Saved
from bot.engine.prefix import PrefixStore, common


def write(arena: Arena, row: int, start: int, values: torch.Tensor) -> None:
    """Write ``[q, dim]`` numbers into a row of both layers, as one head."""
    arena.reserve(start + len(values))
    rows = torch.full((len(values),), row)
    positions = torch.arange(start, start + len(values))
    for layer in range(2):
        arena.write(layer, rows, positions, values[:, None], -values[:, None])


def test_a_row_keeps_what_was_written_through_growth_moves_and_restores() -> None:
    arena = Arena(layers=2, rows=3, limit=1000)
    first, second = torch.randn(100, 4), torch.randn(SMALLEST + 60, 4)
    write(arena, 0, 0, first)
    write(arena, 1, 0, second)
    assert arena.capacity == 2 * SMALLEST
    assert arena.nbytes == 2 * 2 * 3 * 2 * SMALLEST * 4 * 4
    arena.copy_row(1, 2, len(second))
    for row, wanted in ((0, first), (1, second), (2, second)):
        for keys, values in arena.save(row, len(wanted)):
            assert torch.equal(keys[:, 0], wanted)
            assert torch.equal(values[:, 0], -wanted)
        keys, values = arena.rows(1, row, row + 1, len(wanted))
        assert torch.equal(keys[0, 0], wanted)
        assert torch.equal(values[0, 0], -wanted)
    other = Arena(layers=2, rows=1, limit=160)
    other.reserve(150)
    other.restore(0, arena.save(1, 170), 150)
    assert other.capacity == 160
    assert torch.equal(other.save(0, 150)[1][0][:, 0], second[:150])
    arena.clear_row(1)
    assert not arena.save(1, 170)[0][0].any()


def test_what_is_kept_of_a_row_is_a_copy() -> None:
    arena = Arena(layers=2, rows=1, limit=100)
    values = torch.randn(30, 4)
    write(arena, 0, 0, values)
    kept = arena.save(0, 30)
    arena.clear_row(0)
    assert torch.equal(kept[0][0][:, 0], values)


def saved(length: int) -> Saved:
    """One layer of 16 bytes a position."""
    return ((torch.zeros(length, 1, 2), torch.zeros(length, 1, 2)),)


def test_the_least_recently_used_prefix_goes_first() -> None:
    store = PrefixStore(limit=16 * 100)
    for key in "abc":
        store.keep("v1", key, range(30), saved(30))
    store.find("v1", "a", [*range(30), 99])
    store.keep("v1", "d", range(30), saved(30))
    assert store.size <= store.limit
    assert len(store) == 3
    store.keep("v1", "huge", range(200), saved(200))
    assert len(store) == 3
    for key in "acd":
        store.forget_key(key)
    assert (len(store), store.size) == (0, 0)


def test_a_prefix_is_reused_up_to_the_last_token_but_one() -> None:
    store = PrefixStore(limit=10_000)
    store.keep("v1", "a", range(30), saved(30))
    assert store.find("v1", "a", range(30))[1] == 29
    assert store.find("v1", "a", [*range(20), 99, 98])[1] == 20
    assert store.find("v1", "", range(30)) == (None, 0)
    assert store.find("v2", "a", range(30)) == (None, 0)


def test_a_new_channel_shares_the_beginning_it_has_in_common_with_another() -> None:
    store = PrefixStore(limit=10_000)
    store.keep("v1", "a", [*range(20), 50], saved(21))
    store.keep("v1", "b", [*range(25), 51], saved(26))
    assert store.find("v1", "new", [*range(30), 52])[1] == 25
    assert store.find("v1", "new", [*range(10), 53])[1] == 0
    store.forget_adapter("v1")
    assert store.find("v1", "a", range(30)) == (None, 0)


def test_the_longest_common_beginning_is_counted() -> None:
    others: list[list[int]] = [[], [1], [1, 2, 4], [1, 2, 3, 4]]
    assert [common([1, 2, 3], other) for other in others] == [0, 1, 2, 3]
