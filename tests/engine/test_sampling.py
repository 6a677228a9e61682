"""The vectorised sampler does what the plain definitions, and transformers, say."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    NoBadWordsLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from bot.engine.sampling import Draw, Settings, adjust, choose
from bot.types import Sampling

CPU = torch.device("cpu")
BIASES = tuple((token, 2.0 - token % 5) for token in range(0, 50, 2))
BANNED = tuple((token,) for token in range(0, 50, 3))
PLAIN = Sampling(1.0, top_k=0, top_p=1.0, repetition_penalty=1.0)
MIX = [
    Sampling(0.0), Sampling(1.0, 0, 1.0, 1.0), Sampling(0.7, 5, 1.0, 1.0),
    Sampling(1.3, 0, 0.8, 1.0), Sampling(0.9, 20, 0.5, 1.3), Sampling(0.0, 3, 0.5, 1.5),
    Sampling(2.0, 400, 0.999, 1.1), Sampling(0.1, 0, 0.95, 2.0), Sampling(5.0, 1, 1.0, 1.0),
    Sampling(1.0, 0, 1.0, 1.0, min_p=0.2), Sampling(1.5, 30, 0.9, 1.0, min_p=0.05),
    Sampling(1.0, 0, 1.0, 1.0, bad_words=BANNED), Sampling(0.0, logit_bias=BIASES),
    Sampling(1.0, 0, 0.9, 1.8, logit_bias=BIASES, bad_words=BANNED),
]  # fmt: skip


def even(points: int) -> list[Draw]:
    """Points that fill the unit square evenly."""
    found: list[Draw] = torch.quasirandom.SobolEngine(2).draw(points).tolist()
    return found


def chosen(
    logits: torch.Tensor, seen: torch.Tensor | None, settings: Settings, draws: Sequence[Draw],
    banned: Sequence[tuple[int, int]] = (),
) -> torch.Tensor:  # fmt: skip
    """The next token of every row."""
    return choose(adjust(logits, seen, settings, banned), settings, draws)


def logits_for(rows: int, vocabulary: int, seed: int = 0, spread: float = 3.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, vocabulary, generator=generator) * spread


def seen_for(rows: int, vocabulary: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(rows, vocabulary, generator=generator) < 0.2


def reference(logits: torch.Tensor, seen: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """The distribution of one row according to transformers' processors."""
    processors = LogitsProcessorList()
    if sampling.logit_bias:
        biases: list[list[list[int] | float]] = [[[one], by] for one, by in sampling.logit_bias]
        processors.append(SequenceBiasLogitsProcessor(biases))
    if sampling.repetition_penalty != 1.0:
        processors.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    if sampling.bad_words:
        processors.append(NoBadWordsLogitsProcessor([list(word) for word in sampling.bad_words]))
    if sampling.temperature:
        processors.append(TemperatureLogitsWarper(sampling.temperature))
        if sampling.top_k:
            processors.append(TopKLogitsWarper(sampling.top_k))
        if sampling.top_p < 1:
            processors.append(TopPLogitsWarper(sampling.top_p))
        if sampling.min_p:
            processors.append(MinPLogitsWarper(sampling.min_p))
    scores: torch.Tensor = processors(seen.nonzero().T, logits[None].clone())
    if not sampling.temperature:
        return torch.nn.functional.one_hot(scores[0].argmax(), len(logits)).float()
    return scores[0].softmax(-1)


@pytest.mark.parametrize("vocabulary", [50, 1000])
@pytest.mark.parametrize("spread", [0.3, 3.0])
def test_a_mixed_batch_draws_each_row_from_the_distribution_transformers_gives(
    vocabulary: int, spread: float
) -> None:
    logits = logits_for(len(MIX), vocabulary, spread=spread)
    seen = seen_for(len(MIX), vocabulary)
    # Every row once for each of many even points: their shares are the distribution.
    grid = 4096
    settings = Settings.of(MIX * grid, vocabulary, CPU)
    u = [point for point in even(grid) for _ in MIX]
    tokens = chosen(logits.repeat(grid, 1), seen.repeat(grid, 1), settings, u)
    for row, sampling in enumerate(MIX):
        wanted = reference(logits[row], seen[row], sampling)
        got = tokens[row :: len(MIX)].bincount(minlength=vocabulary) / grid
        assert float((got - wanted).abs().max()) < 4e-3, sampling
        assert not got[wanted == 0].any(), sampling


