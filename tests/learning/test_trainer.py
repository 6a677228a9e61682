from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import PreTrainedModel

from bot.errors import LearningError
from learning.training.rate import learning_rate, schedule
from learning.training.trainer import training_job
from learning.types import TrainProgress, TrainResult
from tests.engine.tiny import (
    KINDS,
    make_model,
    peft_reads_old_names,
    plain_model,
    with_adapter,
)
from tests.learning.votes_of_words import (
    END,
    LIKED_WORDS,
    SETTINGS,
    TinyResident,
    job_slices,
    make_snapshot,
    train,
)

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return make_model(tmp_path / "base")


@pytest.fixture
def model(base: Path) -> PreTrainedModel:
    return plain_model(base)


def nll(model: PreTrainedModel, prompt: tuple[int, ...], reply: tuple[int, ...]) -> float:
    ids = torch.tensor([[*prompt, *reply]])
    labels = torch.tensor([[-100] * len(prompt) + list(reply)])
    with torch.no_grad():
        return float(model(input_ids=ids, labels=labels).loss)


def test_liked_replies_it_never_saw_become_likelier(
    base: Path, model: PreTrainedModel, tmp_path: Path
) -> None:
    snapshot = make_snapshot(24, 4, 8)
    progress, result = train(model, snapshot, tmp_path / "run")
    unseen = [one for one in snapshot.of("holdout") if one.liked]
    tuned = with_adapter(base, tmp_path / "run")
    before = sum(nll(model, one.prompt_ids, one.reply_ids) for one in unseen)
    after = sum(nll(tuned, one.prompt_ids, one.reply_ids) for one in unseen)
    assert after < before
    measured = [one.held_out for one in progress if one.held_out is not None]
    assert len(measured) == result.epochs == SETTINGS.epochs
    assert result.held_out == min(measured)
    assert progress[-1].step == progress[-1].steps == result.steps
    assert result.tokens > 0
    assert result.seconds > 0
    assert progress[-1].tokens_per_second > 0
    assert progress[-1].eta_seconds == 0


def test_the_same_run_twice_gives_the_same_bytes(model: PreTrainedModel, tmp_path: Path) -> None:
    snapshot = make_snapshot()
    torch.manual_seed(1)
    train(model, snapshot, tmp_path / "one")
    torch.manual_seed(2)
    train(model, snapshot, tmp_path / "two")
    train(model, snapshot, tmp_path / "three", seed=4)
    for name in (WEIGHTS, CONFIG):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert (tmp_path / "one" / WEIGHTS).read_bytes() != (tmp_path / "three" / WEIGHTS).read_bytes()


