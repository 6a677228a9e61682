from __future__ import annotations

import math
from pathlib import Path
from statistics import mean

import pytest
import torch
from transformers import PreTrainedModel

from bot.config import PreferenceConfig
from bot.errors import LearningError
from learning.training.batches import Row, Unit
from learning.training.preference import Kto, Objective, Said, class_weights
from learning.training.supervision import SFT, Choice, Supervision, flat, pairs, rated
from learning.training.trainer import training_job
from learning.types import Snapshot, TrainResult
from tests.engine.tiny import make_model, plain_model, with_adapter
from tests.learning.test_trainer import WEIGHTS, Cramped, nll, one_thread
from tests.learning.votes_of_words import END, SETTINGS, job_slices, make_snapshot, train

__all__ = ["one_thread"]

FAST = PreferenceConfig(learning_rate=5e-3)
KTO, DPO = Choice(kto=True, settings=FAST), Choice(dpo=True, settings=FAST)
BOTH = Choice(kto=True, dpo=True, settings=FAST)
each_choice = pytest.mark.parametrize("choice", [KTO, DPO, BOTH], ids=lambda one: one.name)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return make_model(tmp_path / "base")


@pytest.fixture
def model(base: Path) -> PreTrainedModel:
    return plain_model(base)


def shift(
    base: PreTrainedModel, tuned: PreTrainedModel, snapshot: Snapshot, liked: bool
) -> float:
    """How much likelier the trained replies of a kind have become, in nats a token."""
    rows = rated(snapshot, (END,))[0 if liked else 1]
    return mean(nll(base, r.prompt_ids, r.reply_ids) - nll(tuned, r.prompt_ids, r.reply_ids)
                for r in rows)


@each_choice
def test_the_loss_falls_and_liked_replies_rise_above_disliked_ones(
    base: Path, model: PreTrainedModel, tmp_path: Path, choice: Choice
) -> None:
    snapshot = make_snapshot(24, 0, rivals=True)
    settings = SETTINGS.model_copy(update={"epochs": 6})
    progress, _ = train(model, snapshot, tmp_path / "run", settings, choice=choice)
    epochs = [[one.loss for one in progress if one.epoch == epoch and one.step] for epoch in (0, 5)]
    assert mean(epochs[1]) < 0.9 * mean(epochs[0])
    tuned = with_adapter(base, tmp_path / "run")
    liked, disliked = (shift(model, tuned, snapshot, kind) for kind in (True, False))
    assert liked > 0.05
    assert liked > disliked + 0.2


def test_kto_pushes_down_what_was_disliked_and_sft_does_not(
    base: Path, model: PreTrainedModel, tmp_path: Path
) -> None:
    snapshot = make_snapshot(24, 0, random_votes=True)
    settings = SETTINGS.model_copy(update={"epochs": 6, "kl": 0.0, "replay": 0.0})
    gaps = []
    for choice in (SFT, KTO):
        train(model, snapshot, tmp_path / choice.name, settings, choice=choice)
        tuned = with_adapter(base, tmp_path / choice.name)
        gaps.append(shift(model, tuned, snapshot, True) - shift(model, tuned, snapshot, False))
    assert gaps[1] > gaps[0] + 0.1


@each_choice
def test_a_run_is_a_function_of_its_inputs_whether_or_not_it_was_interrupted(
    model: PreTrainedModel, tmp_path: Path, choice: Choice
) -> None:
    snapshot = make_snapshot(12, 4, rivals=True)

    def run(name: str) -> bytes:
        train(model, snapshot, tmp_path / name, choice=choice, every=1)
        return (tmp_path / name / WEIGHTS).read_bytes()

    whole = run("whole")
    assert run("again") == whole
    for slices in (2, 9, 17):
        job = job_slices(model, snapshot, tmp_path / "cut", choice=choice, every=1)
        for _ in range(slices):
            next(job)
        job.close()  # type: ignore[attr-defined]  # a generator
        assert run("cut") == whole


def test_what_the_base_says_is_asked_once_even_across_an_interruption(
    model: PreTrainedModel, tmp_path: Path
) -> None:
    snapshot = make_snapshot(12, 0)
    slices = len(list(job_slices(model, snapshot, tmp_path / "whole", choice=KTO, every=1)))
    job = job_slices(model, snapshot, tmp_path / "run", choice=KTO, every=1)
    while next(job).step < 1:  # type: ignore[attr-defined]  # a TrainProgress
        slices -= 1
    next(job)
    job.close()  # type: ignore[attr-defined]  # a generator
    assert len(list(job_slices(model, snapshot, tmp_path / "run", choice=KTO, every=1))) < slices


