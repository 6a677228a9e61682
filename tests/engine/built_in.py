"""The built-in model in fp32, in the engine and as anyone would load it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from transformers import PreTrainedModel

from bot.config import EngineConfig, ModelConfig
from bot.engine.model import ASSETS, BUILT_IN, LoadedModel, load_model
from bot.types import Sampling, Turn
from tests.engine.tiny import plain_model

QUESTIONS = (
    "Hello! How are you today?", "Tell me about the sea.", "What do you like to eat?",
    "Why is the sky blue?", "Good night.", "Sing me a song about cats.",
)  # fmt: skip


@dataclass(frozen=True)
class BuiltIn:
    """The model, with prompts for it."""

    loaded: LoadedModel
    plain: PreTrainedModel
    prompts: tuple[tuple[int, ...], ...]

    @classmethod
    def load(cls) -> BuiltIn:
        settings = ModelConfig(name=BUILT_IN, device="cpu", dtype="float32", threads=1)
        loaded = load_model(settings, EngineConfig())
        loaded = replace(loaded, info=replace(loaded.info, turn_ids=()))
        asked = [loaded.template.render([Turn("user", question)]) for question in QUESTIONS]
        prompts = tuple(tuple(loaded.template.encode(text)) for text in asked)
        return cls(loaded, plain_model(ASSETS / BUILT_IN).float(), prompts)

    def expected(self, prompt: Sequence[int], sampling: Sampling) -> list[int]:
        """What generate() says, greedily or with beams."""
        return said_by(self.plain, prompt, sampling)


@torch.no_grad()
def said_by(
    model: PreTrainedModel, prompt: Sequence[int], sampling: Sampling, **others: object
) -> list[int]:
    """What generate() says, greedily or with beams, with its own names for the settings."""
    named: dict[str, object] = {
        "min_new_tokens": sampling.min_tokens,
        "bad_words_ids": [list(word) for word in sampling.bad_words],
        "sequence_bias": [[[token], value] for token, value in sampling.logit_bias],
    }
    if sampling.beams > 1:
        others |= {
            "num_beams": sampling.beams, "length_penalty": sampling.length_penalty,
            "early_stopping": False,
        }  # fmt: skip
    ids = torch.tensor([list(prompt)])
    out = model.generate(  # type: ignore[operator]  # theirs is of a wrapped kind
        input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, pad_token_id=4,
        max_new_tokens=sampling.max_tokens, repetition_penalty=sampling.repetition_penalty,
        **{name: value for name, value in named.items() if value}, **others,
    )  # fmt: skip
    found: list[int] = out[0, len(prompt) :].tolist()
    return found
