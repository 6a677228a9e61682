"""Dialogues as token rows: the tokenizer of a small chat model and its training stream.

The stream packs whole dialogues end to end, each begun with the mark that begins a
conversation, and cuts the result into rows of equal length. It knows how the sources are
mixed and how a dialogue is rendered; it knows nothing of models or schedules.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from learning.pretraining.corpus import Dialogue, dress

BEGIN, END, PAD = "<|begin|>", "<|end|>", "<|pad|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE = (
    "{{- bos_token }}{% for message in messages %}"
    "{{- '<|' + message['role'] + '|>' }}"
    "{%- if message['role'] == 'assistant' %}"
    "{% generation %}{{- message['content'] + '<|end|>' }}{% endgeneration %}"
    "{%- else %}{{- message['content'] + '<|end|>' }}{% endif %}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|assistant|>' }}{% endif %}"
)


def train_tokenizer(texts: Iterator[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE with the chat marks as special tokens and the chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, BEGIN, END, *ROLES],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=list(ROLES),
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


@dataclass(frozen=True)
class Batch:
    """Packed rows; every tensor is [rows, length + 1], one longer than what is read at once."""

    ids: Tensor
    """int64 token ids."""
    replied: Tensor
    """bool: the assistant is to say this token (its words and the mark that ends them)."""
    dialogue: Tensor
    """int64: which dialogue of the batch the token belongs to."""


@dataclass(frozen=True)
class _Token:
    id: int
    replied: bool
    dialogue: int


class Stream:
    """An endless stream of packed token rows, with a share of everyday dialogues that grows.

    Dialogues of each source are visited in shuffled order, again and again; each visit
    chooses the system prompt, the reply and the wording anew. A dialogue in which somebody
    says one of the `unseen` sentences, in whatever case and punctuation, is not shown.
    """

    def __init__(
        self, dialogues: list[Dialogue], tokenizer: Tokenizer, seed: int,
        unseen: Iterable[str] = (),
    ) -> None:
        self._rng = random.Random(seed)
        self._unseen = {_plain(text) for text in unseen}
        self._tokenizer = tokenizer
        self._everyday = [d for d in dialogues if d.source == "everyday"]
        self._answered = [d for d in self._everyday if d.replies]
        self._other = self._visits([d for d in dialogues if d.source != "everyday"])
        self._own = self._visits(self._everyday)
        self._rest: list[_Token] = []
        self._shown = 0
        ids = tokenizer.get_vocab()
        self._ids = {mark: ids[mark] for mark in (BEGIN, END, *ROLES)}

    def _visits(self, dialogues: list[Dialogue]) -> Iterator[Dialogue]:
        order = [d for d in dialogues for _ in range(d.visits)]
        while True:
            self._rng.shuffle(order)
            for dialogue in order:
                said = dialogue.said(self._rng, hurried=True)
                if not any(_plain(content) in self._unseen for _, content in said.turns):
                    yield said

    def batch(self, rows: int, length: int, everyday_share: float) -> Batch:
        """The next tokens in rows of `length` + 1; `everyday_share` counts tokens."""
        need = rows * (length + 1)
        own = other = 1
        while len(self._rest) < need:
            everyday = own <= everyday_share * (own + other)
            tokens = self._tokens(next(self._own if everyday else self._other))
            own, other = (own + len(tokens), other) if everyday else (own, other + len(tokens))
            self._rest += tokens
        taken, self._rest = self._rest[:need], self._rest[need:]
        shape = (rows, length + 1)
        return Batch(
            torch.tensor([token.id for token in taken]).view(shape),
            torch.tensor([token.replied for token in taken]).view(shape),
            torch.tensor([token.dialogue for token in taken]).view(shape),
        )

    def encode(self, dialogue: Dialogue) -> list[int]:
        """Token ids of one visit, as the chat template would render them."""
        return [token.id for token in self._tokens(dialogue)]

    def _tokens(self, dialogue: Dialogue) -> list[_Token]:
        dressed = dress(dialogue, self._rng, self._answered)
        if any(text in _plain(dressed.system) for text in self._unseen):
            dressed = dress(dialogue, self._rng, [])  # an example shows what is not to be seen
        self._shown += 1
        tokens = [_Token(self._ids[BEGIN], False, self._shown)]
        for message in dressed.messages():
            replied = message["role"] == "assistant"
            words = self._tokenizer.encode(message["content"], add_special_tokens=False).ids
            tokens.append(_Token(self._ids[f"<|{message['role']}|>"], False, self._shown))
            tokens += [_Token(i, replied, self._shown) for i in (*words, self._ids[END])]
        return tokens


def _plain(text: str) -> str:
    """The words alone, for telling whether two sentences are the same."""
    return " ".join("".join(c for c in text.lower() if c.isalnum() or c.isspace()).split())
