"""The LoRA adapter in training: low-rank additions to a twin of the serving model.

It knows the model's structure and PEFT's file format, and nothing of objectives, batches'
contents or schedules. The twin shares its weight tensors with the module that serves; they
are frozen here, and only the adapter's own tensors are ever written. These lie end to end in
one vector, so that what is done to all of them (a step, a norm, a checkpoint) is done once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig
from safetensors.torch import save
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from bot.config import SftConfig
from bot.errors import LearningError
from learning.durable import write_file
from learning.training.batches import Batch
from learning.training.low_rank import LowRank

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
PREFIX = "base_model.model."
"""What PEFT puts before the names of the model's own modules."""


class Adapter:
    """A fresh adapter on every linear layer but the output head, in float32."""

    def __init__(
        self, twin: PreTrainedModel, device: torch.device, settings: SftConfig, seed: int
    ) -> None:
        nn.Module.eval(twin)
        twin.requires_grad_(False)
        self.model = twin
        self._head = _head(twin)
        self._settings = settings
        rank = math.sqrt(settings.rank) if settings.rslora else settings.rank
        self._layers = _adapted(twin, self._head, settings.alpha / rank)
        self._shapes = [
            shape
            for outer, inner in (layer.shape for layer in self._layers.values())
            for shape in ((settings.rank, inner), (outer, settings.rank))
        ]
        self._weights = nn.Parameter(self._start(seed).to(device))

    def _start(self, seed: int) -> Tensor:
        """As PEFT begins: A uniform as a linear layer's, B zero, so that nothing is added yet.

        The generator is its own: serving draws from the global one.
        """
        generator = torch.Generator().manual_seed(seed)
        weights = torch.zeros(sum(math.prod(shape) for shape in self._shapes))
        for a in self._split(weights)[::2]:
            nn.init.kaiming_uniform_(a, a=math.sqrt(5), generator=generator)
        return weights

    def _split(self, weights: Tensor) -> list[Tensor]:
        """A and B of each layer in turn, as views."""
        parts = torch.split(weights, [math.prod(shape) for shape in self._shapes])
        return [part.view(shape) for part, shape in zip(parts, self._shapes, strict=True)]

    def parameters(self) -> Iterator[nn.Parameter]:
        """What is trained: one vector."""
        yield self._weights

    @contextmanager
    def off(self) -> Iterator[None]:
        """Within it the model is the base itself."""
        self._on = False
        try:
            yield
        finally:
            self._on = True

    _on = True
    _sparing = False

    def spare_memory(self) -> bool:
        """From now on keep of each layer what goes in, and compute the rest again on the way back.

        Returns:
            whether this changes anything: not if it was done before, or there are no layers.
        """
        layers = next((one for one in self.model.modules() if isinstance(one, nn.ModuleList)), ())
        if not layers or self._sparing:
            return False
        for layer in layers:
            layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
        self._sparing = True
        return True

    def logits(self, batch: Batch) -> Tensor:
        """Next-token logits at the supervised positions, ``[n, vocabulary]``.

        The head is the widest layer of a small model: its input is narrowed to these
        positions, and whatever an architecture does to its output (soft caps, scaling)
        happens as ever.
        """

        def narrow(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            flat = inputs[0].flatten(0, 1)
            return (flat.index_select(0, batch.positions)[None], *inputs[1:])

        parts = self._split(self._weights)
        handle = self._head.register_forward_pre_hook(narrow)
        try:
            for layer, a, b in zip(self._layers.values(), parts[::2], parts[1::2], strict=True):
                layer.pair = (a, b) if self._on else None
            output = self.model(
                input_ids=batch.input_ids,
                attention_mask=batch.mask,
                position_ids=batch.places,
                use_cache=False,
            )
        finally:
            handle.remove()
        return cast(Tensor, output.logits[0])

    def tensors(self) -> dict[str, Tensor]:
        """The adapter by PEFT's own names; live tensors, not copies."""
        parts = self._split(self._weights.detach())
        names = [f"{PREFIX}{name}.lora_{one}.weight" for name in self._layers for one in "AB"]
        return dict(sorted(zip(names, parts, strict=True)))

    def read(self, tensors: Mapping[str, Tensor]) -> None:
        """Replace the adapter's values, in place."""
        for name, one in self.tensors().items():
            one.copy_(tensors[name])

    def write(self, folder: Path, tensors: Mapping[str, Tensor]) -> None:
        """The two files of a PEFT checkpoint, without a trace of where they were made."""
        folder.mkdir(parents=True, exist_ok=True)
        name = str(self.model.name_or_path or "")
        config: dict[str, Any] = LoraConfig(  # type: ignore[no-untyped-call]  # PEFT's
            r=self._settings.rank,
            lora_alpha=self._settings.alpha,
            use_rslora=self._settings.rslora,
            lora_dropout=0.0,
            fan_in_fan_out=any(isinstance(one.base, Conv1D) for one in self._layers.values()),
            task_type="CAUSAL_LM",
            inference_mode=True,
            base_model_name_or_path=None if Path(name).is_absolute() else name,
        ).to_dict()
        config["target_modules"] = sorted({name.rpartition(".")[2] for name in self._layers})
        plain = {name: one.cpu().contiguous() for name, one in tensors.items()}
        write_file(folder / WEIGHTS_FILE, save(plain, {"format": "pt"}))
        text = json.dumps(config, indent=2, sort_keys=True, default=str)
        write_file(folder / CONFIG_FILE, text.encode())


def scaled(tensors: Mapping[str, Tensor], strength: float) -> dict[str, Tensor]:
    """An adapter whose every addition is `strength` times as large: B is scaled, A is not."""
    return {
        name: one * strength if name.endswith(".lora_B.weight") else one
        for name, one in tensors.items()
    }


def _head(model: PreTrainedModel) -> nn.Module:
    head: object = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    if not isinstance(head, nn.Module):
        raise LearningError("the model has no output head; it cannot be trained")
    return head


def _adapted(model: PreTrainedModel, head: nn.Module, scale: float) -> dict[str, LowRank]:
    """Put a low-rank addition on every linear layer but the head; the layers by name."""
    found = {
        name: LowRank(module, scale)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not head
    }
    if not found:
        raise LearningError("the model has no linear layer that an adapter could sit on")
    for name, layer in found.items():
        model.set_submodule(name, layer)
    return found
