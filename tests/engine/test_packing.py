"""Packed weights: the same numbers, and nothing that others hold is changed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from bot.engine.background import share_tensors
from bot.engine.packing import pack
from tests.engine.tiny import plain_model


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
def test_packed_weights_give_what_plain_ones_give(dtype: torch.dtype, bias: bool) -> None:
    torch.manual_seed(0)
    plain = nn.Linear(48, 80, bias=bias, dtype=dtype).requires_grad_(False)
    packed = nn.Linear(48, 80, bias=bias, dtype=dtype).requires_grad_(False)
    packed.load_state_dict(plain.state_dict())
    assert pack(packed) == 2 * plain.weight.nbytes
    for shape in ((1, 1, 48), (5, 1, 48), (2, 300, 48)):
        x = torch.randn(shape, dtype=dtype)
        tolerance = 1e-5 if dtype == torch.float32 else 2e-2
        with torch.inference_mode():
            torch.testing.assert_close(packed(x), plain(x), rtol=tolerance, atol=tolerance)


def test_a_packed_model_says_what_the_one_it_shares_weights_with_says(
    folders: dict[str, Path]
) -> None:
    model = plain_model(folders["llama"])
    packed = share_tensors(model)
    size = pack(packed)
    linears = [one for one in model.modules() if type(one) is nn.Linear]
    assert size == 2 * sum(one.weight.nbytes for one in linears) > 0
    ids = torch.arange(24).view(2, 12) + 5
    with torch.inference_mode():
        torch.testing.assert_close(packed(ids).logits, model(ids).logits)
    assert [one for one in model.modules() if "forward" in vars(one)] == []
    assert next(packed.parameters()) is next(model.parameters())


def test_what_would_take_too_much_memory_is_left_as_it_is() -> None:
    layer, size = nn.Linear(8, 8), 8 * 8 * 4
    assert pack(layer, most=size - 1) == 0
    assert "forward" not in vars(layer)
    x = torch.ones(1, 8)
    with torch.inference_mode():
        plain = layer(x)
        assert pack(layer, most=2 * size - 1) == size
        assert torch.equal(layer(x), plain)
    assert pack(nn.Embedding(8, 8)) == 0
