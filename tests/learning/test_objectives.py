from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bot.config import SftConfig
from learning.training.adapter import Adapter
from learning.training.batches import Batch, Row, collate, plan, steps_in_epoch
from learning.training.objectives import kl_divergence, reply_log_probs, sft
from tests.engine.tiny import KINDS, make_model, plain_model, with_adapter

CPU = torch.device("cpu")
ROWS = [
    Row((7, 8, 9, 10, 11), (20, 21, 0), 1.0),
    Row((30, 31), (40, 41, 42, 43, 44, 0), 0.25),
    Row((50,), (0,), 2.0),
]
FAMILY = [
    *ROWS,
    Row((7, 8, 9), (20, 0), 1.0),
    Row((7, 8, 9, 10, 11), (20, 22, 23, 0), 0.5),
    Row((7, 8, 9, 10, 11, 20, 21, 12), (20, 0), 1.0),
    Row((7, 8, 9), (20, 0), 0.5, liked=False),
]
"""Rows that begin alike, go on from one another, or are the same."""


def adapter_on(folder: Path, kind: str = "llama", *, rslora: bool = False) -> Adapter:
    """An adapter that changes what the model says."""
    settings = SftConfig(rank=4, rslora=rslora)
    adapter = Adapter(plain_model(make_model(folder, kind)), CPU, settings, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.normal_(std=0.1, generator=generator)
    return adapter


def loss_of(adapter: Adapter, batch: Batch, total: float | None = None) -> Tensor:
    logits = adapter.logits(batch)
    said = reply_log_probs(logits, batch.targets, batch.owners, len(batch.weights))
    return sft(said, batch.weights, batch.tokens, total)


def test_sft_is_the_weighted_sum_of_log_probs_over_the_weighted_number_of_tokens() -> None:
    log_probs, weights = torch.tensor([-3.0, -8.0]), torch.tensor([1.0, 0.5])
    tokens = torch.tensor([2.0, 4.0])
    assert sft(log_probs, weights, tokens).item() == pytest.approx((3 + 4) / (2 + 2))


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_equals_that_of_the_plain_model_with_labels_one_row_at_a_time(
    tmp_path: Path, kind: str
) -> None:
    adapter = adapter_on(tmp_path, kind)
    adapter.write(tmp_path / "adapter", adapter.tensors())
    plain = with_adapter(tmp_path, tmp_path / "adapter")
    weighted = tokens = 0.0
    for row in FAMILY:
        labels = torch.tensor([[-100] * len(row.prompt_ids) + list(row.reply_ids)])
        ids = torch.tensor([[*row.prompt_ids, *row.reply_ids]])
        mean = plain(input_ids=ids, labels=labels).loss.item()
        weighted += row.weight * mean * len(row.reply_ids)
        tokens += row.weight * len(row.reply_ids)
    ours = loss_of(adapter, collate(FAMILY, CPU)).item()
    assert ours == pytest.approx(weighted / tokens, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_head_on_supervised_positions_gives_the_logits_of_the_whole_forward(
    tmp_path: Path, kind: str
) -> None:
    adapter, batch = adapter_on(tmp_path, kind), collate(ROWS, CPU)
    with torch.no_grad():
        some = adapter.logits(batch)
        whole = adapter.model(
            input_ids=batch.input_ids, attention_mask=batch.mask, position_ids=batch.places
        ).logits.flatten(0, 1)[batch.positions]
    torch.testing.assert_close(some, whole)


def test_gradients_of_micro_batches_add_up_to_the_gradient_of_the_batch(tmp_path: Path) -> None:
    adapter = adapter_on(tmp_path)
    loss_of(adapter, collate(ROWS, CPU)).backward()  # type: ignore[no-untyped-call]  # torch's
    whole = [one.grad.clone() for one in adapter.parameters() if one.grad is not None]
    for one in adapter.parameters():
        one.grad = None
    total = sum(row.weight * len(row.reply_ids) for row in ROWS)
    for row in ROWS:
        loss_of(adapter, collate([row], CPU), total).backward()  # type: ignore[no-untyped-call]  # torch's
    pieces = [one.grad for one in adapter.parameters()]
    assert len(whole) == len(pieces) > 0
    for left, right in zip(whole, pieces, strict=True):
        torch.testing.assert_close(left, right)


def test_what_is_supervised_is_the_reply_with_its_end_and_nothing_else() -> None:
    batch = collate(FAMILY, CPU)
    assert batch.targets.tolist() == [token for row in FAMILY for token in row.reply_ids]
    places = batch.places.flatten()[batch.positions]
    for number, row in enumerate(FAMILY):
        own = places[batch.owners == number].tolist()
        assert own == list(range(len(row.prompt_ids) - 1, row.width))


def test_each_supervised_token_sees_its_own_row_up_to_itself_and_nothing_else() -> None:
    batch = collate(FAMILY, CPU)
    width = batch.input_ids.shape[1]
    last = batch.positions[[i for i, t in enumerate(batch.targets.tolist()) if t == 0]]
    for row, position in zip(FAMILY, last.tolist(), strict=True):
        seen = batch.mask[position // width, 0, position % width]
        ids = batch.input_ids[position // width, seen].tolist()
        assert tuple(ids) == row.read_ids
        assert batch.places[position // width, seen].tolist() == list(range(row.width))


def test_what_rows_begin_with_alike_is_laid_once() -> None:
    persona = tuple(range(100, 140))
    rows = [Row((*persona, number), (20 + number, 0), 1.0) for number in range(6)]
    assert collate(rows, CPU).input_ids.numel() == len(persona) + 6 * 2
    assert collate([rows[0]] * 3, CPU).input_ids.numel() == rows[0].width


def test_long_rows_that_share_nothing_lie_in_lanes_of_their_own() -> None:
    rng = random.Random(0)
    lengths = (2000, 1900, 1700, 1500)
    rows = [Row(tuple(rng.randrange(5, 300) for _ in range(n)), (1, 0), 1.0) for n in lengths]
    assert collate(rows, CPU).input_ids.shape == (4, 2001)


def test_a_pad_that_equals_the_end_of_turn_changes_nothing(tmp_path: Path) -> None:
    adapter = adapter_on(tmp_path)
    alone = [loss_of(adapter, collate([row], CPU)).item() for row in ROWS]
    together = loss_of(adapter, collate(ROWS, CPU)).item()
    shares = [row.weight * len(row.reply_ids) for row in ROWS]
    expected = sum(a * s for a, s in zip(alone, shares, strict=True)) / sum(shares)
    assert together == pytest.approx(expected, rel=1e-5)


def test_the_divergence_from_the_base_is_that_of_torch_and_zero_from_itself() -> None:
    pi, base = torch.randn(2, 5, 11, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.kl_div(
        base.log_softmax(-1), pi.log_softmax(-1), reduction="none", log_target=True
    ).sum(-1)
    torch.testing.assert_close(kl_divergence(pi, base), expected)
    torch.testing.assert_close(kl_divergence(pi, pi), torch.zeros(5))


def test_an_epoch_has_every_row_once_in_steps_of_the_asked_size() -> None:
    rng = random.Random(0)
    steps = plan(101, 16, 4, rng)
    assert sorted(row for step in steps for piece in step for row in piece) == list(range(101))
    assert len(steps) == steps_in_epoch(101, 16, 4)
    assert all(len(step) <= 4 and all(len(piece) <= 4 for piece in step) for step in steps)


def test_a_base_switched_off_is_the_base_itself(tmp_path: Path) -> None:
    adapter, batch = adapter_on(tmp_path), collate(ROWS, CPU)
    base = plain_model(tmp_path)
    with torch.no_grad(), adapter.off():
        off = adapter.logits(batch)
        expected = base(
            input_ids=batch.input_ids, attention_mask=batch.mask, position_ids=batch.places
        ).logits.flatten(0, 1)[batch.positions]
    torch.testing.assert_close(off, expected)
    assert all(one.requires_grad for one in adapter.parameters())
    assert sum(1 for _ in adapter.parameters()) > 0
