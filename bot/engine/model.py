"""Loads the base model, its tokenizer and template, and says what others need to know.

A model is the built-in one, a folder, or a hub id. It is refused here, with the reason,
when the engine cannot serve it exactly: the configuration is looked at first, and then
a few short passes of the engine are held against the model's own. Weights
are only ever read from safetensors, and code that comes with a model is never run.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.utils.hub import cached_file

import bot
from bot.config import EngineConfig, ModelConfig
from bot.engine.apart import apart
from bot.engine.base import ModelInfo
from bot.engine.forward import Forward, TransformersForward, agrees_with_plain_forward
from bot.engine.kernels import kernels
from bot.engine.llama import LlamaForward, is_built_so
from bot.engine.lora import LoraBank
from bot.engine.template import BROKEN_PREFIX, ChatTemplate
from bot.errors import ModelError

log = logging.getLogger(__name__)

BUILT_IN = "rapport-tiny"
ASSETS = Path(bot.__file__).parent / "assets"
SMALL = 1_000_000_000
"""Below this many parameters a CPU serves in fp32."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model ready to serve, and what belongs to it."""

    model: PreTrainedModel
    template: ChatTemplate
    info: ModelInfo
    threads: int
    """CPU threads for the engine."""


def load_model(config: ModelConfig, engine: EngineConfig) -> LoadedModel:
    """Load and check the model that `config` names.

    Raises:
        ModelError: not there, damaged, or not of a kind the engine serves.
    """
    return apart(lambda: _load(config, engine))


def _load(config: ModelConfig, engine: EngineConfig) -> LoadedModel:
    threads = config.threads or usable_cores()
    torch.set_num_threads(threads)
    source = resolve(config.name)
    try:
        settings = AutoConfig.from_pretrained(source)
        refuse_unsupported(settings)
        device = pick_device(config.device)
        dtype = pick_dtype(config.dtype, device, settings)
        model = AutoModelForCausalLM.from_pretrained(
            source, dtype=dtype, use_safetensors=True, attn_implementation="sdpa"
        )
        files = _folder(source)
        with ThreadPoolExecutor(1, "fingerprint") as worker:
            weights = worker.submit(hash_files, weight_files(files))
            template = ChatTemplate(AutoTokenizer.from_pretrained(source))
            model.to(device).requires_grad_(False)  # type: ignore[arg-type]  # a wrapped method
            model.train(False)
            agrees = _agrees(make_forward(model, engine, context_of(model, engine)), model)
            fingerprint = _fingerprint(files, weights.result(), template)
    except (
        OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError
    ) as error:  # fmt: skip
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise ModelError(f"cannot load the model {config.name}: {reason}") from error
    if not agrees:
        raise ModelError(
            f"{config.name} ({settings.model_type}) does not give the same answers to many at "
            "once; choose a model with plain full attention"
        )
    info = _describe(config.name, fingerprint, model, template, engine)
    return LoadedModel(model, template, info, threads)


def make_forward(model: PreTrainedModel, config: EngineConfig, context: int) -> Forward:
    """How a model answers passes, with an empty bank of adapters; `bot.engine.apart` says where."""
    fitting = model.device.type == "cpu" and model.dtype == torch.float32
    compiled = kernels() if config.compiled and fitting else None
    bank = LoraBank(model, config.adapter_slots, config.adapter_rank, compiled)
    if is_built_so(model):
        return LlamaForward(model, bank, context, compiled)
    return TransformersForward(model, bank, compiled)


def context_of(model: PreTrainedModel, engine: EngineConfig) -> int:
    """Longest prompt plus reply, in tokens."""
    limit = int(getattr(model.config, "max_position_embeddings", 0) or 0)
    return min(engine.context or limit or 2048, limit or engine.context or 2048)


