"""The compiled parts of a step give what torch gives, and nothing depends on their being there."""

from __future__ import annotations

import logging
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from bot.engine import kernels as module
from bot.engine.kernels import Kernels, agree_with_torch, kernels
from bot.engine.operations import Operations
from tests.engine.conftest import Start
from tests.engine.tiny import expected_reply, plain_model, prompt_ids, reply

needs_compiler = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no C compiler")


@pytest.fixture
def compiled() -> Kernels:
    found = kernels()
    assert found is not None
    return found


@pytest.fixture
def anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Nothing compiled yet, and an empty folder for it."""
    monkeypatch.setattr(module, "_places", lambda: (tmp_path,))
    kernels.cache_clear()
    yield tmp_path
    kernels.cache_clear()


@needs_compiler
@pytest.mark.parametrize("width", [8, 24, 64, 128])
@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (6, 2), (5, 1)])
def test_rows_attend_to_themselves_and_to_all_before_and_to_nothing_else(
    compiled: Kernels, width: int, heads: int, kv_heads: int
) -> None:
    rng = random.Random(width * heads)
    torch.manual_seed(width)
    for _ in range(5):
        rows, capacity = rng.randrange(1, 6), rng.randrange(1, 200)
        keys, values = torch.randn(2, rows + 1, kv_heads, capacity, width)
        positions = torch.tensor([rng.randrange(capacity) for _ in range(rows)])
        # As a model gives them: queries, keys and values of a token side by side.
        qkv = torch.randn(rows, heads + 2 * kv_heads, width)
        q, k, v = qkv.split([heads, kv_heads, kv_heads], dim=1)
        for row, at in enumerate(positions.tolist()):
            keys[row, :, at + 1 :], values[row, :, at + 1 :] = torch.nan, torch.nan
        before = keys.clone()
        found = compiled.attend(q, (k, v), (keys, values), positions, 0.3)
        for row, at in enumerate(positions.tolist()):
            assert torch.equal(keys[row, :, at], k[row])
            assert torch.equal(values[row, :, at], v[row])
            before[row, :, at] = k[row]
            plain = functional.scaled_dot_product_attention(
                q[row][None, :, None], keys[row][None, :, : at + 1],
                values[row][None, :, : at + 1], scale=0.3, enable_gqa=True,
            )  # fmt: skip
            torch.testing.assert_close(found[row], plain[0, :, 0], rtol=1e-5, atol=1e-5)
        assert torch.equal(keys.nan_to_num(), before.nan_to_num())


@needs_compiler
def test_scores_of_any_size_are_weighed_without_overflow(compiled: Kernels) -> None:
    q = torch.ones(1, 1, 64)
    keys = torch.linspace(-20, 20, 130)[None, None, :, None].expand(1, 1, 130, 64).contiguous()
    values = torch.randn(1, 1, 130, 64)
    new = keys[:, :, -1].clone(), values[:, :, -1].clone()
    found = compiled.attend(q, new, (keys, values), torch.tensor([129]), 1.0)
    torch.testing.assert_close(found[0, 0], values[0, 0, -1], rtol=1e-4, atol=1e-4)


@needs_compiler
def test_what_is_not_a_number_shows(compiled: Kernels) -> None:
    for bad in (torch.nan, torch.inf):
        keys, values = torch.randn(2, 1, 1, 100, 64)
        keys[0, 0, 40, 3] = bad
        new = torch.randn(1, 1, 64), torch.randn(1, 1, 64)
        q = torch.ones(1, 1, 64)
        found = compiled.attend(q, new, (keys, values), torch.tensor([80]), 1.0)
        assert not torch.isfinite(found).any()
        x = torch.ones(2, 64)
        x[0, 5] = bad
        assert not torch.isfinite(compiled.normalise(x, torch.ones(64), 1e-5)[0]).all()
        assert not torch.isfinite(compiled.gated(x)[0]).all()


@needs_compiler
@pytest.mark.parametrize(("inner", "outer"), [(64, 64), (33, 81), (256, 5), (1, 1), (700, 1300)])
def test_products_are_what_torch_gives(compiled: Kernels, inner: int, outer: int) -> None:
    torch.manual_seed(outer)
    for rows in (1, 2, 3, 17):
        x, weight = torch.randn(rows, inner), torch.randn(outer, inner)
        torch.testing.assert_close(
            compiled.multiply(x, weight), x @ weight.T, rtol=1e-5, atol=1e-4
        )


@needs_compiler
@pytest.mark.parametrize(("inner", "outer"), [(64, 64), (33, 81), (256, 5), (1, 1), (3000, 40)])
def test_products_in_panels_are_what_torch_gives(
    compiled: Kernels, inner: int, outer: int
) -> None:
    torch.manual_seed(outer)
    weight = torch.randn(outer, inner)
    panels = compiled.panels(weight)
    for rows in (1, 2, 7, 16, 130):
        x = torch.randn(rows, inner)
        found = compiled.multiply_panels(x, panels, outer)
        torch.testing.assert_close(found, x @ weight.T, rtol=1e-4, atol=1e-3)


@needs_compiler
@pytest.mark.parametrize("rows", [1, 3, 400])
def test_what_lies_between_the_products_is_what_torch_gives(compiled: Kernels, rows: int) -> None:
    torch.manual_seed(rows)
    torchs = Operations()
    both = torch.randn(rows, 160) * 20
    torch.testing.assert_close(compiled.gated(both), torchs.gated(both), rtol=1e-5, atol=1e-6)
    positions = torch.randint(0, 50, (rows,))
    tables = torch.randn(50, 32), torch.randn(50, 32)
    turned, plain = torch.randn(2, rows, 7, 32).unbind()
    plain.copy_(turned)
    compiled.rotate(turned[:, :5], compiled.angles(*tables, positions))
    torchs.rotate(plain[:, :5], torchs.angles(*tables, positions))
    torch.testing.assert_close(turned, plain, rtol=1e-5, atol=1e-6)
    one, added, weight = torch.randn(rows, 80), torch.randn(rows, 80), torch.randn(80)
    other = one.clone()
    found = compiled.normalise(one, weight, 1e-5, added)
    torch.testing.assert_close(found, torchs.normalise(other, weight, 1e-5, added))
    assert torch.equal(one, other)


async def test_replies_are_the_same_without_compiled_parts(
    kind: str, folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders[kind], compiled=False)
    for length in (1, 9, 40):
        prompt = prompt_ids(length, length)
        assert await reply(engine, prompt) == expected_reply(plain_model(folders[kind]), prompt)


@needs_compiler
def test_the_library_is_compiled_once(anew: Path) -> None:
    assert kernels() is not None
    (library,) = anew.iterdir()
    written = library.stat().st_mtime_ns
    kernels.cache_clear()
    assert kernels() is not None
    assert [one.stat().st_mtime_ns for one in anew.iterdir()] == [written]


def test_without_a_compiler_torch_does_it_all_and_the_log_says_why(
    anew: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", str(anew))
    monkeypatch.delenv("CC", raising=False)
    with caplog.at_level(logging.INFO):
        assert kernels() is None
    assert "install gcc" in caplog.text
    assert list(anew.iterdir()) == []


@needs_compiler
def test_where_nothing_can_be_written_torch_does_it_all(
    anew: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    taken = anew / "taken"
    taken.write_text("a file, and no folder")
    monkeypatch.setattr(module, "_places", lambda: (taken / "inside",))
    with caplog.at_level(logging.INFO):
        assert kernels() is None
    assert "can be written" in caplog.text


@needs_compiler
def test_a_source_that_does_not_compile_is_not_used(
    anew: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = anew / "kernels.c"
    broken.write_text("this is no C")
    monkeypatch.setattr(module, "SOURCE", broken)
    with caplog.at_level(logging.INFO):
        assert kernels() is None
    assert "failed" in caplog.text


@needs_compiler
def test_kernels_that_give_something_else_are_found_out(
    compiled: Kernels, anew: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = module.SOURCE.read_text()
    for right, wrong in (
        ("at + 1, group", "at, group"),
        ("high * cosine[d + half] + low", "high * cosine[d] + low"),
        ("(1.0f + small) * up[d]", "(1.0f + small)"),
        ("squares / width + least", "squares + least"),
        ("weight[o * inner + i] * x", "weight[i] * x"),
        ("from = ends[p++]", "from = 0 * p++"),
        ("&sums[r], 4 * width", "&sums[r], 4"),
    ):
        assert source.count(right) == 1
        place = anew / f"{len(right)}"
        place.mkdir()
        changed = place / "kernels.c"
        changed.write_text(source.replace(right, wrong))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "SOURCE", changed)
            patch.setattr(module, "_places", lambda place=place: (place,))
            kernels.cache_clear()
            assert kernels() is None
    assert caplog.text.count("are not used") == 7
    assert agree_with_torch(compiled)
