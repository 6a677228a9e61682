"""The bank computes what PEFT computes, and takes nothing it cannot serve exactly."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from bot.engine import packing
from bot.engine.adapter_file import read_adapter
from bot.engine.attention import Pass, Span, ladder
from bot.engine.forward import Forward, TransformersForward
from bot.engine.kernels import kernels
from bot.engine.llama import LlamaForward
from bot.engine.lora import LoraBank
from bot.errors import AdapterError
from tests.engine.tiny import KINDS, make_adapter, plain_model, prompt_ids, with_adapter

RANK = 8
Logits = tuple[torch.Tensor, ...]


WAYS: dict[str, Callable[[PreTrainedModel, LoraBank], Forward]] = {
    "own": lambda model, bank: LlamaForward(model, bank, 256, bank.kernels),
    "transformers": lambda model, bank: TransformersForward(model, bank, bank.kernels),
}
"""How a model may answer passes."""


@pytest.fixture(
    params=[
        (kind, f"{way}{compiled}")
        for kind in KINDS for way in WAYS for compiled in ("", ", compiled")
        if (kind, way) != ("gpt2", "own")
    ]
)
def answering(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Every supported architecture, in every way that it can be served."""
    kind, way = request.param
    return kind, way


def forward_on(base: Path, *adapters: Path, way: str = "own") -> Forward:
    """A model with a bank whose slots hold the adapters in order."""
    model = plain_model(base)
    way, _, compiled = way.partition(", ")
    bank = LoraBank(model, slots=4, rank=RANK, kernels=kernels() if compiled else None)
    forward = WAYS[way](model, bank)
    for slot, folder in enumerate(adapters):
        bank.put(slot, read_adapter(folder, bank.shapes(), RANK))
    return forward


@torch.inference_mode()
def answer(forward: Forward, texts: Sequence[list[int]], slots: Sequence[int | None]) -> Logits:
    """The logits at every token of several texts, read in one pass."""
    spans = [Span(0, len(text)) for text in texts]
    steps = ladder(256, forward.device)
    packed = Pass([], spans, None, steps, forward.dtype)
    tokens = torch.tensor([token for text in texts for token in text])
    found = forward(tokens, packed, slots, steps[: len(tokens)])
    return torch.split(found, [len(text) for text in texts])


@torch.no_grad()
def logits_of(model: torch.nn.Module, text: list[int]) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=torch.tensor([text]), use_cache=False).logits
    return logits[0]


def close(here: torch.Tensor, there: torch.Tensor) -> None:
    torch.testing.assert_close(here, there, atol=1e-5, rtol=1e-5)


def test_rows_of_every_adapter_and_the_base_equal_pefts_own_forward(
    answering: tuple[str, str], folders: dict[str, Path], adapters: dict[str, list[Path]]
) -> None:
    kind, way = answering
    forward = forward_on(folders[kind], *adapters[kind], way=way)
    slots = [2, None, 0, 1, 0]
    texts = [prompt_ids(14 - n, n) for n in range(len(slots))]
    for text, slot, here in zip(texts, slots, answer(forward, texts, slots), strict=True):
        base = folders[kind]
        alone = plain_model(base) if slot is None else with_adapter(base, adapters[kind][slot])
        close(here, logits_of(alone, text))


def test_rows_of_one_adapter_only_equal_pefts_own_forward(
    answering: tuple[str, str], folders: dict[str, Path], adapters: dict[str, list[Path]]
) -> None:
    kind, way = answering
    forward = forward_on(folders[kind], *adapters[kind], way=way)
    there = with_adapter(folders[kind], adapters[kind][1])
    texts = [prompt_ids(14, n) for n in range(3)]
    for text, here in zip(texts, answer(forward, texts, [1, 1, 1]), strict=True):
        close(here, logits_of(there, text))


def test_the_scale_of_rslora_is_honoured(folders: dict[str, Path], tmp_path: Path) -> None:
    adapter = make_adapter(folders["llama"], tmp_path / "rs", 3, use_rslora=True)
    text = prompt_ids(10)
    (here,) = answer(forward_on(folders["llama"], adapter), [text], [0])
    close(here, logits_of(with_adapter(folders["llama"], adapter), text))


def test_a_pass_without_adapters_is_the_bases_bit_for_bit(
    answering: tuple[str, str], folders: dict[str, Path], adapters: dict[str, list[Path]]
) -> None:
    kind, way = answering
    text = prompt_ids(14)
    (base,) = answer(forward_on(folders[kind], way=way), [text], [None])
    close(base, logits_of(plain_model(folders[kind]), text))
    forward = forward_on(folders[kind], *adapters[kind], way=way)
    assert torch.equal(answer(forward, [text], [None])[0], base)
    assert not torch.equal(answer(forward, [text], [0])[0], base)
    forward.bank.remove()
    assert torch.equal(answer(forward, [text], [0])[0], base)


def test_what_was_loaded_is_left_as_it_was(
    answering: tuple[str, str], folders: dict[str, Path], adapters: dict[str, list[Path]]
) -> None:
    kind, way = answering
    model, text = plain_model(folders[kind]), prompt_ids(14)
    before = logits_of(model, text)
    bank = LoraBank(model, slots=4, rank=RANK)
    forward = WAYS[way.partition(", ")[0]](model, bank)
    bank.put(0, read_adapter(adapters[kind][0], bank.shapes(), RANK))
    answer(forward, [text], [0])
    assert torch.equal(logits_of(model, text), before)
    assert not any(one._forward_hooks or "forward" in vars(one) for one in model.modules())


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
def test_a_model_too_large_for_copies_of_its_weights_says_the_same(
    kind: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = prompt_ids(14)
    (copied,) = answer(forward_on(folders[kind]), [text], [None])
    monkeypatch.setattr(packing, "SHARE", 0.0)
    model = plain_model(folders[kind])
    before = logits_of(model, text)
    forward = LlamaForward(model, LoraBank(model, slots=4, rank=RANK), context=256)
    close(answer(forward, [text], [None])[0], copied)
    assert torch.equal(logits_of(model, text), before)
    inner: Any = model
    query, key = (inner.model.layers[0].self_attn.get_submodule(n) for n in ("q_proj", "k_proj"))
    joined = query.weight.untyped_storage().data_ptr()
    assert key.weight.untyped_storage().data_ptr() == joined  # no weight is there twice


def test_a_slot_holds_nothing_of_the_adapter_that_was_there_before(
    folders: dict[str, Path], adapters: dict[str, list[Path]], tmp_path: Path
) -> None:
    narrow = make_adapter(
        folders["llama"], tmp_path / "narrow", 9, r=2, target_modules=["up_proj"]
    )
    forward = forward_on(folders["llama"], adapters["llama"][2])
    text = prompt_ids(14)
    answer(forward, [text], [0])
    forward.bank.put(0, read_adapter(narrow, forward.bank.shapes(), RANK))
    (here,) = answer(forward, [text], [0])
    close(here, logits_of(with_adapter(folders["llama"], narrow), text))


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
