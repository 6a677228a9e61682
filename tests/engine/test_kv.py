"""Packed rows and kept prefixes, looked at from close by."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from bot.engine import kv
from bot.engine.kv import SMALLEST, Arena, Saved
from bot.engine.prefix import WORTHWHILE, PrefixStore, common
from bot.engine.reserve import Reserve

ROWS, LIMIT, WIDTH = 3, 1000, 64
POSITION = 2 * 2 * 2 * WIDTH * 4
"""Bytes: two layers, keys and values, two heads."""


@pytest.fixture(params=["grows", "reserved"])
def arena(request: pytest.FixtureRequest) -> Arena:
    """One that grows and one whose addresses were asked for at once."""
    room = Reserve(ROWS * LIMIT * POSITION) if request.param == "reserved" else None
    return Arena(layers=2, rows=ROWS, limit=LIMIT, room=room)


def write(arena: Arena, row: int, start: int, values: torch.Tensor) -> None:
    """Write ``[q, 2, dim]`` numbers into a row of both layers."""
    arena.reserve([start + len(values)], row)
    rows = torch.full((len(values),), row)
    positions = torch.arange(start, start + len(values))
    for layer in range(2):
        arena.write(layer, rows, positions, values, -values)


def tokens(count: int) -> torch.Tensor:
    return torch.randn(count, 2, WIDTH)


def held(arena: Arena, row: int, length: int) -> list[torch.Tensor]:
    """What both layers have of a row, positions first; all that is said of it agrees."""
    saved = arena.save(row, length)
    pairs = [arena.rows(layer, row, row + 1, length) for layer in range(2)]
    for (keys, values), copies in zip(pairs, saved.pairs, strict=True):
        assert torch.equal(keys[0], copies[0][:, :length])
        assert torch.equal(values[0], copies[1][:, :length])
        assert torch.equal(keys, -values)
    return [keys[0].transpose(0, 1) for keys, _ in pairs]


def test_a_row_keeps_what_was_written_through_growth_moves_and_restores(arena: Arena) -> None:
    first, second = tokens(100), tokens(SMALLEST + 60)
    write(arena, 0, 0, first)
    write(arena, 1, 0, second)
    arena.copy_row(1, 2, len(second))
    for row, wanted in ((0, first), (1, second), (2, second)):
        assert all(torch.equal(found, wanted) for found in held(arena, row, len(wanted)))
    other = Arena(layers=2, rows=1, limit=160)
    other.reserve([150])
    other.restore(0, arena.save(1, 170), 150)
    assert other.capacity == 160
    assert all(torch.equal(found, second[:150]) for found in held(other, 0, 150))
    arena.clear_row(1)
    assert not any(found.any() for found in held(arena, 1, 170))


def test_an_arena_that_grows_doubles() -> None:
    arena = Arena(layers=2, rows=ROWS, limit=LIMIT)
    write(arena, 1, 0, tokens(SMALLEST + 1))
    assert arena.capacity == 2 * SMALLEST
    assert arena.nbytes == ROWS * 2 * SMALLEST * POSITION
    write(arena, 1, 600, tokens(1))
    assert arena.nbytes == ROWS * LIMIT * POSITION


def test_an_arena_with_room_holds_what_was_written_and_never_grows() -> None:
    arena = Arena(layers=2, rows=ROWS, limit=LIMIT, room=Reserve(ROWS * LIMIT * POSITION))
    write(arena, 1, 0, tokens(200))
    before = arena.rows(0, 0, ROWS, LIMIT)[0].data_ptr()
    assert (arena.capacity, arena.position) == (LIMIT, POSITION)
    assert arena.nbytes == 200 * POSITION
    write(arena, 1, 200, tokens(800))
    assert arena.rows(0, 0, ROWS, LIMIT)[0].data_ptr() == before
    assert arena.nbytes == LIMIT * POSITION


def test_what_is_kept_of_a_row_is_a_copy(arena: Arena) -> None:
    values = tokens(30)
    write(arena, 0, 0, values)
    kept = arena.save(0, 30)
    arena.clear_row(0)
    assert torch.equal(kept.pairs[0][0][:, :30].transpose(0, 1), values)


def test_a_copy_takes_what_came_behind_it_while_it_has_room(arena: Arena) -> None:
    values = tokens(300)
    write(arena, 0, 0, values)
    kept = arena.save(0, 100)
    write(arena, 0, 0, torch.zeros(100, 2, WIDTH))  # to see what is copied once more
    longer = arena.save(0, 120, kept, same=100)
    assert longer is kept
    assert torch.equal(longer.pairs[0][0][:, :120].transpose(0, 1), values[:120])
    whole = arena.save(0, 300, longer, same=120)
    assert whole is not longer
    assert torch.equal(whole.pairs[0][0][:, 100:300].transpose(0, 1), values[100:])
    assert not whole.pairs[0][0][:, :100].any()


def test_what_long_replies_leave_behind_goes_back_once_it_comes_to_much(
    arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    short, long = tokens(40), tokens(900)
    write(arena, 0, 0, short)
    write(arena, 1, 0, long)
    arena.trim([40])
    full = arena.nbytes
    assert full >= 940 * POSITION  # so little is left to those that come next
    monkeypatch.setattr(kv, "SPARE", 800 * POSITION)
    arena.trim([40, 900])
    assert arena.nbytes == full  # nothing is behind the rows
    arena.trim([40])
    assert all(torch.equal(found, short) for found in held(arena, 0, 40))
    arena.trim([])
    assert arena.nbytes < 50 * POSITION
    write(arena, 1, 0, long)
    assert all(torch.equal(found, long) for found in held(arena, 1, 900))


def test_what_goes_back_is_no_memory_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kv, "SPARE", 0)
    arena = Arena(layers=2, rows=ROWS, limit=LIMIT, room=Reserve(ROWS * LIMIT * POSITION))
    for row in range(ROWS):
        write(arena, row, 0, tokens(900))
    before = held(arena, 0, 300)
    arena.trim([300, 900])
    keys = arena.rows(1, 0, ROWS, LIMIT)[0]
    assert all(map(torch.equal, before, held(arena, 0, 300)))
    assert not keys[0, :, 320:880].any()  # what shares a page with something else stays
    assert keys[1, :, :900].any(-1).all()
    assert not keys[2, :, 20:880].any()


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="counted in /proc")
def test_reserved_memory_is_taken_where_it_is_written_and_given_back() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20

    room, before = Reserve(2**30), resident()
    numbers = room.take((4, 2**26), torch.float32)
    assert not numbers[1, -1000:].any()
    assert resident() - before < 100
    numbers[1, : 2**25].fill_(1)
    assert 100 <= resident() - before < 200
    room.give_back(numbers[1, 10 : 2**25])
    assert resident() - before < 100
    assert numbers[1, :10].all()
    assert not numbers[1, 2000 : 2**25].any()
    with pytest.raises(ValueError, match="buffer"):
        room.take((1,), torch.float32)


def saved(length: int) -> Saved:
    """One layer of 16 bytes a position."""
    return Saved(((torch.zeros(1, length, 2), torch.zeros(1, length, 2)),), length)


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


def test_the_longest_beginning_is_found_among_very_many() -> None:
    rng = random.Random(3)
    store = PrefixStore(limit=10**9)
    kept = {}
    for number in range(500):
        ids = [1] * rng.randrange(0, 120) + [rng.randrange(1, 3) for _ in range(30)]
        kept[f"room {number}"] = ids
        store.keep("v1", f"room {number}", ids, saved(len(ids)))
    for number in range(0, 500, 3):
        store.forget_key(f"room {number}")
        del kept[f"room {number}"]
    for _ in range(200):
        prompt = [1] * rng.randrange(0, 120) + [rng.randrange(1, 3) for _ in range(40)]
        most = max(common(ids, prompt) for ids in kept.values())
        assert store.find("v1", "new", prompt)[1] == (most if most >= WORTHWHILE else 0)


def test_what_is_taken_out_to_be_kept_again_is_counted_once() -> None:
    store = PrefixStore(limit=10_000)
    store.keep("v1", "a", range(30), saved(40))
    assert store.size == 16 * 40
    taken = store.take("v1", "a")
    assert taken is not None
    assert (len(store), store.size, taken.size) == (0, 0, 16 * 40)
    assert store.find("v1", "b", range(30)) == (None, 0)
    store.keep("v1", "a", range(35), taken.saved)
    assert store.find("v1", "b", range(40))[1] == 35
    assert store.take("v1", "b") is None


def test_the_longest_common_beginning_is_counted() -> None:
    others: list[list[int]] = [[], [1], [1, 2, 4], [1, 2, 3, 4]]
    assert [common([1, 2, 3], other) for other in others] == [0, 1, 2, 3]
    for length in (63, 64, 65, 200):
        ids = list(range(length))
        assert common(ids, [*ids, 1]) == common(tuple(ids), ids) == length
        assert common(ids, [*ids[:-1], -1]) == common([*ids[:-1], -1], tuple(ids)) == length - 1
