"""The vectorised sampler does what the plain definitions, and transformers, say."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from bot.engine.sampling import CANDIDATES, Settings, choose
from bot.types import Sampling

CPU = torch.device("cpu")
PLAIN = Sampling(1.0, top_k=0, top_p=1.0, repetition_penalty=1.0)
MIX = [
    Sampling(0.0), Sampling(1.0, 0, 1.0, 1.0), Sampling(0.7, 5, 1.0, 1.0),
    Sampling(1.3, 0, 0.8, 1.0), Sampling(0.9, 20, 0.5, 1.3), Sampling(0.0, 3, 0.5, 1.5),
    Sampling(2.0, 400, 0.999, 1.1), Sampling(0.1, 0, 0.95, 2.0), Sampling(5.0, 1, 1.0, 1.0),
]  # fmt: skip


def logits_for(rows: int, vocabulary: int, seed: int = 0, spread: float = 3.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, vocabulary, generator=generator) * spread


def seen_for(rows: int, vocabulary: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(rows, vocabulary, generator=generator) < 0.2


def reference(logits: torch.Tensor, seen: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """The distribution of one row according to transformers' processors."""
    processors = LogitsProcessorList()
    if sampling.repetition_penalty != 1.0:
        processors.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    if sampling.temperature:
        processors.append(TemperatureLogitsWarper(sampling.temperature))
        if sampling.top_k:
            processors.append(TopKLogitsWarper(sampling.top_k))
        if sampling.top_p < 1:
            processors.append(TopPLogitsWarper(sampling.top_p))
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
    # Every row once for each point of a fine grid: the shares of the grid are the distribution.
    grid = 1000
    settings = Settings.of(MIX * grid, vocabulary, CPU)
    u = [(step + 0.5) / grid for step in range(grid) for _ in MIX]
    tokens = choose(logits.repeat(grid, 1), seen.repeat(grid, 1), settings, u)
    for row, sampling in enumerate(MIX):
        wanted = reference(logits[row], seen[row], sampling)
        got = tokens[row :: len(MIX)].bincount(minlength=vocabulary) / grid
        assert float((got - wanted).abs().max()) < 2 / grid + 1e-3, sampling
        assert not got[wanted == 0].any(), sampling


def test_a_nucleus_wider_than_the_candidates_is_still_exact() -> None:
    vocabulary = 4 * CANDIDATES
    logits = torch.zeros(1, vocabulary) + torch.linspace(0, 0.01, vocabulary)
    nothing = torch.zeros(1, vocabulary, dtype=torch.bool)
    settings = Settings.of([Sampling(1.0, 0, 0.9, 1.0)] * 2000, vocabulary, CPU)
    u = [n / 2000 for n in range(2000)]
    tokens = set(choose(logits.repeat(2000, 1), nothing.repeat(2000, 1), settings, u).tolist())
    wanted = reference(logits[0], nothing[0], Sampling(1.0, 0, 0.9, 1.0)) > 0
    assert tokens == set(wanted.nonzero()[:, 0].tolist())


def test_the_ends_of_the_unit_interval_give_tokens_that_may_be_drawn() -> None:
    logits = logits_for(len(MIX), 300)
    logits[:, ::3] = -torch.inf
    nothing = torch.zeros(len(MIX), 300, dtype=torch.bool)
    settings = Settings.of(MIX, 300, CPU)
    for u in (0.0, 1e-9, 1 - 1e-7, 1.0):
        tokens = choose(logits, nothing, settings, [u] * len(MIX))
        assert torch.isfinite(logits.gather(1, tokens[:, None])).all()


def test_a_row_without_finite_logits_gives_no_token_and_the_others_theirs() -> None:
    logits = logits_for(4, 60)
    logits[1, 7] = torch.nan
    logits[3, 9] = torch.inf
    nothing = torch.zeros(4, 60, dtype=torch.bool)
    settings = Settings.of([Sampling(0.0), Sampling(0.0), PLAIN, Sampling(1.0, 3)], 60, CPU)
    tokens = choose(logits, nothing, settings, [0.5] * 4).tolist()
    assert tokens[1] == tokens[3] == -1
    assert tokens[0] == int(logits[0].argmax())
    assert tokens[2] >= 0


def test_what_is_in_the_batch_does_not_change_a_rows_token() -> None:
    logits = logits_for(len(MIX), 500, spread=1.0)
    seen = seen_for(len(MIX), 500)
    u = torch.rand(len(MIX), generator=torch.Generator().manual_seed(4)).tolist()
    together = choose(logits, seen, Settings.of(MIX, 500, CPU), u).tolist()
    for row, sampling in enumerate(MIX):
        part = slice(row, row + 1)
        alone = choose(logits[part], seen[part], Settings.of([sampling], 500, CPU), u[part])
        assert alone.tolist() == together[part]
