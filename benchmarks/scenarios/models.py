"""The models and adapters of the scenarios: nothing is trained, and nothing downloaded.

Random adapters sit where training would put one (every linear layer but the head) and are strong
enough that greedy replies of two versions soon part.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from bot.config import EngineConfig, ModelConfig, SftConfig
from bot.engine.adapter_file import read_adapter
from bot.engine.background import ResidentModel
from bot.engine.lora import features, linear_modules
from bot.engine.model import BUILT_IN, LoadedModel, load_model, resolve
from learning.training.adapter import Adapter

STRENGTH = 0.2
"""Standard deviation of an adapter's B; its A is what training begins with."""
RANK = EngineConfig().adapter_rank


def endless(loaded: LoadedModel) -> LoadedModel:
    """The model without a token that ends a reply, so that each is as long as it was asked for."""
    return replace(loaded, info=replace(loaded.info, end_ids=(), turn_ids=()))


@contextmanager
def with_room_for(tokens: int, loaded: LoadedModel) -> Iterator[LoadedModel]:
    """This model where its context is long enough, else one of its shape with random weights."""
    if tokens <= loaded.info.context:
        yield loaded
        return
    with TemporaryDirectory() as folder:
        place = Path(folder) / f"{Path(loaded.info.name).name}-random-{tokens}"
        _write_random(loaded, tokens, place)
        settings = ModelConfig(
            name=str(place), device=loaded.model.device.type,  # type: ignore[arg-type]  # one of them
            dtype=loaded.info.dtype, threads=loaded.threads,  # type: ignore[arg-type]  # as loaded
        )  # fmt: skip
        random = load_model(settings, EngineConfig())
        yield replace(random, info=replace(random.info, name=place.name))


def _write_random(loaded: LoadedModel, context: int, folder: Path) -> None:
    """A model folder, with the tokenizer of the built-in model, which has the fewest words."""
    shape = AutoConfig.from_pretrained(resolve(loaded.info.name))
    shape.max_position_embeddings = context
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(shape, dtype=torch.float32)  # type: ignore[no-untyped-call]  # theirs
    model.save_pretrained(folder)
    built_in = Path(resolve(BUILT_IN))
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).write_bytes((built_in / name).read_bytes())


def write_adapters(loaded: LoadedModel, folder: Path, count: int) -> list[Path]:
    """So many random adapters of `RANK` in the folder, as PEFT writes them. Blocks."""
    twin = ResidentModel(loaded.model).twin()
    adapter = Adapter(twin, loaded.model.device, SftConfig(rank=RANK), seed=0)
    places = []
    for number in range(count):
        generator = torch.Generator().manual_seed(number)
        tensors = {
            name: _drawn(name, one, generator) for name, one in adapter.tensors().items()
        }
        places.append(folder / f"adapter-{number}")
        adapter.write(places[-1], tensors)
    return places


def _drawn(name: str, like: Tensor, generator: torch.Generator) -> Tensor:
    drawn = torch.randn(like.shape, generator=generator)
    inner = like.shape[1]
    return drawn * (STRENGTH if name.endswith("lora_B.weight") else (3 * inner) ** -0.5)


def merged(loaded: LoadedModel, adapter: Path) -> LoadedModel:
    """A copy of the model whose weights have an adapter added to them."""
    model = copy.deepcopy(loaded.model)
    modules = linear_modules(model)
    sites = {name: features(module) for name, module in modules.items()}
    weights = read_adapter(adapter, sites, RANK)
    with torch.no_grad():
        for name, (a, b) in weights.pairs.items():
            module = modules[name]
            assert isinstance(module, nn.Linear | Conv1D)
            added = b.float() @ a.float() * weights.scale
            # GPT-2's layers hold their weight transposed.
            module.weight += added.T if isinstance(module, Conv1D) else added
    return replace(loaded, model=model)
