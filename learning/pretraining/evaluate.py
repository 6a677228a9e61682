"""What a pretrained chat model says: replies to openers and to held-out dialogues, measured.

Works on a model folder alone, with plain `generate`; it knows nothing of the engine, so
that its figures can be made again with transformers only. The model card is written from
what it returns (`learning.pretraining.card`).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from bot.errors import DataError
from learning.metrics import distinct_n
from learning.overlap import overlap
from learning.pretraining.corpus import Dialogue

OPENERS = Path(__file__).parent / "prompts" / "openers.txt"
SYSTEM = "You are Rapport, a friendly chatbot."


@dataclass(frozen=True)
class Sampled:
    """A sampled reply and whether it ended by itself within the allowance."""

    prompt: str
    reply: str
    ended: bool


@dataclass(frozen=True)
class ReplyScores:
    """Sampled replies against the ones people wrote, over held-out dialogues."""

    dialogues: int
    bleu: float
    rouge_l: float
    distinct_1: float
    distinct_2: float
    mean_words: float


class Speaker:
    """A model folder that answers conversations in batches, by sampling.

    Temperature 0.8 and top-p 0.95, as the bot does by default.
    """

    def __init__(self, folder: Path) -> None:
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self.tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")

    @torch.inference_mode()
    def reply(
        self, conversations: Sequence[list[dict[str, str]]], seed: int, max_tokens: int = 120
    ) -> list[Sampled]:
        """One sampled reply a conversation, 16 at a time."""
        torch.manual_seed(seed)
        result: list[Sampled] = []
        for start in range(0, len(conversations), 16):
            batch = conversations[start : start + 16]
            inputs: Any = self.tokenizer.apply_chat_template(
                list(batch), add_generation_prompt=True, padding=True, return_tensors="pt",
                return_dict=True,
            )
            output: Any = self.model.generate(
                **inputs, do_sample=True, temperature=0.8, top_p=0.95, top_k=0,
                max_new_tokens=max_tokens,
            )
            new = output[:, inputs["input_ids"].shape[1] :]
            for conversation, ids in zip(batch, new, strict=True):
                ended = bool((ids == self.tokenizer.eos_token_id).any())
                text = str(self.tokenizer.decode(ids, skip_special_tokens=True)).strip()
                result.append(Sampled(conversation[-1]["content"], text, ended))
        return result


def openers() -> list[str]:
    """The thirty everyday openers, fixed before the model was trained."""
    return OPENERS.read_text(encoding="utf-8").splitlines()


def answer_openers(speaker: Speaker, seed: int) -> list[Sampled]:
    """The first sampled reply to each opener under the default system prompt."""
    system = {"role": "system", "content": SYSTEM}
    return speaker.reply([[system, {"role": "user", "content": o}] for o in openers()], seed)


def score_replies(speaker: Speaker, dialogues: Iterable[Dialogue], seed: int) -> ReplyScores:
    """Answer the middle of each dialogue and compare with what a person said there.

    Raises:
        DataError: there is nothing to compare, or the extra ``card`` is not installed.
    """
    contexts, references = [], []
    for dialogue in dialogues:
        messages = dialogue.said(random.Random(seed)).messages()
        answers = [i for i, m in enumerate(messages) if m["role"] == "assistant"]
        middle = answers[len(answers) // 2]
        contexts.append(messages[:middle])
        references.append(messages[middle]["content"])
    replies = [sampled.reply for sampled in speaker.reply(contexts, seed)]
    words = [reply.split() for reply in replies]
    found = overlap(replies, [[reference] for reference in references])
    if found is None:
        raise DataError("comparing replies needs dialogues, and pip install 'rapport-bot[card]'")
    return ReplyScores(
        dialogues=len(replies),
        bleu=round(found.bleu, 2),
        rouge_l=round(found.rouge_l, 4),
        distinct_1=round(distinct_n(words, 1), 3),
        distinct_2=round(distinct_n(words, 2), 3),
        mean_words=round(sum(map(len, words)) / len(words), 1),
    )
