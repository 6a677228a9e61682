"""Packed weights: the same numbers, in as much memory as there is room for."""

from __future__ import annotations

import pytest
import torch

from bot.engine.packing import Packing


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("copies", [0, 1, 2])
def test_packed_weights_give_what_plain_ones_give(
    dtype: torch.dtype, with_bias: bool, copies: int
) -> None:
    torch.manual_seed(0)
    weight = torch.randn(80, 48, dtype=dtype)
    bias = torch.randn(80, dtype=dtype) if with_bias else None
    product = Packing(copies).product(weight, bias)
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    for shape in ((1, 48), (5, 48), (16, 48), (17, 48), (300, 48), (1, 5, 48), (1, 21, 48)):
        x = torch.randn(shape, dtype=dtype)
        plain = torch.nn.functional.linear(x, weight, bias)
        with torch.inference_mode():
            found = product(x)
        torch.testing.assert_close(found, plain, rtol=tolerance, atol=10 * tolerance)


def test_as_many_copies_are_made_as_there_is_room_for() -> None:
    weight = torch.ones(8, 8)
    room = {most: Packing.of(weight, 100, most).copies for most in (99, 100, 199, 200)}
    assert room == {99: 0, 100: 1, 199: 1, 200: 2}
    assert Packing.of(weight.double(), 100, 1e9).copies == 0
    assert Packing.of(weight, weight.nbytes).copies == 2
