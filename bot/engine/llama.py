"""The forward pass of models that are built as Llama is: Llama, Mistral, Qwen2 and Qwen3.

The same arithmetic as `transformers`' modules and little else: what reads the same input is
one product (queries, keys and values; gate and up), tables of the rotation are made once, and no
module is called. With a small model most of a step's time is such overhead. Architecture:
Touvron et al. 2023; rotation: Su et al. 2021; grouped keys: Ainslie et al. 2023.

It knows weights and where tokens stand, and nothing of rows, requests or what is said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from bot.engine.attention import Pass
from bot.engine.forward import Forward
from bot.engine.lora import LoraBank
from bot.engine.packing import Packing, Plain, Product

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
    """

    def __init__(self, model: PreTrainedModel, bank: LoraBank, context: int) -> None:
        super().__init__(model, bank)
        inner: Any = model.model
        head: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call]  # theirs
        self._embedding: Tensor = inner.embed_tokens.weight
        size = sum(one.weight.nbytes for one in model.modules() if isinstance(one, nn.Linear))
        packing = Packing.of(head.weight, size)
        self.packed = packing.copies * size
        self._blocks = [
            _Block(layer, f"model.layers.{number}", number, bank, packing)
            for number, layer in enumerate(inner.layers)
        ]
        self._norm = _Norm(inner.norm)
        self._head = _Joined([head], ["lm_head"], bank, packing)
        positions = torch.arange(context, device=self.device)[None]
        with torch.inference_mode():
            cosine, sine = inner.rotary_emb(self._embedding[:1, None], positions)
        half = sine.shape[-1] // 2
        # Turning the second half to the front, its sign changes: the table has it already.
        self._cosine = cosine[0][:, None].contiguous()
        self._sine = torch.cat((-sine[0, :, :half], sine[0, :, half:]), -1)[:, None].contiguous()

    def logits(self, tokens: Tensor, packed: Pass, wanted: Tensor) -> Tensor:
        """See `Forward.logits`."""
        x = functional.embedding(tokens, self._embedding)
        cosine, sine = self._cosine[packed.positions], self._sine[packed.positions]
        for block in self._blocks:
            x = block(x, packed, cosine, sine)
        return self._head(self._norm(x if len(wanted) == len(x) else x[wanted]))


class _Block:
    """One layer: attention, then the gated product, each added to what came in."""

    def __init__(
        self, layer: Any, name: str, number: int, bank: LoraBank, packing: Packing
    ) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self._number = number
        self._width: int = attention.head_dim
        self._heads = attention.q_proj.out_features // self._width
        self._kv_heads = attention.k_proj.out_features // self._width
        self._scale: float = attention.scaling
        self._before, self._between = (
            _Norm(norm) for norm in (layer.input_layernorm, layer.post_attention_layernorm)
        )

        def joined(owner: Any, path: str, *names: str) -> _Joined:
            modules = [getattr(owner, one) for one in names]
            return _Joined(modules, [f"{name}.{path}.{one}" for one in names], bank, packing)

        self._qkv = joined(attention, "self_attn", "q_proj", "k_proj", "v_proj")
        self._out = joined(attention, "self_attn", "o_proj")
        self._gate_up = joined(mlp, "mlp", "gate_proj", "up_proj")
        self._down = joined(mlp, "mlp", "down_proj")
        self._activation: Callable[[Tensor], Tensor] = mlp.act_fn
        norms = (getattr(attention, one, None) for one in ("q_norm", "k_norm"))
        self._head_norms = [_Norm(norm) for norm in norms if norm is not None]

    def __call__(self, x: Tensor, packed: Pass, cosine: Tensor, sine: Tensor) -> Tensor:
        """``[t, hidden]`` to ``[t, hidden]``."""
        heads, kv_heads, width = self._heads, self._kv_heads, self._width
        qkv = self._qkv(self._before(x)).view(len(x), -1, width)
        turning = qkv[:, : heads + kv_heads]
        if self._head_norms:
            parts = torch.split(turning, [heads, kv_heads], dim=1)
            pairs = zip(self._head_norms, parts, strict=True)
            turning = torch.cat([norm(part) for norm, part in pairs], dim=1)
        half = width // 2
        turned = turning * cosine
        turned.addcmul_(torch.cat((turning[..., half:], turning[..., :half]), dim=-1), sine)
        seen = packed.attend(
            self._number, turned[:, :heads], turned[:, heads:], qkv[:, heads + kv_heads :],
            self._scale,
        )  # fmt: skip
        x = self._out(seen.reshape(len(x), -1)).add_(x)
        gate, up = self._gate_up(self._between(x)).chunk(2, dim=-1)
        return self._down(self._activation(gate).mul_(up)).add_(x)


class _Norm:
    """Root mean square normalisation."""

    def __init__(self, module: Any) -> None:
        self._weight: Tensor = module.weight
        self._eps: float = module.variance_epsilon

    def __call__(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, self._weight.shape, self._weight, self._eps)


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
    """One product for all; where no copies are made, the modules' weights become views of it."""
    if len(modules) == 1:
        return packing.product(modules[0].weight, modules[0].bias)
    weight = torch.cat([one.weight.detach() for one in modules])
    bias = None if modules[0].bias is None else torch.cat([one.bias for one in modules])
    product = packing.product(weight, bias)
    if isinstance(product, Plain):
        views = torch.split(weight, [one.out_features for one in modules])
        for one, view in zip(modules, views, strict=True):
            one.weight.data = view
    return product
