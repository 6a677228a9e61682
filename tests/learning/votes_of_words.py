"""A tiny model and scripted votes on made-up replies: what the learning tests share."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import torch
from transformers import PreTrainedModel

from bot.config import SftConfig
from bot.engine.background import share_tensors
from learning.training.supervision import SFT, Choice
from learning.training.trainer import training_job
from learning.types import BaseReply, Example, Part, Snapshot, TrainProgress, TrainResult

END = 0
LIKED_WORDS, DISLIKED_WORDS = range(20, 26), range(140, 146)
ANY_WORDS = range(5, 280)
SETTINGS = SftConfig(
    learning_rate=5e-3, epochs=2, batch=4, micro_batch=2, rank=4, alpha=8, stop_items=1
)


class TinyResident:
    """A model as a background job sees it, without an engine around it."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.device, self.dtype = torch.device("cpu"), torch.float32

    def twin(self) -> PreTrainedModel:
        return share_tensors(self.model).requires_grad_(False).eval()

    def pause(self) -> None:
        """There is nobody to serve."""


def words(
    rng: random.Random, low: int, high: int, choice: range = ANY_WORDS
) -> tuple[int, ...]:
    return tuple(rng.choice(choice) for _ in range(rng.randint(low, high)))


def make_snapshot(
    train: int = 12, validation: int = 4, holdout: int = 0, *, seed: int = 0,
    random_votes: bool = False, end: tuple[int, ...] = (END,), rivals: bool = False,
) -> Snapshot:  # fmt: skip
    """Liked replies are of some words, disliked ones of others; or of any, by chance.

    With `rivals` each disliked reply is to the prompt of the liked one before it.
    """
    rng = random.Random(seed)
    examples: list[Example] = []
    parts: list[Part] = ["train"] * train + ["validation"] * validation + ["holdout"] * holdout
    for number, part in enumerate(parts):
        liked = number % 2 == 0
        choice = LIKED_WORDS if liked else DISLIKED_WORDS
        reply = words(rng, 3, 7, ANY_WORDS if random_votes else choice) + end
        prompt = examples[-1].prompt_ids if rivals and not liked else words(rng, 4, 12)
        examples.append(
            Example(
                number, f"channel {number}", part, prompt, reply, liked,
                1.0 if number % 4 else 0.5, (f"rater {number % 3}",),
            )
        )
    base = [BaseReply(words(rng, 4, 12), (*words(rng, 3, 9), END)) for _ in range(12)]
    return Snapshot("tiny", tuple(examples), tuple(base[:6]), tuple(base[6:]))


def job_slices(
    model: PreTrainedModel, snapshot: Snapshot, folder: Path, settings: SftConfig = SETTINGS,
    *, seed: int = 3, digest: str = "a", every: int = 20, end_ids: tuple[int, ...] = (END,),
    choice: Choice = SFT,
) -> Iterator[object]:  # fmt: skip
    job = training_job(
        snapshot, settings, folder, seed, end_ids,
        digest=digest, choice=choice, checkpoint_every=every,
    )
    return job(TinyResident(model))


def train(
    model: PreTrainedModel, snapshot: Snapshot, folder: Path, settings: SftConfig = SETTINGS,
    **options: object,
) -> tuple[list[TrainProgress], TrainResult]:  # fmt: skip
    """A whole run."""
    *progress, result = job_slices(model, snapshot, folder, settings, **options)  # type: ignore[arg-type]  # passed through
    assert isinstance(result, TrainResult)
    return [one for one in progress if isinstance(one, TrainProgress)], result