@pytest.mark.parametrize("slices", [1, 5, 10])
def test_a_run_closed_midway_ends_with_the_bytes_of_an_uninterrupted_one(
    model: PreTrainedModel, tmp_path: Path, slices: int
) -> None:
    snapshot = make_snapshot()
    _, whole = train(model, snapshot, tmp_path / "whole")
    job = job_slices(model, snapshot, tmp_path / "cut", every=1)
    for _ in range(slices):
        assert isinstance(next(job), TrainProgress)
    job.close()  # type: ignore[attr-defined]  # a generator
    assert slices < 2 or (tmp_path / "cut" / "checkpoint").is_dir()
    assert not (tmp_path / "cut" / CONFIG).exists()
    progress, resumed = train(model, snapshot, tmp_path / "cut", every=1)
    assert (tmp_path / "cut" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
    assert replace(resumed, seconds=0, tokens=0) == replace(whole, seconds=0, tokens=0)
    if slices >= 5:
        assert len(progress) < len(train(model, snapshot, tmp_path / "again")[0])
    assert sorted(path.name for path in (tmp_path / "cut").iterdir()) == [CONFIG, WEIGHTS]


def test_a_checkpoint_of_other_votes_is_not_resumed(
    model: PreTrainedModel, tmp_path: Path
) -> None:
    job = job_slices(model, make_snapshot(), tmp_path / "run", every=1)
    for _ in range(6):
        next(job)
    job.close()  # type: ignore[attr-defined]  # a generator
    other = make_snapshot(seed=1)
    train(model, other, tmp_path / "run", digest="b")
    train(model, other, tmp_path / "fresh", digest="b")
    assert (tmp_path / "run" / WEIGHTS).read_bytes() == (tmp_path / "fresh" / WEIGHTS).read_bytes()


def test_a_damaged_checkpoint_begins_anew(model: PreTrainedModel, tmp_path: Path) -> None:
    snapshot = make_snapshot()
    job = job_slices(model, snapshot, tmp_path / "run", every=1)
    for _ in range(6):
        next(job)
    job.close()  # type: ignore[attr-defined]  # a generator
    path = tmp_path / "run" / "checkpoint" / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    train(model, snapshot, tmp_path / "run")
    train(model, snapshot, tmp_path / "fresh")
    assert (tmp_path / "run" / WEIGHTS).read_bytes() == (tmp_path / "fresh" / WEIGHTS).read_bytes()


def test_the_serving_model_and_the_global_generator_stay_as_they_were(
    model: PreTrainedModel, tmp_path: Path
) -> None:
    before = {name: one.clone() for name, one in model.state_dict().items()}
    modules = [(name, type(one), one.training) for name, one in model.named_modules()]
    state = torch.random.get_rng_state()
    train(model, make_snapshot(), tmp_path / "run")
    assert torch.equal(torch.random.get_rng_state(), state)
    assert [(name, type(one), one.training) for name, one in model.named_modules()] == modules
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_peft_loads_the_result_and_says_what_the_trained_model_said(
    tmp_path: Path, kind: str
) -> None:
    base = make_model(tmp_path / "base", kind)
    snapshot = make_snapshot(validation=2)
    settings = SETTINGS.model_copy(update={"epochs": 1})
    progress, result = train(plain_model(base), snapshot, tmp_path / "run", settings)
    tuned = with_adapter(base, tmp_path / "run")
    liked = [one for one in snapshot.of("validation") if one.liked]
    spoken = sum(one.weight * len(one.reply_ids) for one in liked)
    total = sum(
        one.weight * len(one.reply_ids) * nll(tuned, one.prompt_ids, one.reply_ids)
        for one in liked
    )
    assert progress[-1].held_out == result.held_out == pytest.approx(total / spoken, rel=1e-5)
    with peft_reads_old_names():
        again = PeftModel.from_pretrained(plain_model(base), tmp_path / "run")
    again.save_pretrained(tmp_path / "saved")
    ours, theirs = (
        json.loads((tmp_path / name / CONFIG).read_text()) for name in ("run", "saved")
    )
    assert ours["target_modules"] == sorted(theirs["target_modules"])
    assert str(tmp_path) not in (tmp_path / "run" / CONFIG).read_text()
    assert ours["fan_in_fan_out"] == (kind == "gpt2")


def test_the_best_epoch_is_kept_and_patience_ends_the_run(
    model: PreTrainedModel, tmp_path: Path
) -> None:
    settings = SETTINGS.model_copy(update={"epochs": 30, "learning_rate": 0.05})
    snapshot = make_snapshot(12, 8, random_votes=True)
    progress, result = train(model, snapshot, tmp_path / "run", settings)
    measured = [one.held_out for one in progress if one.held_out is not None]
    assert result.epochs < settings.epochs
    assert measured[-1] > min(measured) == result.held_out


def test_too_few_validation_votes_are_reported_and_stop_nothing(
    model: PreTrainedModel, tmp_path: Path
) -> None:
    settings = SETTINGS.model_copy(
        update={"epochs": 12, "learning_rate": 0.05, "stop_items": 5}
    )
    snapshot = make_snapshot(12, 8, random_votes=True)
    progress, result = train(model, snapshot, tmp_path / "run", settings)
    measured = [one.held_out for one in progress if one.held_out is not None]
    assert result.epochs == len(measured) == settings.epochs
    assert result.held_out == measured[-1]


def test_without_validation_votes_every_epoch_is_run(
    model: PreTrainedModel, tmp_path: Path
) -> None:
    _, result = train(model, make_snapshot(12, 0), tmp_path / "run")
    assert (result.epochs, result.held_out) == (SETTINGS.epochs, None)


@pytest.mark.parametrize("end", [(), (9,)], ids=["cut by length", "another end"])
def test_a_set_without_a_liked_reply_that_ended_is_refused(
    model: PreTrainedModel, tmp_path: Path, end: tuple[int, ...]
) -> None:
    with pytest.raises(LearningError, match="nothing to supervise"):
        train(model, make_snapshot(end=end), tmp_path / "run")


def test_the_kl_term_holds_the_candidate_nearer_to_the_base(
    base: Path, model: PreTrainedModel, tmp_path: Path
) -> None:
    snapshot = make_snapshot(24, 0)
    distances = []
    for kl in (0.0, 30.0):
        settings = SETTINGS.model_copy(update={"kl": kl, "epochs": 4})
        train(model, snapshot, tmp_path / str(kl), settings)
        tuned = with_adapter(base, tmp_path / str(kl))
        ids = torch.tensor([snapshot.replay[0].prompt_ids + snapshot.replay[0].reply_ids])
        with torch.no_grad():
            new, old = (m(input_ids=ids).logits.log_softmax(-1) for m in (tuned, model))
        distances.append(float((new.exp() * (new - old)).sum(-1).mean()))
    assert distances[1] < 0.8 * distances[0]


class Cramped(TinyResident):
    """A device on which only so many tokens fit at a time."""

    fits = 20

    def twin(self) -> PreTrainedModel:
        twin = super().twin()

        def refuse(_: object, args: tuple[object, ...], kwargs: dict[str, torch.Tensor]) -> None:
            if kwargs["input_ids"].numel() > self.fits:
                raise torch.OutOfMemoryError("no room")

        twin.register_forward_pre_hook(refuse, with_kwargs=True)
        return twin


def test_out_of_memory_halves_the_micro_batch_and_learns_the_same(
    base: Path, model: PreTrainedModel, tmp_path: Path
) -> None:
    snapshot = make_snapshot()
    settings = SETTINGS.model_copy(update={"micro_batch": 4})
    train(model, snapshot, tmp_path / "roomy", settings)
    job = training_job(snapshot, settings, tmp_path / "cramped", 3, (END,), digest="a")
    assert isinstance(list(job(Cramped(model)))[-1], TrainResult)
    probe = (7, 8, 9), (LIKED_WORDS[0], LIKED_WORDS[1], END)
    one, two = (nll(with_adapter(base, tmp_path / n), *probe) for n in ("roomy", "cramped"))
    assert one == pytest.approx(two, rel=1e-3)


class Narrow(TinyResident):
    """A device on which a way back fits only where layers are computed again for it."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__(model)
        self.widths: list[int] = []

    def twin(self) -> PreTrainedModel:
        twin = super().twin()

        def refuse(_: object, args: tuple[object, ...], kwargs: dict[str, torch.Tensor]) -> None:
            if torch.is_grad_enabled() and "forward" not in vars(twin.model.layers[0]):
                self.widths.append(len(kwargs["input_ids"]))
                raise torch.OutOfMemoryError("no room")

        twin.register_forward_pre_hook(refuse, with_kwargs=True)
        return twin


@pytest.mark.parametrize("interrupted", [False, True])
def test_where_one_row_does_not_fit_layers_are_computed_again_and_it_learns_the_same(
    model: PreTrainedModel, tmp_path: Path, interrupted: bool
) -> None:
    snapshot, resident = make_snapshot(), Narrow(model)
    single = SETTINGS.model_copy(update={"micro_batch": 1})
    train(model, snapshot, tmp_path / "roomy", single)
    settings = SETTINGS.model_copy(update={"micro_batch": 4})

    def job() -> Iterator[object]:
        made = training_job(
            snapshot, settings, tmp_path / "narrow", 3, (END,), digest="a", checkpoint_every=1
        )
        return iter(made(resident))

    if interrupted:
        begun = job()
        for _ in range(9):
            next(begun)
        tried = len(resident.widths)
    assert isinstance(list(job())[-1], TrainResult)
    if interrupted:
        assert len(resident.widths) == tried  # it has not forgotten
    one, two = ((tmp_path / name / WEIGHTS).read_bytes() for name in ("roomy", "narrow"))
    assert one == two


def test_a_single_row_that_does_not_fit_is_an_error_with_advice(
    model: PreTrainedModel, tmp_path: Path
) -> None:
    class Full(Cramped):
        fits = 0

    job = training_job(make_snapshot(), SETTINGS, tmp_path / "run", 3, (END,), digest="a")
    with pytest.raises(LearningError, match="does not fit in memory"):
        list(job(Full(model)))


def test_the_automatic_rate_is_higher_for_a_small_model_and_falls_to_nothing(
    model: PreTrainedModel,
) -> None:
    assert learning_rate(model) == 1e-3
    rates = [schedule(step, 50) for step in range(50)]
    assert max(rates) == rates[5] == 1.0
    assert rates[:5] == sorted(rates[:5])
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert 0 < rates[-1] < 0.01
