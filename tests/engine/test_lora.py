"""The bank computes what PEFT computes, and takes nothing it cannot serve exactly."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from bot.engine.adapter_file import read_adapter
from bot.engine.lora import LoraBank
from bot.errors import AdapterError
from tests.engine.tiny import make_adapter, plain_model, prompt_ids, with_adapter

RANK = 8


def bank_on(base: Path, *adapters: Path) -> tuple[torch.nn.Module, LoraBank]:
    """A model with a bank whose slots hold the adapters in order."""
    model = plain_model(base)
    bank = LoraBank(model, slots=4, rank=RANK)
    for slot, folder in enumerate(adapters):
        bank.put(slot, read_adapter(folder, bank.shapes(), RANK))
    return model, bank


@torch.no_grad()
def logits_of(model: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=ids, use_cache=False).logits
    return logits


def test_rows_of_every_adapter_and_the_base_equal_pefts_own_forward(
    kind: str, folders: dict[str, Path], adapters: dict[str, list[Path]]
) -> None:
    model, bank = bank_on(folders[kind], *adapters[kind])
    slots = [2, None, 0, 1, 0]
    ids = torch.tensor([prompt_ids(14, n) for n in range(len(slots))])
    with bank.rows(slots):
        mixed = logits_of(model, ids)
    for row, slot in enumerate(slots):
        base = folders[kind]
        alone = plain_model(base) if slot is None else with_adapter(base, adapters[kind][slot])
        torch.testing.assert_close(mixed[row], logits_of(alone, ids)[row], atol=1e-5, rtol=1e-5)


def test_rows_of_one_adapter_only_equal_pefts_own_forward(
    kind: str, folders: dict[str, Path], adapters: dict[str, list[Path]]
) -> None:
    model, bank = bank_on(folders[kind], *adapters[kind])
    ids = torch.tensor([prompt_ids(14, n) for n in range(3)])
    with bank.rows([1, 1, 1]):
        here = logits_of(model, ids)
    there = logits_of(with_adapter(folders[kind], adapters[kind][1]), ids)
    torch.testing.assert_close(here, there, atol=1e-5, rtol=1e-5)


def test_the_scale_of_rslora_is_honoured(folders: dict[str, Path], tmp_path: Path) -> None:
    adapter = make_adapter(folders["llama"], tmp_path / "rs", 3, use_rslora=True)
    model, bank = bank_on(folders["llama"], adapter)
    ids = torch.tensor([prompt_ids(10)])
    with bank.rows([0]):
        here = logits_of(model, ids)
    there = logits_of(with_adapter(folders["llama"], adapter), ids)
    torch.testing.assert_close(here, there, atol=1e-5, rtol=1e-5)


def test_outside_of_a_batch_with_adapters_the_model_is_the_base_bit_for_bit(
    folders: dict[str, Path], adapters: dict[str, list[Path]]
) -> None:
    model, bank = bank_on(folders["llama"], *adapters["llama"])
    ids = torch.tensor([prompt_ids(14)])
    base = logits_of(plain_model(folders["llama"]), ids)
    assert torch.equal(logits_of(model, ids), base)
    with bank.rows([None]):
        assert torch.equal(logits_of(model, ids), base)
    bank.remove()
    assert not any(module._forward_hooks for module in model.modules())


def test_a_slot_holds_nothing_of_the_adapter_that_was_there_before(
    folders: dict[str, Path], adapters: dict[str, list[Path]], tmp_path: Path
) -> None:
    narrow = make_adapter(
        folders["llama"], tmp_path / "narrow", 9, r=2, target_modules=["up_proj"]
    )
    model, bank = bank_on(folders["llama"], adapters["llama"][2])
    bank.put(0, read_adapter(narrow, bank.shapes(), RANK))
    ids = torch.tensor([prompt_ids(14)])
    with bank.rows([0]):
        here = logits_of(model, ids)
    there = logits_of(with_adapter(folders["llama"], narrow), ids)
    torch.testing.assert_close(here, there, atol=1e-5, rtol=1e-5)


def edit_config(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def edit_tensors(edit: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        tensors = load_file(folder / "adapter_model.safetensors")
        edit(tensors)
        save_file(tensors, folder / "adapter_model.safetensors")

    return change


def truncate(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def pickle_instead(folder: Path) -> None:
    tensors = load_file(folder / "adapter_model.safetensors")
    torch.save(tensors, folder / "adapter_model.bin")
    (folder / "adapter_model.safetensors").unlink()


Q = "base_model.model.model.layers.0.self_attn.q_proj"

REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "no config": (lambda f: (f / "adapter_config.json").unlink(), "adapter_config.json is missing"),
    "config is not JSON": (lambda f: (f / "adapter_config.json").write_text("{"), "cannot be read"),
    "config is a list": (lambda f: (f / "adapter_config.json").write_text("[]"), "not an object"),
    "no weights": (lambda f: (f / "adapter_model.safetensors").unlink(), "safetensors is missing"),
    "pickle": (pickle_instead, "safetensors is missing"),
    "cut off": (truncate, "damaged"),
    "another method": (edit_config(peft_type="IA3"), "only LORA"),
    "rank too large": (edit_config(r=64), "exceeds engine.adapter_rank = 8"),
    "rank is nonsense": (edit_config(r="big"), "not a rank"),
    "alpha is nonsense": (edit_config(lora_alpha=None), "lora_alpha"),
    "rank is a lie": (edit_config(r=3), "shapes"),
    "bias": (edit_config(bias="all"), "bias"),
    "DoRA": (edit_config(use_dora=True), "use_dora"),
    "saved modules": (edit_config(modules_to_save=["lm_head"]), "modules_to_save"),
    "rank by module": (edit_config(rank_pattern={"q_proj": 2}), "rank_pattern"),
    "an initialisation that changes the base": (
        edit_config(init_lora_weights="pissa"), "init_lora_weights"),
    "empty": (edit_tensors(lambda t: t.clear()), "no LoRA weights"),
    "a half is missing": (edit_tensors(lambda t: t.pop(f"{Q}.lora_B.weight")), "lora_A only"),
    "unknown module": (
        edit_tensors(lambda t: t.update(
            {k.replace("layers.0", "layers.9"): t.pop(k) for k in list(t)})), "no linear module"),
    "unknown tensor": (edit_tensors(lambda t: t.update(x=torch.ones(1))), "unexpected tensor x"),
    "wrong shape": (
        edit_tensors(lambda t: t.update({f"{Q}.lora_A.weight": torch.ones(4, 99)})), "shapes"),
    "not finite": (
        edit_tensors(lambda t: t[f"{Q}.lora_A.weight"].fill_(torch.nan)), "not finite"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_an_adapter_is_refused_with_the_reason(
    case: str, folders: dict[str, Path], adapters: dict[str, list[Path]], tmp_path: Path
) -> None:
    spoil, reason = REFUSED[case]
    folder = Path(shutil.copytree(adapters["llama"][1], tmp_path / "adapter"))
    shapes = LoraBank(plain_model(folders["llama"]), 2, RANK).shapes()
    read_adapter(folder, shapes, RANK)
    spoil(folder)
    with pytest.raises(AdapterError, match=reason) as caught:
        read_adapter(folder, shapes, RANK)
    assert "\n" not in str(caught.value)


def test_an_adapter_of_another_model_is_refused(
    folders: dict[str, Path], adapters: dict[str, list[Path]]
) -> None:
    shapes = LoraBank(plain_model(folders["llama"]), 2, RANK).shapes()
    with pytest.raises(AdapterError, match="another base"):
        read_adapter(adapters["gpt2"][0], shapes, RANK)
