"""The LoRA adapter in training: PEFT around a twin of the serving model.

It knows the model's structure and PEFT's file format, and nothing of objectives, batches
or schedules. The twin shares its weight tensors with the module that serves; they are
frozen here, and only the adapter's own tensors are ever written.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import torch
from peft import (
    LoraConfig,
    PeftModel,
    get_peft_model,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from safetensors.torch import save
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from bot.config import SftConfig
from bot.errors import LearningError
from learning.durable import write_file

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"


class Adapter:
    """A fresh adapter on every linear layer but the output head."""

    def __init__(
        self, twin: PreTrainedModel, device: torch.device, settings: SftConfig, seed: int
    ) -> None:
        nn.Module.eval(twin)
        twin.requires_grad_(False)
        targets, transposed = _linear_layers(twin)
        config = LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=0.0,
            target_modules=targets,
            fan_in_fan_out=transposed,
            task_type="CAUSAL_LM",
        )
        # Serving draws from the global generators: initialisation must not move them.
        cuda = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda), warnings.catch_warnings():
            # peft 0.21 asks transformers 5 for this under its deprecated name.
            warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
            torch.manual_seed(seed)
            self._peft = cast(PeftModel, get_peft_model(twin, config))
        self._peft.eval()
        self.model = twin
        self._head = _head(twin)

    def parameters(self) -> Iterator[nn.Parameter]:
        """The tensors that are trained, in a fixed order."""
        return (one for one in self._peft.parameters() if one.requires_grad)

    def off(self) -> AbstractContextManager[None]:
        """Within it the model is the base itself."""
        return cast("AbstractContextManager[None]", self._peft.disable_adapter())

    def logits(self, input_ids: Tensor, positions: Tensor) -> Tensor:
        """Next-token logits at some positions only.

        The head is the widest layer of a small model: its input is narrowed to the
        supervised positions, and whatever an architecture does to its output (soft caps,
        scaling) happens as ever.

        Args:
            input_ids: ``[rows, width]``, padded on the right.
            positions: ``[n]``, flat indices into rows x width.

        Returns:
            ``[n, vocabulary]``.
        """

        def narrow(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return (inputs[0].flatten(0, 1).index_select(0, positions)[None], *inputs[1:])

        handle = self._head.register_forward_pre_hook(narrow)
        try:
            output = self._peft(input_ids=input_ids, use_cache=False)
        finally:
            handle.remove()
        return cast(Tensor, output.logits[0])

    def tensors(self) -> dict[str, Tensor]:
        """The adapter by PEFT's own names; live tensors, not copies."""
        state = get_peft_model_state_dict(self._peft, save_embedding_layers=False)
        return {name: state[name].detach() for name in sorted(state)}

    def read(self, tensors: Mapping[str, Tensor]) -> None:
        """Replace the adapter's values, in place."""
        set_peft_model_state_dict(self._peft, dict(tensors))

    def write(self, folder: Path, tensors: Mapping[str, Tensor]) -> None:
        """The two files of a PEFT checkpoint, without a trace of where they were made."""
        folder.mkdir(parents=True, exist_ok=True)
        name = str(self.model.name_or_path or "")
        config: dict[str, Any] = self._peft.peft_config["default"].to_dict()
        config |= {
            "base_model_name_or_path": None if Path(name).is_absolute() else name,
            "target_modules": sorted(config["target_modules"]),
            "inference_mode": True,
        }
        plain = {name: one.cpu().contiguous() for name, one in tensors.items()}
        write_file(folder / WEIGHTS_FILE, save(plain, {"format": "pt"}))
        text = json.dumps(config, indent=2, sort_keys=True, default=str)
        write_file(folder / CONFIG_FILE, text.encode())


def _head(model: PreTrainedModel) -> nn.Module:
    head: object = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    if not isinstance(head, nn.Module):
        raise LearningError("the model has no output head; it cannot be trained")
    return head


def _linear_layers(model: PreTrainedModel) -> tuple[list[str], bool]:
    """Last names of the linear layers but the head's, and whether theirs are transposed."""
    head = _head(model)
    found: set[str] = set()
    kinds: set[bool] = set()
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | Conv1D) and module is not head:
            found.add(name.rpartition(".")[2])
            kinds.add(isinstance(module, Conv1D))
    if not found:
        raise LearningError("the model has no linear layer that an adapter could sit on")
    return sorted(found), True in kinds
