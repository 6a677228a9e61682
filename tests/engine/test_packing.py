"""Packed weights: the same numbers, in as much memory as there is room for."""

from __future__ import annotations

import pytest
import torch

from bot.engine.kernels import Kernels, kernels
from bot.engine.packing import Packing

LENGTHS = (1, 2, 3, 4, 5, 16, 17, 300)


@pytest.mark.parametrize("compiled", ["wide", "narrow", ""])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("packed", [True, False])
def test_packed_weights_give_what_plain_ones_give(
    dtype: torch.dtype, with_bias: bool, packed: bool, compiled: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    torch.manual_seed(0)
    weight = torch.randn(81, 48, dtype=dtype)
    bias = torch.randn(81, dtype=dtype) if with_bias else None
    found_kernels: Kernels | None = kernels() if compiled and dtype == torch.float32 else None
    if found_kernels is not None:
        monkeypatch.setattr(found_kernels, "wide", compiled == "wide")
    product = Packing(packed, found_kernels).product(weight, bias)
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    for shape in (*((n, 48) for n in LENGTHS), *((1, n, 48) for n in LENGTHS)):
        x = torch.randn(shape, dtype=dtype)
        plain = torch.nn.functional.linear(x, weight, bias)
        with torch.inference_mode():
            found = product(x)
        torch.testing.assert_close(found, plain, rtol=tolerance, atol=10 * tolerance)


def test_copies_are_made_where_there_is_room_and_they_are_of_use() -> None:
    weight = torch.ones(8, 8)
    assert [Packing.of(weight, 100, most=most).packed for most in (99, 100)] == [False, True]
    assert not Packing.of(weight.double(), 100, most=1e9).packed
    assert Packing.of(weight, weight.nbytes).packed
