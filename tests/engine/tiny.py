"""Tiny random models with their own tokenizer, made on the spot: no network, no assets."""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

from bot.config import EngineConfig, ModelConfig
from bot.engine.base import Delta, Request, Resident
from bot.engine.local import LocalEngine
from bot.engine.model import LoadedModel, load_model
from bot.types import BASE, Sampling

CHAT = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
MARKS = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|pad|>"]
WORDS = [
    "Hello there, how are you today?", "I am fine, thank you very much.",
    "The kettle sings and the cat sleeps on the warm stove.", "Über Käse läßt sich streiten.",
    "Tell me a story about the sea and the moon.", "日本語 😀 naïve café",
]  # fmt: skip
GREEDY = Sampling(temperature=0, top_p=1.0, repetition_penalty=1.0, max_tokens=24)
ENDLESS = Sampling(temperature=0, top_p=1.0, repetition_penalty=1.0, max_tokens=10_000)
KINDS = ("llama", "qwen3", "gpt2")


class Clock:
    """The time, which stands still until a test puts it forward."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def held_up(engine: LocalEngine) -> AsyncIterator[None]:
    """The engine's thread hangs in a slice of background work until the context ends."""
    entered, let_go = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def hang_about(resident: Resident) -> Iterator[object]:
        loop.call_soon_threadsafe(entered.set)
        let_go.wait()
        yield None

    async def run() -> None:
        async for _ in engine.run(hang_about):
            pass

    task = asyncio.create_task(run())
    await entered.wait()
    try:
        yield
    finally:
        let_go.set()
        await task


def make_tokenizer(chat: str | None = CHAT) -> PreTrainedTokenizerFast:
    """A byte-level BPE of some 300 entries."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=MARKS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(WORDS, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|end|>", pad_token="<|pad|>",
        additional_special_tokens=MARKS[1:4],
    )  # fmt: skip
    tokenizer.chat_template = chat
    return tokenizer


def make_config(kind: str, vocabulary: int) -> PreTrainedConfig:
    """A model of some ten thousand parameters; the spread makes greedy choices clear."""
    common = {"vocab_size": vocabulary, "bos_token_id": None, "eos_token_id": 0,
              "pad_token_id": 4, "initializer_range": 0.2}  # fmt: skip
    if kind == "gpt2":
        return GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=256, **common)
    shape = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 4096,
        **common,
    }  # fmt: skip
    return Qwen3Config(head_dim=8, **shape) if kind == "qwen3" else LlamaConfig(**shape)


def make_model(folder: Path, kind: str = "llama", chat: str | None = CHAT) -> Path:
    """Write a model folder."""
    torch.manual_seed(7)
    tokenizer = make_tokenizer(chat)
    model = AutoModelForCausalLM.from_config(make_config(kind, len(tokenizer)))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


TARGETS = {
    "llama": ["q_proj", "v_proj", "o_proj", "gate_proj", "down_proj"],
    "qwen3": ["q_proj", "k_proj", "up_proj"],
    "gpt2": ["c_attn", "c_proj", "c_fc"],
}


@contextmanager
def peft_reads_old_names() -> Iterator[None]:
    """peft 0.21 asks transformers 5 for an attribute under its deprecated name."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
        yield


def make_adapter(
    base: Path, folder: Path, seed: int, kind: str = "llama", **settings: object
) -> Path:
    """Write a PEFT checkpoint with random weights, large enough to change every reply."""
    model = plain_model(base)
    options = {
        "r": 4, "lora_alpha": 8, "target_modules": TARGETS[kind],
        "fan_in_fan_out": kind == "gpt2", **settings,
    }  # fmt: skip
    with peft_reads_old_names():
        wrapped = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **options))  # type: ignore[arg-type]  # tests pass any setting
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.3, generator=generator)
    wrapped.save_pretrained(folder)
    return folder


def plain_model(folder: Path) -> PreTrainedModel:
    """The model as anyone would load it."""
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder)
    return model.eval()


def with_adapter(base: Path, adapter: Path) -> PreTrainedModel:
    """The model as PEFT would serve it."""
    with peft_reads_old_names():
        return PeftModel.from_pretrained(plain_model(base), adapter).eval()  # type: ignore[return-value]  # behaves as the model it wraps


@torch.no_grad()
def expected_reply(model: PreTrainedModel, prompt: Sequence[int], tokens: int = 24) -> list[int]:
    """What generate() says, greedily."""
    ids = torch.tensor([list(prompt)])
    out = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False,
        max_new_tokens=tokens, pad_token_id=4,
    )  # fmt: skip
    return out[0, len(prompt) :].tolist()  # type: ignore[no-any-return]  # generate is untyped


def prompt_ids(length: int, seed: int = 0) -> list[int]:
    """Ordinary tokens, no marks."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(5, 280, (length,), generator=generator).tolist()


async def collect(stream: AsyncIterator[Delta]) -> list[Delta]:
    """All deltas of a reply."""
    return [delta async for delta in stream]


def ids_of(deltas: Sequence[Delta]) -> list[int]:
    return [token for delta in deltas for token in delta.ids]


async def reply(
    engine: LocalEngine, prompt: Sequence[int], adapter: str = BASE, *,
    sampling: Sampling = GREEDY, key: str = "",
) -> list[int]:  # fmt: skip
    """The ids of a whole reply."""
    deltas = await collect(engine.stream(Request(prompt, adapter, sampling, key)))
    assert deltas[-1].finish in ("stop", "length"), deltas[-1]
    return ids_of(deltas)


async def stepped(engine: LocalEngine) -> None:
    """Wait for the end of the engine's step: what a reply leaves behind is kept after its words."""
    await engine.score([])


def load(
    folder: Path, config: EngineConfig | None = None, *, turns: bool = False
) -> LoadedModel:
    """A model of random weights, which says marks as readily as words.

    So only with `turns` do those end a reply that open a turn: with it most replies are short.
    """
    settings = ModelConfig(name=str(folder), device="cpu", threads=1)
    loaded = load_model(settings, config or EngineConfig())
    return loaded if turns else replace(loaded, info=replace(loaded.info, turn_ids=()))
