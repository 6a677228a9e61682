"""What is loaded, what is said of it, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BartConfig,
    Gemma3TextConfig,
    MambaConfig,
    MistralConfig,
    PreTrainedConfig,
    Qwen3Config,
)

import bot.engine.model as loading
from bot.config import EngineConfig, ModelConfig
from bot.engine.model import load_model, pick_device, pick_dtype, refuse_unsupported
from bot.errors import ModelError
from tests.engine.tiny import load, make_config, make_tokenizer


def test_what_others_need_to_know_is_said(kind: str, folders: dict[str, Path]) -> None:
    info = load(folders[kind], turns=True).info
    model = AutoModelForCausalLM.from_pretrained(folders[kind])
    assert info.name == str(folders[kind])
    assert info.parameters == sum(p.numel() for p in model.parameters())
    assert info.context == (256 if kind == "gpt2" else 4096)
    assert (info.hidden, info.device, info.dtype) == (32, "cpu", "float32")
    assert info.end_ids == (0,)
    assert info.turn_ids == (() if kind == "gpt2" else (1, 2, 3))
    assert info.warnings == ()


def test_weights_are_plain_frozen_tensors(folders: dict[str, Path]) -> None:
    model = load(folders["llama"]).model
    assert not model.training
    for parameter in model.parameters():
        assert not parameter.requires_grad
        assert not parameter.is_inference()


def test_the_context_can_be_made_smaller_but_not_larger(folders: dict[str, Path]) -> None:
    assert load(folders["gpt2"], EngineConfig(context=100)).info.context == 100
    info = load(folders["gpt2"], EngineConfig(context=1000)).info
    assert info.context == 256
    assert "ends at 256" in info.warnings[0]


def test_the_fingerprint_is_the_same_wherever_the_same_files_lie(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    copy = shutil.copytree(folders["llama"], tmp_path / "elsewhere")
    assert load(copy).info.fingerprint == load(folders["llama"]).info.fingerprint


@pytest.mark.parametrize("part", ["weights", "template", "tokenizer", "config"])
def test_the_fingerprint_changes_with_every_part(
    part: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(folders["llama"], tmp_path / "changed"))
    if part == "weights":
        model = AutoModelForCausalLM.from_pretrained(folder)
        with torch.no_grad():
            model.lm_head.weight[0, 0] += 1
        model.save_pretrained(folder)
    elif part == "template":
        make_tokenizer("{{ messages }}").save_pretrained(folder)
    elif part == "tokenizer":
        tokenizer = make_tokenizer()
        tokenizer.add_tokens(["<|new|>"])
        tokenizer.save_pretrained(folder)
    else:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.1}))
    assert load(folder).info.fingerprint != load(folders["llama"]).info.fingerprint


@pytest.mark.parametrize("name", ["./nowhere", "/no/where", "~/nowhere", "a/b/c"])
def test_a_path_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(ModelError, match=name):
        load_model(ModelConfig(name=name), EngineConfig())


def test_a_missing_built_in_model_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(loading, "ASSETS", tmp_path)
    with pytest.raises(ModelError, match="built-in model is missing"):
        load_model(ModelConfig(), EngineConfig())


def test_the_built_in_model_is_found_beside_the_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folders: dict[str, Path]
) -> None:
    shutil.copytree(folders["llama"], tmp_path / "rapport-tiny")
    monkeypatch.setattr(loading, "ASSETS", tmp_path)
    assert load_model(ModelConfig(threads=2), EngineConfig()).info.name == "rapport-tiny"


@pytest.mark.parametrize("gone", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_folder_with_a_file_missing_is_refused(
    gone: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(folders["llama"], tmp_path / "part"))
    (folder / gone).unlink()
    with pytest.raises(ModelError, match="cannot load the model"):
        load(folder)


def test_weights_that_are_not_safetensors_are_not_read(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(folders["llama"], tmp_path / "pickled"))
    model = AutoModelForCausalLM.from_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="cannot load the model"):
        load(folder)


UNSUPPORTED: dict[str, tuple[PreTrainedConfig, str]] = {
    "sliding window": (MistralConfig(), "sliding window of 4096"),
    "some layers slide": (Gemma3TextConfig(), "sliding_attention layers"),
    "some layers slide, by choice": (
        Qwen3Config(use_sliding_window=True, sliding_window=64, max_window_layers=0),
        "sliding_attention layers",
    ),
    "state space": (MambaConfig(), "does not serve"),
    "encoder-decoder": (BartConfig(), "encoder-decoder"),
}


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_other_kinds_of_attention_are_refused(case: str) -> None:
    config, reason = UNSUPPORTED[case]
    with pytest.raises(ModelError, match=reason):
        refuse_unsupported(config)


def test_mistral_without_its_window_is_full_attention() -> None:
    refuse_unsupported(MistralConfig(sliding_window=None))


def test_a_model_that_answers_otherwise_in_passes_is_refused(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "agrees_with_plain_forward", lambda *_: False)
    with pytest.raises(ModelError, match="same answers"):
        load(folders["llama"])


def test_dtype_follows_the_device_and_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    small = make_config("llama", 320)
    big = make_config("llama", 320)
    big.update({"hidden_size": 4096, "intermediate_size": 16384, "num_hidden_layers": 12})
    cpu = torch.device("cpu")
    monkeypatch.setattr(loading, "cpu_has_bf16", lambda: True)
    assert pick_dtype("auto", cpu, small) == torch.float32
    assert pick_dtype("auto", cpu, big) == torch.bfloat16
    monkeypatch.setattr(loading, "cpu_has_bf16", lambda: False)
    assert pick_dtype("auto", cpu, big) == torch.float32
    assert pick_dtype("auto", torch.device("cuda"), small) == torch.bfloat16
    assert pick_dtype("auto", torch.device("mps"), small) == torch.float16
    assert pick_dtype("float16", cpu, small) == torch.float16


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ModelError, match=r"model\.device is cuda"):
        pick_device("cuda")
