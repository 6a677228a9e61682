"""How strong an adapter is kept, and what drawn pairs teach."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from bot.config import PreferenceConfig
from learning.training.adapter import CONFIG_FILE, WEIGHTS_FILE
from learning.training.supervision import Choice
from learning.types import BaseReply, Snapshot
from tests.engine.tiny import make_model, plain_model, with_adapter
from tests.learning.votes_of_words import (
    DISLIKED_WORDS,
    END,
    SETTINGS,
    job_slices,
    make_snapshot,
    train,
)

HARD = SETTINGS.model_copy(update={"learning_rate": 2e-2, "epochs": 6, "kl": 0.0})
TASTE = Choice(taste=True)
APART = Choice(dpo=True, settings=PreferenceConfig(learning_rate=2e-2, nll=1.0, beta=0.5))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("base"))


@pytest.fixture
def model(base: Path) -> PreTrainedModel:
    return plain_model(base)


def gauged() -> Snapshot:
    """Rivals to tell apart, of which the base is said to be fond of the worse."""
    snapshot = make_snapshot(24, 0, rivals=True)
    worse = tuple(
        BaseReply(one.prompt_ids, one.reply_ids) for one in snapshot.examples if not one.liked
    )
    return replace(snapshot, replay=(), gauge=worse)


def nll(model: PreTrainedModel, said: BaseReply) -> float:
    ids = torch.tensor([[*said.prompt_ids, *said.reply_ids]])
    with torch.no_grad():
        logs = model(input_ids=ids).logits[0].log_softmax(-1)
    first = len(said.prompt_ids)
    return -math.fsum(
        float(logs[place - 1, ids[0, place]]) for place in range(first, ids.shape[1])
    )


def rise(base: Path, folder: Path, replies: tuple[BaseReply, ...]) -> float:
    """How much harder replies became for an adapter."""
    plain, tuned = plain_model(base), with_adapter(base, folder)
    return sum(nll(tuned, one) for one in replies) / sum(nll(plain, one) for one in replies) - 1


def test_an_adapter_that_went_too_far_is_kept_as_strong_as_it_may_be(
    base: Path, model: PreTrainedModel, tmp_path: Path
) -> None:
    snapshot = gauged()
    strengths = []
    for name, most in (("free", 0.0), ("held", 0.02)):
        settings = HARD.model_copy(update={"most_drift": most})
        _, result = train(model, snapshot, tmp_path / name, settings, choice=APART)
        strengths.append(result.strength)
    free, held = (rise(base, tmp_path / name, snapshot.gauge) for name in ("free", "held"))
    assert free > 0.02
    assert 0.002 < held <= 0.02 + 1e-4
    assert strengths[0] == 1.0 > strengths[1] > 0.0
    liked = BaseReply(snapshot.examples[0].prompt_ids, snapshot.examples[0].reply_ids)
    assert nll(with_adapter(base, tmp_path / "held"), liked) < nll(plain_model(base), liked) - 0.05


def test_an_adapter_within_the_bounds_is_kept_as_it_was_trained(
    model: PreTrainedModel, tmp_path: Path
) -> None:
    for name, most in (("free", 0.0), ("wide", 1.0)):
        settings = HARD.model_copy(update={"most_drift": most})
        train(model, gauged(), tmp_path / name, settings, choice=APART)
    for file in (WEIGHTS_FILE, CONFIG_FILE):
        assert (tmp_path / "free" / file).read_bytes() == (tmp_path / "wide" / file).read_bytes()


def test_a_run_that_was_closed_while_its_strength_was_measured_ends_with_the_same_bytes(
    model: PreTrainedModel, tmp_path: Path
) -> None:
    settings = HARD.model_copy(update={"most_drift": 0.02})
    slices = list(job_slices(model, gauged(), tmp_path / "whole", settings, choice=APART))
    cut = job_slices(model, gauged(), tmp_path / "cut", settings, choice=APART)
    for _ in range(len(slices) - 3):
        next(cut)
    cut.close()  # type: ignore[attr-defined]  # a generator
    assert not (tmp_path / "cut" / WEIGHTS_FILE).exists()
    train(model, gauged(), tmp_path / "cut", settings, choice=APART)
    whole, resumed = (tmp_path / name / WEIGHTS_FILE for name in ("whole", "cut"))
    assert whole.read_bytes() == resumed.read_bytes()


def test_drawn_replies_become_likelier_where_they_are_asked_for_and_nowhere_else(
    base: Path, model: PreTrainedModel, tmp_path: Path
) -> None:
    drawn = tuple(
        BaseReply((30 + n, 31), (DISLIKED_WORDS[n % 6], DISLIKED_WORDS[(n + 1) % 6], END))
        for n in range(12)
    )
    plain, gained = make_snapshot(8, 0), {}
    for name, choice in (("taste", TASTE), ("sft", Choice())):
        train(model, replace(plain, chosen=drawn), tmp_path / name, choice=choice)
        tuned = with_adapter(base, tmp_path / name)
        gained[name] = sum(nll(plain_model(base), one) - nll(tuned, one) for one in drawn)
    assert gained["taste"] > gained["sft"] + 1.0
    train(model, plain, tmp_path / "without")
    one, two = (tmp_path / name / WEIGHTS_FILE for name in ("sft", "without"))
    assert one.read_bytes() == two.read_bytes()
