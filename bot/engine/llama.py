"""The forward pass of models that are built as Llama is: Llama, Mistral, Qwen2 and Qwen3.

The same arithmetic as `transformers`' modules and little else: what reads the same input is
one product (queries, keys and values; gate and up), tables of the rotation are made once, and no
module is called. What lies between the products is compiled where it can be (`bot.engine.kernels`).
With a small model most of a step's time is such overhead. Architecture:
Touvron et al. 2023; rotation: Su et al. 2021; grouped keys: Ainslie et al. 2023.

It knows weights and where tokens stand, and nothing of rows, requests or what is said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from bot.engine.attention import Pass
from bot.engine.forward import Forward
from bot.engine.kernels import Kernels
from bot.engine.lora import LoraBank
from bot.engine.operations import Angles, Operations
from bot.engine.packing import Packing, Product

KINDS = ("llama", "mistral", "qwen2", "qwen3")
ROTATIONS = ("default", "linear", "llama3", "yarn")
"""Those whose angles depend on the position alone."""


def is_built_so(model: PreTrainedModel) -> bool:
    """Whether this is a model of such a kind."""
    config = model.config
    rope = getattr(config, "rope_parameters", None) or {}
    return config.model_type in KINDS and rope.get("rope_type") in ROTATIONS


class LlamaForward(Forward):
    """Passes through a model that `is_built_so`.

    Args:
        model: see `Forward`.
        bank: see `Forward`.
        context: positions at most.
        kernels: see `Forward`.
    """

    def __init__(
        self, model: PreTrainedModel, bank: LoraBank, context: int, kernels: Kernels | None = None
    ) -> None:
        super().__init__(model, bank, kernels)
        self._do = kernels or Operations()
        inner: Any = model.model
        head: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call]  # theirs
        self._embedding: Tensor = inner.embed_tokens.weight
        size = sum(one.weight.nbytes for one in model.modules() if isinstance(one, nn.Linear))
        packing = Packing.of(head.weight, size, kernels)
        self.packed = size if packing.packed else 0
        self._blocks = [
            _Block(layer, f"model.layers.{number}", number, bank, packing, self._do)
            for number, layer in enumerate(inner.layers)
        ]
        self._norm = _Norm(inner.norm, self._do)
        self._head = _Joined([head], ["lm_head"], bank, packing)
        positions = torch.arange(context, device=self.device)[None]
        with torch.inference_mode():
            cosine, sine = inner.rotary_emb(self._embedding[:1, None], positions)
        half = sine.shape[-1] // 2
        # Turning the second half to the front, its sign changes: the table has it already.
        self._cosine = cosine[0].contiguous()
        self._sine = torch.cat((-sine[0, :, :half], sine[0, :, half:]), -1).contiguous()

    def logits(self, tokens: Tensor, packed: Pass, wanted: Tensor) -> Tensor:
        """See `Forward.logits`."""
        x, added = functional.embedding(tokens, self._embedding), None
        angles = self._do.angles(self._cosine, self._sine, packed.positions)
        for block in self._blocks:
            added = block(x, added, packed, angles)
        if added is not None and len(wanted) != len(x):
            x, added = x[wanted], added[wanted]
        return self._head(self._norm(x, added))


class _Block:
    """One layer: attention, then the gated product, each to be added to what came in."""

    def __init__(
        self, layer: Any, name: str, number: int, bank: LoraBank, packing: Packing,
        do: Operations,
    ) -> None:  # fmt: skip
        attention, mlp = layer.self_attn, layer.mlp
        self._number = number
        self._width: int = attention.head_dim
        self._heads = attention.q_proj.out_features // self._width
        self._kv_heads = attention.k_proj.out_features // self._width
        self._scale: float = attention.scaling
        self._before, self._between = (
            _Norm(norm, do) for norm in (layer.input_layernorm, layer.post_attention_layernorm)
        )

        def joined(owner: Any, path: str, *names: str) -> _Joined:
            modules = [getattr(owner, one) for one in names]
            return _Joined(modules, [f"{name}.{path}.{one}" for one in names], bank, packing)

        self._qkv = joined(attention, "self_attn", "q_proj", "k_proj", "v_proj")
        self._out = joined(attention, "self_attn", "o_proj")
        self._gate_up = joined(mlp, "mlp", "gate_proj", "up_proj")
        self._down = joined(mlp, "mlp", "down_proj")
        self._rotate = do.rotate
        self._gated = do.gated if mlp.config.hidden_act == "silu" else _Gated(mlp.act_fn)
        norms = (getattr(attention, one, None) for one in ("q_norm", "k_norm"))
        self._head_norms = [_Norm(norm, do) for norm in norms if norm is not None]

    def __call__(
        self, x: Tensor, added: Tensor | None, packed: Pass, angles: Angles
    ) -> Tensor:
        """Add to ``[t, hidden]`` what the layer before has found, and give what this one finds."""
        heads, kv_heads, width = self._heads, self._kv_heads, self._width
        qkv = self._qkv(self._before(x, added)).view(len(x), -1, width)
        turned = qkv[:, : heads + kv_heads]
        if self._head_norms:
            parts = torch.split(turned, [heads, kv_heads], dim=1)
            pairs = zip(self._head_norms, parts, strict=True)
            turned = torch.cat([norm(part) for norm, part in pairs], dim=1)
        self._rotate(turned, angles)
        seen = packed.attend(
            self._number, turned[:, :heads], turned[:, heads:], qkv[:, heads + kv_heads :],
            self._scale,
        )  # fmt: skip
        between = self._between(x, self._out(seen.reshape(len(x), -1)))
        return self._down(self._gated(self._gate_up(between)))


class _Norm:
    """Root mean square normalisation."""

    def __init__(self, module: Any, do: Operations) -> None:
        self._weight: Tensor = module.weight
        self._eps: float = module.variance_epsilon
        self._normalise = do.normalise

    def __call__(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """Add to ``[..., hidden]``, in place, and give it normalised."""
        return self._normalise(x, self._weight, self._eps, added)


@dataclass(frozen=True, slots=True)
class _Gated:
    """The gated activation where that is not SiLU."""

    activation: Callable[[Tensor], Tensor]

    def __call__(self, x: Tensor) -> Tensor:
        """``[t, 2 w]`` to ``[t, w]``."""
        gate, up = x.chunk(2, dim=-1)
        return self.activation(gate).mul_(up)


class _Joined:
    """Linear modules that read the same input, as one product, with their adapters."""

    def __init__(
        self, modules: Sequence[nn.Linear], names: Sequence[str], bank: LoraBank, packing: Packing
    ) -> None:
        self._adapters = bank.group(*names)
        self._product = _join(modules, packing)

    def __call__(self, x: Tensor) -> Tensor:
        found = self._product(x)
        self._adapters.add(x, found)
        return found


def _join(modules: Sequence[Any], packing: Packing) -> Product:
    """One product for all; the modules' weights become views of what it is made of."""
    if len(modules) == 1:
        return packing.product(modules[0].weight, modules[0].bias)
    weight = torch.cat([one.weight.detach() for one in modules])
    bias = None if modules[0].bias is None else torch.cat([one.bias for one in modules])
    views = torch.split(weight, [one.out_features for one in modules])
    for one, view in zip(modules, views, strict=True):
        one.weight.data = view
    return packing.product(weight, bias)
