"""Our low-rank layers beside PEFT's own: the same weights, the same numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file

from learning.training.adapter import WEIGHTS_FILE
from learning.training.batches import collate
from tests.engine.tiny import KINDS, peft_reads_old_names, plain_model
from tests.learning.test_objectives import CPU, FAMILY, adapter_on


@pytest.mark.parametrize(("kind", "rslora"), [*((kind, False) for kind in KINDS), ("llama", True)])
def test_logits_and_gradients_are_those_of_peft(tmp_path: Path, kind: str, rslora: bool) -> None:
    ours, batch = adapter_on(tmp_path / "base", kind, rslora=rslora), collate(FAMILY, CPU)
    # In float64, where rounding does not hide a difference.
    ours.model.double()
    ours.write(tmp_path / "adapter", ours.tensors())
    config = LoraConfig.from_pretrained(tmp_path / "adapter")
    config.inference_mode = False
    with peft_reads_old_names():
        theirs = get_peft_model(plain_model(tmp_path / "base"), config).eval().double()
    set_peft_model_state_dict(theirs, load_file(tmp_path / "adapter" / WEIGHTS_FILE))

    expected = torch.cat([
        theirs(input_ids=torch.tensor([row.read_ids])).logits[0, len(row.prompt_ids) - 1 :]
        for row in FAMILY
    ])  # fmt: skip
    found = ours.logits(batch)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)

    for logits in (found, expected):
        torch.nn.functional.cross_entropy(logits, batch.targets).backward()  # type: ignore[no-untyped-call]  # torch's
    before = {name: one.clone() for name, one in ours.tensors().items()}
    with torch.no_grad():
        for parameter in ours.parameters():
            assert parameter.grad is not None
            parameter -= parameter.grad
    after = ours.tensors()
    peft = {
        name.replace(".default", ""): one.grad
        for name, one in theirs.named_parameters() if one.requires_grad
    }
    assert peft.keys() == after.keys()
    for name, gradient in peft.items():
        assert gradient is not None
        found = before[name] - after[name]
        torch.testing.assert_close(found, gradient.float(), atol=1e-6, rtol=1e-5)