def test_another_objective_does_not_go_on_with_a_checkpoint(
    model: PreTrainedModel, tmp_path: Path
) -> None:
    snapshot = make_snapshot(12, 0, rivals=True)
    job = job_slices(model, snapshot, tmp_path / "run", choice=KTO, every=1)
    for _ in range(16):
        next(job)
    job.close()  # type: ignore[attr-defined]  # a generator
    other = Choice(kto=True, settings=PreferenceConfig(learning_rate=5e-3, beta=0.5))
    train(model, snapshot, tmp_path / "run", choice=other)
    train(model, snapshot, tmp_path / "fresh", choice=other)
    assert (tmp_path / "run" / WEIGHTS).read_bytes() == (tmp_path / "fresh" / WEIGHTS).read_bytes()


@pytest.mark.parametrize(("choice", "fits"), [(KTO, 20), (DPO, 30), (BOTH, 30)])
def test_out_of_memory_halves_the_micro_batch_and_learns_the_same(
    base: Path, model: PreTrainedModel, tmp_path: Path, choice: Choice, fits: int
) -> None:
    class Small(Cramped):
        pass

    Small.fits = fits
    snapshot = make_snapshot(rivals=True)
    settings = SETTINGS.model_copy(update={"micro_batch": 4})
    train(model, snapshot, tmp_path / "roomy", settings, choice=choice)
    job = training_job(
        snapshot, settings, tmp_path / "cramped", 3, (END,), digest="a", choice=choice
    )
    assert isinstance(list(job(Small(model)))[-1], TrainResult)
    probe = snapshot.examples[0].prompt_ids, snapshot.examples[0].reply_ids
    one, two = (nll(with_adapter(base, tmp_path / n), *probe) for n in ("roomy", "cramped"))
    assert one == pytest.approx(two, rel=1e-3)
    assert one != pytest.approx(nll(model, *probe), rel=1e-2)


def test_a_pair_that_does_not_fit_is_an_error_with_advice(
    model: PreTrainedModel, tmp_path: Path
) -> None:
    snapshot = make_snapshot(rivals=True)
    job = training_job(snapshot, SETTINGS, tmp_path / "run", 3, (END,), digest="a", choice=DPO)
    with pytest.raises(LearningError, match="one example does not fit in memory"):
        list(job(Cramped(model)))


@pytest.mark.parametrize("kind", [True, False], ids=["only likes", "only dislikes"])
def test_one_kind_of_vote_alone_is_refused(
    model: PreTrainedModel, tmp_path: Path, kind: bool
) -> None:
    whole = make_snapshot()
    examples = tuple(one for one in whole.examples if one.liked is kind)
    snapshot = Snapshot("tiny", examples, whole.replay, ())
    with pytest.raises(LearningError, match="needs disliked replies" if kind else "no liked reply"):
        train(model, snapshot, tmp_path / "run", choice=KTO)


def test_a_loss_that_is_not_finite_names_the_rate_that_was_taken(
    model: PreTrainedModel, tmp_path: Path
) -> None:
    with torch.no_grad():
        next(model.parameters()).fill_(math.nan)
    with pytest.raises(LearningError, match="lower learning.preference.learning_rate"):
        train(model, make_snapshot(), tmp_path / "run", choice=KTO)


# The rows


def test_sft_takes_liked_replies_kto_all_and_dpo_the_pairs() -> None:
    snapshot = make_snapshot(6, 2, rivals=True)
    alone = make_snapshot(8, 0, seed=1).examples[6:]
    both = Snapshot("tiny", snapshot.examples + alone, snapshot.replay, ())
    shapes = {
        choice.name: [tuple(row.liked for row in unit) for unit in
                      Supervision.of(both, (END,), choice).train]
        for choice in (SFT, KTO, DPO, BOTH)
    }
    assert shapes == {
        "sft": [(True,)] * 4,
        "kto": [(True,)] * 4 + [(False,)] * 4,
        "dpo": [(True, False)] * 3,
        "kto+dpo": [(True, False)] * 3 + [(True,), (False,)],
    }


