"""Pretraining on a toy corpus: the real loop, and what it leaves on the disk."""

from __future__ import annotations

import json
import lzma
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from bot.errors import DataError
from learning.pretraining import packing
from learning.pretraining.corpus import Dialogue
from learning.pretraining.muon import orthogonalise
from learning.pretraining.packing import Stream
from learning.pretraining.pretrain import (
    PretrainSettings,
    Progress,
    new_model,
    pretrain,
    rate,
    reading_loss,
)

TOY = PretrainSettings(
    minutes=1.0, hidden=32, layers=2, heads=2, intermediate=64, vocabulary=600, context=64,
    batch_tokens=256, checkpoint_minutes=0.2,
)


class Seconds:
    """A clock that is a second further each time it is asked: a minute is sixty steps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "self_dialogue").mkdir()
    with lzma.open(folder / "self_dialogue" / "a.jsonl.xz", "wt") as file:
        for i in range(60):
            turns = [f"I like film {i}.", f"Film {i} is good.", "Why?", f"It has {i} songs."]
            file.write(json.dumps({"topic": "t", "turns": turns}) + "\n")
    return folder


@pytest.fixture(scope="module")
def run(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Progress]]:
    seen: list[Progress] = []
    out = pretrain(corpus, tmp_path_factory.mktemp("out"), TOY, seen.append, Seconds())
    return out, seen


def test_a_run_lowers_the_loss_and_reports_each_step(run: tuple[Path, list[Progress]]) -> None:
    _, seen = run

    assert [p.step for p in seen] == list(range(1, 61))
    assert seen[-1].loss < seen[0].loss - 0.5
    assert seen[-1].tokens == len(seen) * TOY.batch_tokens


def test_the_folder_opens_with_any_loader_and_holds_bf16_weights_and_figures(
    run: tuple[Path, list[Progress]],
) -> None:
    out, _ = run
    model = AutoModelForCausalLM.from_pretrained(out)
    figures = json.loads((out / "training.json").read_text())

    assert model.dtype == torch.bfloat16
    assert not (out / "checkpoint.pt").exists()
    assert figures["held_out"]["everyday"]["perplexity"] > 1
    assert figures["settings"]["seed"] == 0


def test_a_finished_model_is_not_written_over(
    corpus: Path, run: tuple[Path, list[Progress]]
) -> None:
    with pytest.raises(DataError, match="finished model"):
        pretrain(corpus, run[0], TOY)


def test_the_chat_template_is_prefix_stable_and_marks_what_the_assistant_said(
    run: tuple[Path, list[Progress]],
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(run[0])
    first = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hi"}]
    then = [*first, {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "ok"}]

    prompt = tokenizer.apply_chat_template(first, tokenize=False, add_generation_prompt=True)
    longer = tokenizer.apply_chat_template(then, tokenize=False, add_generation_prompt=True)
    marked = tokenizer.apply_chat_template(
        then, return_dict=True, return_assistant_tokens_mask=True
    )

    assert longer.startswith(prompt + "Hello.")
    said = [i for i, m in zip(marked["input_ids"], marked["assistant_masks"], strict=True) if m]
    assert tokenizer.decode(said) == "Hello.<|end|>"


def test_a_stream_renders_dialogues_as_the_template_does(
    run: tuple[Path, list[Progress]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "dress", lambda dialogue, *_: dialogue)
    tokenizer = AutoTokenizer.from_pretrained(run[0])
    dialogue = Dialogue("everyday", (("user", "hi"),), "Be kind.", ("Hello.",))
    other = replace(dialogue, source="x")
    stream = Stream([dialogue, other], tokenizer.backend_tokenizer, seed=0)

    rendered = tokenizer.apply_chat_template(dialogue.messages(), return_dict=True)["input_ids"]

    assert stream.encode(dialogue) == rendered
    assert stream.batch(2, 16, 0.5).ids.shape == (2, 17)


def test_a_batch_tells_what_the_assistant_says_and_where_a_dialogue_begins(
    run: tuple[Path, list[Progress]],
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(run[0])
    dialogue = Dialogue("everyday", (("user", "hi"),), "Be kind.", ("Hello.",))
    stream = Stream([dialogue], tokenizer.backend_tokenizer, seed=0)

    batch = stream.batch(1, 60, 1.0)

    assert set(tokenizer.decode(batch.ids[batch.replied]).split("<|end|>")) >= {"Hello."}
    assert "hi" not in tokenizer.decode(batch.ids[batch.replied])
    begins = batch.ids[0] == tokenizer.bos_token_id
    assert torch.equal(begins[1:], batch.dialogue[0].diff() > 0)


def test_a_packed_dialogue_is_read_as_if_it_stood_alone() -> None:
    model = new_model(TOY, 50).eval()
    first, second = torch.randint(6, 50, (1, 9)), torch.randint(6, 50, (1, 7))
    ids, targets = torch.cat((first, second), 1), torch.randint(6, 50, (1, 16))
    dialogue = torch.tensor([[1] * 9 + [2] * 7])
    ones = torch.ones(1, 7)

    packed = reading_loss(
        model, ids, dialogue, targets, torch.cat((torch.zeros(1, 9), ones), 1)
    )
    alone = reading_loss(model, second, dialogue[:, 9:], targets[:, 9:], ones)

    assert packed.item() == pytest.approx(alone.item(), rel=1e-5)


def test_a_dialogue_with_an_unseen_sentence_is_not_shown_however_it_is_typed(
    run: tuple[Path, list[Progress]],
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(run[0])
    held = Dialogue("everyday", (("user", "Hi there"),), "", ("No.",))
    shown = Dialogue("everyday", (("user", "good day"),), "", ("Yes.",))
    stream = Stream([held, shown], tokenizer.backend_tokenizer, 0, ["hi, there!"])

    text = tokenizer.decode(stream.batch(2, 200, 1.0).ids.flatten())
    assert "Yes." in text
    assert "No." not in text


def test_an_interrupted_run_goes_on_from_its_checkpoint(corpus: Path, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def interrupt(progress: Progress) -> None:
        if (tmp_path / "checkpoint.pt").exists():
            raise Stop

    with pytest.raises(Stop):
        pretrain(corpus, tmp_path, replace(TOY, minutes=10), interrupt, Seconds())
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["state"]
    resumed: list[Progress] = []
    pretrain(
        corpus, tmp_path, replace(TOY, minutes=saved["seconds"] / 60 + 0.1), resumed.append,
        Seconds(),
    )

    assert resumed[0].step == saved["step"] + 1
    assert resumed[0].tokens == saved["tokens"] + TOY.batch_tokens


def test_a_run_may_begin_with_a_finished_model(
    corpus: Path, run: tuple[Path, list[Progress]], tmp_path: Path
) -> None:
    seen: list[Progress] = []

    settings = replace(TOY, minutes=0.1, start=str(run[0]))
    pretrain(corpus, tmp_path, settings, seen.append, Seconds())

    assert seen[0].loss < run[1][0].loss - 0.3
    assert (tmp_path / "tokenizer.json").read_text() == (run[0] / "tokenizer.json").read_text()


def test_orthogonalised_matrices_have_singular_values_near_one() -> None:
    torch.manual_seed(0)
    for shape in [(2, 24, 40), (2, 40, 24)]:
        values = torch.linalg.svdvals(orthogonalise(torch.randn(shape)))
        assert values.min() > 0.6
        assert values.max() < 1.3


def test_the_learning_rate_warms_up_then_falls_to_two_per_cent() -> None:
    assert rate(0.01, 0.02) == pytest.approx(0.5)
    assert rate(0.02, 0.02) == pytest.approx(1.0)
    assert rate(1.0, 0.02) == pytest.approx(0.02)
