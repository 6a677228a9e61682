"""Our losses beside TRL's own, on the same model, adapter and replies.

TRL's trainers are made without their constructors, which would take the model over; the
loss methods are theirs.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from trl.trainer.dpo_trainer import DataCollatorForPreference, DPOTrainer
from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference, KTOTrainer
from trl.trainer.utils import add_fused_lm_head

from learning.training.adapter import Adapter
from learning.training.batches import Row, Unit, collate
from learning.training.objectives import kto_baseline, reply_log_probs
from learning.training.preference import Dpo, Kto, Said
from learning.training.supervision import flat
from tests.engine.tiny import peft_reads_old_names, with_adapter
from tests.learning.test_objectives import CPU, adapter_on

BETA = 0.3
LIKED = [Row((7, 8, 9), (20, 21, 0), 1.0), Row((30,), (40, 41, 42, 43, 0), 1.0)]
DISLIKED = [
    Row((7, 8, 9), (60, 0), 1.0, liked=False), Row((30,), (70, 71, 0), 1.0, liked=False),
]
FIFTH = Row((11, 12, 13, 14), (90, 0), 1.0)


@pytest.fixture
def adapter(tmp_path: Path) -> Adapter:
    made = adapter_on(tmp_path / "base")
    made.write(tmp_path / "adapter", made.tensors())
    return made


def theirs(kind: type, folder: Path, inputs: dict[str, Tensor], **settings: object) -> float:
    """The loss as a trainer of TRL computes it."""
    model = with_adapter(folder / "base", folder / "adapter")
    bare = model.get_base_model()
    add_fused_lm_head(bare, outputs=("log_probs", "entropy", "mean_logits", "is_top1"))
    trainer: Any = object.__new__(kind)
    common = {
        "model": model, "ref_model": None, "precompute_ref_logps": False, "beta": BETA,
        "aux_loss_enabled": False, "_tp_size": 1, "_total_train_tokens": 0,
        "_metrics": {"eval": defaultdict(list)},
        "args": SimpleNamespace(gradient_checkpointing_kwargs=None),
        "accelerator": SimpleNamespace(
            device=CPU, gather_for_metrics=lambda value: value, autocast=nullcontext,
            gather=lambda value: value, unwrap_model=lambda value: value,
        ),
    }  # fmt: skip
    for name, value in {**common, **settings}.items():
        setattr(trainer, name, value)
    with peft_reads_old_names():
        return float(trainer._compute_loss(model, inputs, False))


def log_probs(adapter: Adapter, rows: list[Row]) -> Tensor:
    batch = collate(rows, CPU)
    logits = adapter.logits(batch)
    return reply_log_probs(logits, batch.targets, batch.owners, len(rows))


@torch.no_grad()
def ours(adapter: Adapter, units: list[Unit], baseline: float = 0.0) -> Said:
    rows = flat(units)
    with adapter.off():
        reference = log_probs(adapter, rows)
    return Said(units, log_probs(adapter, rows), reference, baseline)


@pytest.mark.parametrize("rows", [[*LIKED, *DISLIKED, FIFTH], LIKED, DISLIKED])
def test_kto_is_that_of_trl(adapter: Adapter, tmp_path: Path, rows: list[Row]) -> None:
    swapped = [
        Row(row.prompt_ids, other.reply_ids, 1.0)
        for row, other in zip(rows, [rows[-1], *rows[:-1]], strict=True)
    ]
    examples = [
        {
            "prompt_ids": list(row.prompt_ids), "completion_ids": list(row.reply_ids),
            "KL_completion_ids": list(other.reply_ids), "label": row.liked,
        }
        for row, other in zip(rows, swapped, strict=True)
    ]
    expected = theirs(
        KTOTrainer, tmp_path, DataCollatorForUnpairedPreference(pad_token_id=4)(examples),
        loss_type="kto", calculate_KL=True, desirable_weight=0.8, undesirable_weight=1.3,
    )
    drift = ours(adapter, [(row,) for row in swapped])
    baseline = kto_baseline(drift.log_probs - drift.reference)
    units: list[Unit] = [(row,) for row in rows]
    term = Kto(BETA, 0.8, 1.3)
    found = float(term.loss(ours(adapter, units, baseline), term.total(units)))
    assert found == pytest.approx(expected, abs=1e-4)
    assert abs(found - 0.5) > 1e-2


def preferences(tmp_path: Path) -> float:
    examples = [
        {
            "prompt_ids": list(one.prompt_ids), "chosen_ids": list(one.reply_ids),
            "rejected_ids": list(other.reply_ids),
        }
        for one, other in zip(LIKED, DISLIKED, strict=True)
    ]
    return theirs(
        DPOTrainer, tmp_path, DataCollatorForPreference(pad_token_id=4)(examples),
        loss_types=["sigmoid"], loss_weights=[1.0], label_smoothing=0.0, ld_alpha=None,
        f_divergence_type="reverse_kl", use_weighting=False,
    )


def test_dpo_is_that_of_trl(adapter: Adapter, tmp_path: Path) -> None:
    units: list[Unit] = list(zip(LIKED, DISLIKED, strict=True))
    term = Dpo(BETA)
    found = float(term.loss(ours(adapter, units), term.total(units)))
    assert found == pytest.approx(preferences(tmp_path), abs=1e-4)
    assert abs(found - 0.6931) > 1e-2


def test_the_reference_point_of_kto_is_never_below_nothing() -> None:
    assert kto_baseline(torch.tensor([1.0, 3.0])) == 2.0
    assert kto_baseline(torch.tensor([-1.0, -3.0])) == 0.0