def test_a_reply_is_in_one_pair_at_most() -> None:
    prompt = (7, 8)
    liked = [Row(prompt, (20 + n, END), 1.0) for n in range(3)]
    disliked = [Row(prompt, (40 + n, END), 1.0, liked=False) for n in range(2)]
    assert pairs(liked, disliked) == dict(zip(liked, disliked, strict=False))


def test_a_mismatched_row_has_its_own_prompt_and_the_reply_to_another_one() -> None:
    rows = Supervision.of(make_snapshot(40, 0, rivals=True), (END,), KTO, seed=5)
    trained = flat(rows.train)
    by_reply = {row.reply_ids: row.prompt_ids for row in trained}
    longest = max(len(row.prompt_ids) + len(row.reply_ids) for row in trained)
    assert set(rows.mismatched) == set(trained)
    whole = 0
    for row, other in rows.mismatched.items():
        assert other.prompt_ids == row.prompt_ids
        assert len(other.prompt_ids) + len(other.reply_ids) <= longest
        whole += other.reply_ids in by_reply
        assert by_reply.get(other.reply_ids) != row.prompt_ids
    assert whole > len(trained) / 2
    again = Supervision.of(make_snapshot(40, 0, rivals=True), (END,), KTO, seed=6)
    assert again.mismatched != rows.mismatched


def test_kto_never_takes_its_reference_point_from_one_row() -> None:
    rows = Supervision.of(make_snapshot(4, 0), (END,), KTO)
    settings = SETTINGS.model_copy(update={"batch": 1, "replay": 0.0})
    assert [sum(len(piece) for piece in step) for step in rows.epoch(settings, "0")] == [2, 2]
    assert rows.steps(settings) == 2


# The terms


def said(units: list[Unit], ratio: float = 0.0) -> Said:
    rows = flat(units)
    return Said(units, torch.full((len(rows),), ratio - 7.0), torch.full((len(rows),), -7.0), 0.0)


def test_micro_batches_of_every_term_add_up_to_the_step() -> None:
    train_units = Supervision.of(make_snapshot(12, 0, rivals=True), (END,), BOTH).train
    units = [*train_units, (Row((5, 6), (9, END), 2.0, replay=True),)]
    objective = Objective.of(BOTH, units)
    totals = objective.totals(units)
    whole = float(objective.loss(said(units), totals))
    parts = sum(float(objective.loss(said([unit]), totals)) for unit in units)
    assert parts == pytest.approx(whole, rel=1e-5)
    rows = len(flat(train_units))
    weights = [row.weight for row in flat(train_units)]
    assert rows == 12
    expected = 0.5 * sum(weights) / sum(weights) + math.log(2) + 0.15 * 7 * (
        sum(r.weight for r in flat(units) if r.liked) / objective.terms[2].total(units)
    )
    assert whole == pytest.approx(expected, rel=0.05)


def test_what_the_base_wrote_is_neither_liked_nor_disliked() -> None:
    term = Kto(0.1, 1.0, 1.0)
    replay: list[Unit] = [(Row((5, 6), (9, END), 2.0, replay=True),)]
    assert term.total(replay) == 0
    assert float(term.loss(said(replay), 1.0)) == 0


def test_classes_that_count_alike_are_left_alone_and_others_are_evened_out() -> None:
    settings = PreferenceConfig()
    assert class_weights(100, 100, settings) == (1, 1)
    assert class_weights(120, 100, settings) == (1, 1)
    up, down = class_weights(400, 100, settings)
    assert (up * 400) / (down * 100) == pytest.approx(4 / 3)
    up, down = class_weights(50, 100, settings)
    assert (up * 50) / (down * 100) == pytest.approx(1)


@pytest.mark.parametrize("liked", [1e-3, 0.5, 1, 7, 40, 1e3, 1e6])
@pytest.mark.parametrize("disliked", [1e-3, 0.5, 1, 7, 40, 1e3, 1e6])
def test_class_weights_keep_their_bounds(liked: float, disliked: float) -> None:
    for settings in (PreferenceConfig(), PreferenceConfig(class_weight_low=0.5)):
        for weight in class_weights(liked, disliked, settings):
            assert settings.class_weight_low <= weight <= settings.class_weight_high