def usable_cores() -> int:
    """Cores this process may run on; where the system does not say (macOS), all there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def resolve(name: str) -> str:
    """The folder or hub id that a configured name stands for.

    Raises:
        ModelError: it looks like a path and nothing is there.
    """
    if name == BUILT_IN:
        folder = ASSETS / BUILT_IN
        if not (folder / "config.json").is_file():
            raise ModelError(f"the built-in model is missing at {folder}; reinstall rapport-bot")
        return str(folder)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return str(folder)
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name:
        raise ModelError(f"model.name is {name}, and there is no such folder")
    return name


def refuse_unsupported(config: PreTrainedConfig) -> None:
    """Raise ModelError for architectures whose attention is not plain and full."""
    kind = config.model_type
    problem = ""
    layer_types = set(getattr(config, "layer_types", None) or ()) - {"full_attention", "attention"}
    window = getattr(config, "sliding_window", None)
    if config.is_encoder_decoder or getattr(config, "add_cross_attention", False):
        problem = "is an encoder-decoder model"
    elif layer_types:
        problem = f"has {', '.join(sorted(layer_types))} layers"
    elif window and getattr(config, "use_sliding_window", True):
        problem = f"attends through a sliding window of {window} tokens"
    elif not getattr(config, "num_attention_heads", None):
        problem = "has no attention layers"
    if problem:
        raise ModelError(
            f"a {kind} model {problem}, which the engine does not serve; choose a decoder with "
            "full attention in every layer, such as Llama, Qwen3 or GPT-2"
        )


def pick_device(wanted: str) -> torch.device:
    """The configured device, or the best there is.

    Raises:
        ModelError: the configured one is not there.
    """
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if wanted == "auto":
        return torch.device(next(kind for kind, available in there.items() if available))
    if not there[wanted]:
        raise ModelError(f"model.device is {wanted}, which is not available here")
    return torch.device(wanted)


def pick_dtype(wanted: str, device: torch.device, config: PreTrainedConfig) -> torch.dtype:
    """The configured dtype, or what suits the device and the model's size."""
    named = {
        "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16,
    }  # fmt: skip
    if wanted != "auto":
        return named[wanted]
    if device.type == "cuda":
        return torch.bfloat16
    if device.type == "mps":
        return torch.float16
    small = count_parameters(config) < SMALL
    return torch.float32 if small or not cpu_has_bf16() else torch.bfloat16


def count_parameters(config: PreTrainedConfig) -> int:
    """Parameters of a configuration, counted on a model without memory."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]  # theirs
    return sum(p.numel() for p in model.parameters())


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bf16 in hardware."""
    capabilities: dict[str, Any] = dict(torch.cpu.get_capabilities())
    return any(value for key, value in capabilities.items() if "bf16" in key and value is True)


def hash_files(paths: Iterable[Path]) -> bytes:
    """SHA-256 over the names and contents of files."""
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            total.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return total.digest()


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights; others may lie beside them."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return [folder / "model.safetensors"]
    names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
    return [folder / name for name in sorted(set(names))]


def _folder(source: str) -> Path:
    config = cached_file(source, "config.json")
    if config is None:
        raise OSError("config.json is missing")
    return Path(config).parent


def _fingerprint(files: Path, weights: bytes, template: ChatTemplate) -> str:
    total = hashlib.sha256(weights)
    total.update(hash_files([files / "config.json"]))
    total.update(template.identity().encode())
    return total.hexdigest()


def _agrees(forward: Forward, model: PreTrainedModel) -> bool:
    try:
        return agrees_with_plain_forward(forward, model)
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError) as error:
        log.debug("the model cannot be asked in passes", exc_info=error)
        return False


def _describe(
    name: str, fingerprint: str, model: PreTrainedModel, template: ChatTemplate,
    engine: EngineConfig,
) -> ModelInfo:  # fmt: skip
    limit = int(getattr(model.config, "max_position_embeddings", 0) or 0)
    warnings = []
    if not template.keeps_prefix():
        warnings.append(BROKEN_PREFIX)
    if limit and engine.context > limit:
        warnings.append(f"engine.context is {engine.context}, but the model ends at {limit}")
    ends = _end_ids(model, template)
    if not ends:
        warnings.append("the model names no end-of-text token; replies end at max_tokens")
    parameter = next(model.parameters())
    return ModelInfo(
        name=name,
        fingerprint=fingerprint,
        parameters=sum(p.numel() for p in model.parameters()),
        context=context_of(model, engine),
        hidden=int(model.config.hidden_size),
        device=str(parameter.device),
        dtype=str(parameter.dtype).removeprefix("torch."),
        end_ids=ends,
        turn_ids=tuple(sorted(template.turn_marks(ends))),
        warnings=tuple(warnings),
    )


def _end_ids(model: PreTrainedModel, template: ChatTemplate) -> tuple[int, ...]:
    """Ids that end a reply: the model's, the tokenizer's, and the template's own mark."""
    found: set[int] = set()
    tokenizer = template.tokenizer
    for ids in (
        getattr(model.generation_config, "eos_token_id", None),
        getattr(model.config, "eos_token_id", None),
        tokenizer.eos_token_id,
        template.end_mark(),
    ):
        found.update([ids] if isinstance(ids, int) else ids or [])
    return tuple(sorted(found))