def test_of_equal_tokens_all_may_be_drawn_or_none() -> None:
    logits = torch.tensor([[3.0, 1.0, 1.0, 1.0, 0.0, -9.0]]).repeat(1024, 1)
    nothing = torch.zeros_like(logits, dtype=torch.bool)
    for sampling in (Sampling(1.0, 2, 1.0), Sampling(1.0, 0, 0.75), replace(PLAIN, min_p=0.1)):
        settings = Settings.of([sampling] * 1024, 6, CPU)
        assert set(chosen(logits, nothing, settings, even(1024)).tolist()) == {0, 1, 2, 3}


def test_the_ends_of_the_unit_interval_give_tokens_that_may_be_drawn() -> None:
    logits = logits_for(len(MIX), 300)
    logits[:, ::3] = -torch.inf
    nothing = torch.zeros(len(MIX), 300, dtype=torch.bool)
    settings = Settings.of(MIX, 300, CPU)
    for u in itertools.product((0.0, 1e-9, 1 - 1e-7, 1.0), repeat=2):
        tokens = chosen(logits, nothing, settings, [u] * len(MIX))
        assert torch.isfinite(logits.gather(1, tokens[:, None])).all()


def test_a_row_without_finite_logits_gives_no_token_and_the_others_theirs() -> None:
    logits = logits_for(4, 60)
    logits[1, 7] = torch.nan
    logits[3, 9] = torch.inf
    nothing = torch.zeros(4, 60, dtype=torch.bool)
    settings = Settings.of([Sampling(0.0), Sampling(0.0), PLAIN, Sampling(1.0, 3)], 60, CPU)
    tokens = chosen(logits, nothing, settings, [(0.5, 0.5)] * 4).tolist()
    assert tokens[1] == tokens[3] == -1
    assert tokens[0] == int(logits[0].argmax())
    assert tokens[2] >= 0


def test_a_row_that_went_wrong_is_found_whatever_is_banned_and_the_others_are_drawn() -> None:
    logits = logits_for(3, 60)
    logits[0, 7] = torch.nan
    nothing = torch.zeros(3, 60, dtype=torch.bool)
    likeliest = int(logits[2].argmax())
    rows = [Sampling(0.0, bad_words=((7,),)), PLAIN, Sampling(0.0)]
    for settings, banned in (
        (Settings.of(rows, 60, CPU), []), (Settings.of([PLAIN] * 3, 60, CPU), [(0, 7)]),
        (Settings.of(rows, 60, CPU), [(2, likeliest), (2, likeliest)]),
    ):  # fmt: skip
        tokens = chosen(logits, nothing, settings, [(0.5, 0.5)] * 3, banned).tolist()
        assert tokens[0] == -1
        assert min(tokens[1:]) >= 0
    logits[2, likeliest] = -torch.inf
    assert tokens[2] == int(logits[2].argmax())


def test_what_is_in_the_batch_does_not_change_a_rows_token() -> None:
    logits = logits_for(len(MIX), 500, spread=1.0)
    seen = seen_for(len(MIX), 500)
    u = even(40)[-len(MIX) :]
    together = chosen(logits, seen, Settings.of(MIX, 500, CPU), u).tolist()
    for row, sampling in enumerate(MIX):
        part = slice(row, row + 1)
        alone = chosen(logits[part], seen[part], Settings.of([sampling], 500, CPU), u[part])
        assert alone.tolist() == together[part]
