"""The model card of rapport-tiny, written from what was measured.

Reads ``training.json`` (from `learning.pretraining.pretrain`) in a model folder, samples
replies with `learning.pretraining.evaluate`, and writes ``README.md`` beside the weights: no
figure in it is typed by hand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from learning.pretraining.corpus import Dialogue, read_corpus
from learning.pretraining.evaluate import (
    ReplyScores,
    Sampled,
    Speaker,
    answer_openers,
    score_replies,
)

SEED = 2026
HELD_OUT_REPLIES = 200

DATA = """## Data

* Self-dialogue corpus (Fainberg et al. 2018): casual two-sided small talk. BSD-3-Clause.
* Synthetic-Persona-Chat (Jandaghi et al. 2023): persona small talk, of which `test` is for
  evaluation only. CC BY 4.0.
* Everyday dialogues (`learning/pretraining/everyday`), written for Rapport: greetings, itself,
  feelings, plans, home, culture, questions, and chats of a few turns, many of them with choices
  and slots. Dialogues in which somebody says one of the thirty openers below are left out.
  Apache-2.0.

Licence texts and attribution are in `NOTICE`.

Two per cent of the dialogues, by a hash of their words, are for validation and two for test."""

LIMITS = """## What it cannot do

It has no knowledge worth the name: names, numbers, titles and facts in its replies are
often wrong. It cannot reason, count, follow instructions beyond the manner of its system
prompt, write code, or speak anything but English. It loses the thread after a few turns,
contradicts itself, and may claim to have seen films or have a family, as the people in its
training data did. The corpora were only lightly filtered, so a rude or odd reply is
possible. Use it to see how Rapport works, and choose a larger model to talk with."""


def write_card(folder: Path, data: Path) -> Path:
    """Measure the model in `folder` on the held-out part of `data` and write its card.

    Raises:
        DataError: the corpora are not in `data`.
    """
    training = json.loads((folder / "training.json").read_text())
    speaker = Speaker(folder)
    dialogues = read_corpus(data)
    scores = {
        source: score_replies(speaker, held_out(dialogues, source), SEED)
        for source in ("self_dialogue", "persona_test", "everyday")
    }
    replies = answer_openers(speaker, SEED)
    again = [r for seed in range(1, 5) for r in answer_openers(speaker, SEED + seed)]
    ended = sum(r.ended for r in [*replies, *again]) / len([*replies, *again])
    size = (folder / "model.safetensors").stat().st_size / 1e6
    parameters = sum(p.numel() for p in speaker.model.parameters())
    card = _card(training, scores, replies, ended, size, parameters)
    path = folder / "README.md"
    path.write_text(card, encoding="utf-8")
    return path


def held_out(dialogues: list[Dialogue], source: str) -> list[Dialogue]:
    """The first dialogues of the test part of a source; all of persona_test is test."""
    return [
        d for d in dialogues
        if d.source == source and (d.split() == "test" or source == "persona_test")
    ][:HELD_OUT_REPLIES]


def _card(
    training: dict[str, Any], scores: dict[str, ReplyScores], replies: list[Sampled],
    ended: float, size: float, parameters: int,
) -> str:
    parts = (
        _about(training["settings"], size, parameters), _recipe(training), DATA,
        _losses(training["held_out"]), _compared(scores), _openers(replies, ended), LIMITS,
    )
    return "\n\n".join(parts) + "\n"


def _about(settings: Mapping[str, Any], size: float, parameters: int) -> str:
    return f"""# rapport-tiny

The chat model that ships with Rapport, so that the whole loop (talk, vote, train, judge,
swap) runs on two CPU cores without a download. It was trained from scratch on everyday
English dialogues and knows nothing else.

* Llama architecture, {parameters / 1e6:.1f} M parameters: {settings["layers"]} layers of
  {settings["hidden"]}, {settings["heads"]} heads, {settings["vocabulary"]} tokens of byte-level
  BPE, tied embeddings; {size:.1f} MB in bf16 safetensors.
* Context of {settings["context"]} tokens. Chat template with system, user and assistant,
  prefix-stable, with generation marks."""


def _recipe(training: Mapping[str, Any]) -> str:
    settings = training["settings"]
    return f"""## Recipe

`rapport pretrain --data DIR --out DIR --minutes {settings["minutes"]:g}{_start(settings)}`:
{training["steps"]} steps, {training["tokens"] / 1e6:.1f} M tokens in {training["minutes"]}
minutes on two busy CPU cores in fp32. Batches of {settings["batch_tokens"]} tokens in packed
rows of {settings["context"] // 2} and
{settings["context"]}; Muon (peak {settings["muon_learning_rate"]}) for matrices, AdamW (peak
{settings["learning_rate"]}) for the rest, warm-up and cosine over the time. A dialogue sees only
itself; a token that a person says weighs {settings["heard_weight"]:g} of one that the bot is to
say, and {settings["token_dropout"]:.0%} of people's words are dropped until the last 8 % of the
time; the share of everyday dialogues grows from {settings["everyday_first"]:.0%} to
{settings["everyday_last"]:.0%} of the tokens.
Half of the dialogues have a system prompt, a tenth has example exchanges in it.

{training.get("notes", "")}

Temperature 0.8 and top-p 0.95 suit it. For LoRA it wants a learning rate of 1e-3, more than
larger models."""


def _losses(held_out: Mapping[str, Any]) -> str:
    losses = "\n".join(
        f"| {source} | {row['loss']:.3f} | {row['perplexity']:.1f} | {row['tokens']} |"
        for source, row in held_out.items()
    )
    return f"""## Held-out loss

Each dialogue alone, its first 1024 tokens, loss in nats a token.

| source | loss | perplexity | tokens |
|---|---|---|---|
{losses}"""


def _compared(scores: Mapping[str, ReplyScores]) -> str:
    compared = "\n".join(
        f"| {source} | {s.dialogues} | {s.bleu} | {s.rouge_l} | {s.distinct_1} | "
        f"{s.distinct_2} | {s.mean_words} |"
        for source, s in scores.items()
    )
    return f"""## Replies against people's, on held-out dialogues

One sampled reply to the middle of each dialogue. BLEU and ROUGE-L compare with the one thing
a person happened to say there, and say little about quality.

| source | dialogues | BLEU | ROUGE-L | distinct-1 | distinct-2 | words a reply |
|---|---|---|---|---|---|---|
{compared}"""


def _openers(replies: Sequence[Sampled], ended: float) -> str:
    answers = "\n".join(f"| {_cell(r.prompt)} | {_cell(r.reply)} |" for r in replies)
    return f"""## Thirty openers

Fixed before training; the first sampled reply to each, as it came (seed {SEED}, temperature
0.8, top-p 0.95). {ended:.1%} of the replies to them over five seeds
end by themselves.

| opener | reply |
|---|---|
{answers}"""


def _start(settings: Mapping[str, Any]) -> str:
    return " --start MODEL" if settings.get("start") else ""


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
