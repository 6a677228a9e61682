"""From the tokens of a pass to logits: what the engine asks of a model, whatever it is.

Models that are built as Llama is go through a forward pass of our own (`bot.engine.llama`), which
calls little but tensor operations. All others run their own `transformers` modules, on a module
tree that attends by the pass (`bot.engine.attention`): the same tensors, another way of attending.
What the tokens say, and whose they are, is not known here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

from bot.engine.attention import Pass, Span, ladder
from bot.engine.background import share_tensors
from bot.engine.kernels import Kernels
from bot.engine.kv import Arena
from bot.engine.lora import Group, LoraBank, linear_modules
from bot.engine.packing import Packing

NAME = "rapport_pass"
"""How transformers knows the attention of a pass."""


class Forward(ABC):
    """A model that answers passes.

    Args:
        model: whose tensors serve; its modules stay what they are.
        bank: the adapters.
        kernels: where they can be had and the model is one for them.
    """

    def __init__(
        self, model: PreTrainedModel, bank: LoraBank, kernels: Kernels | None = None
    ) -> None:
        self.bank = bank
        self.kernels = kernels
        self.layers = int(model.config.num_hidden_layers)
        self.device, self.dtype = model.device, model.dtype
        self.entries, self.vocabulary = vocabulary_sizes(model)
        """How many ids the model knows, and how many it can say; padding may set them apart."""
        self.weights = sum(one.nbytes for one in model.parameters())
        """Bytes."""
        self.packed = 0
        """Bytes of copies that are read faster."""

    def __call__(
        self, tokens: Tensor, packed: Pass, slots: Sequence[int | None], wanted: Tensor
    ) -> Tensor:
        """The logits that follow some tokens.

        Args:
            tokens: ids, ``[t]``, in the order of the pass.
            packed: where they stand.
            slots: the adapter of each of the pass's rows; None is the base.
            wanted: which tokens' successors are asked for, ``[w]``.

        Returns:
            ``[w, vocabulary]``.
        """
        with self.bank.rows(slots, packed.rows):
            return self.logits(tokens, packed, wanted)

    @abstractmethod
    def logits(self, tokens: Tensor, packed: Pass, wanted: Tensor) -> Tensor:
        """The same, with the adapters in place."""


class TransformersForward(Forward):
    """Any model whose attention goes through transformers' attention interface."""

    def __init__(
        self, model: PreTrainedModel, bank: LoraBank, kernels: Kernels | None = None
    ) -> None:
        super().__init__(model, bank, kernels)
        # A tree of its own: what was loaded is what training casts its twins from.
        self._model: Any = share_tensors(model)
        self._model.config._attn_implementation = NAME
        linears = [one for one in self._model.modules() if type(one) is nn.Linear]
        if linears:
            size = sum(one.weight.nbytes for one in linears)
            packing = Packing.of(linears[0].weight, size, kernels)
            self.packed = size if packing.packed else 0
            for one in linears:
                one.forward = packing.product(one.weight, one.bias)  # type: ignore[method-assign, assignment]  # as nn.Module finds it
        for name, module in linear_modules(self._model).items():
            module.register_forward_hook(_adding(bank.group(name)))

    def logits(self, tokens: Tensor, packed: Pass, wanted: Tensor) -> Tensor:
        """See `Forward.logits`."""
        found: Tensor = self._model(
            input_ids=tokens[None],
            position_ids=packed.positions[None],
            use_cache=False,
            logits_to_keep=wanted,
            packed=packed,
        ).logits
        return found[0]


def _adding(group: Group) -> Callable[..., None]:
    def add(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        # The output is the module's own fresh tensor, so adding in place is safe.
        group.add(args[0].flatten(0, -2), output.view(-1, output.shape[-1]))

    return add


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None,
    scaling: float | None = None, *, packed: Pass, sliding_window: int | None = None,
    softcap: float | None = None, **others: object,
) -> tuple[Tensor, None]:  # fmt: skip
    """Attention as transformers calls it, all tensors ``[1, heads, t, head_dim]``."""
    if mask is not None or sliding_window is not None or softcap is not None:
        raise ValueError("the engine serves plain full attention only")
    q, k, v = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    return packed.attend(module.layer_idx, q, k, v, scaling)[None], None


AttentionInterface.register(NAME, _attend)


def vocabulary_sizes(model: PreTrainedModel) -> tuple[int, int]:
    """How many ids the model knows, and how many it can say; padding may set them apart."""
    known = model.get_input_embeddings().weight
    said = model.get_output_embeddings().weight  # type: ignore[no-untyped-call]  # transformers' own
    assert isinstance(known, Tensor)
    return known.shape[0], said.shape[0]


@torch.inference_mode()
def position_bytes(forward: Forward) -> int:
    """Memory of one token's keys and values, in all layers: tried, as models differ in it."""
    arena = Arena(forward.layers, 1, 1)
    one = ladder(1, forward.device)
    forward(0 * one, Pass([], [Span(0, 1)], arena, one, forward.dtype), [None], 0 * one)
    return arena.position


@torch.inference_mode()
def agrees_with_plain_forward(forward: Forward, model: PreTrainedModel) -> bool:
    """Whether passes give the logits that the model gives without any cache.

    Two texts of different lengths are read and then continued by one token each, while a third is
    read in two pieces: enough to show an architecture that builds its own mask, positions or state.

    Raises:
        TypeError, ValueError, RuntimeError, AttributeError: it cannot be asked in passes at all.
    """
    steps = ladder(16, forward.device)
    texts = (torch.arange(33, device=forward.device).view(3, 11) * 7919 + 11) % forward.entries
    arena = Arena(forward.layers, 3, 16)

    def logits(starts: Sequence[int], spans: Sequence[Span]) -> Tensor:
        places = [*((start, 1) for start in starts), *((one.start, one.count) for one in spans)]
        tokens = torch.cat([text[at : at + n] for text, (at, n) in zip(texts, places, strict=True)])
        last = torch.tensor([n for _, n in places], device=forward.device).cumsum(0) - 1
        packed = Pass(starts, spans, arena, steps, forward.dtype, forward.kernels)
        return forward(tokens, packed, [None] * 3, last)

    logits([], [Span(0, 10), Span(0, 6), Span(0, 4)])
    found = logits([10, 6], [Span(4, 7)]).float()
    plain = model(input_ids=texts, use_cache=False).logits.float()
    expected = plain[steps[:3], torch.tensor([10, 6, 10], device=forward.device)]
    tolerance = 1e-2 if model.dtype == torch.float32 else 0.3
    return bool((found - expected).abs().max() <= tolerance * expected.std().clamp(min=1e-6))
