"""The losses a run can be trained on: pure tensor functions.

Nothing here knows a model, a batch layout, votes or an optimiser. Log-probabilities come
in, a differentiable scalar or vector goes out. Everything is computed in float32, whatever
the dtype of the model.
"""

from __future__ import annotations

import torch
from torch import Tensor


def reply_log_probs(logits: Tensor, targets: Tensor, owners: Tensor, rows: int) -> Tensor:
    """Sum over each reply of log pi(y_t | x, y_<t).

    Args:
        logits: ``[n, vocabulary]``, one line for each supervised token of the batch.
        targets: ``[n]``, the tokens that were said.
        owners: ``[n]``, the row each token belongs to.
        rows: number of replies.

    Returns:
        ``[rows]``, in nats.
    """
    chosen = torch.log_softmax(logits.float(), dim=-1).gather(1, targets[:, None]).squeeze(1)
    return chosen.new_zeros(rows).index_add(0, owners, chosen)


def sft(
    log_probs_sum: Tensor, weights: Tensor, tokens: Tensor, total: float | None = None
) -> Tensor:
    """Weighted negative log-likelihood a token of liked replies: -sum w log pi / sum w|y|.

    Supervised fine-tuning on what was liked; the objective of ReSpect (2410.13852, section
    3, its filtered variant) with a weight for each reply. All tokens of the optimiser step
    share one denominator, so that splitting a batch into micro-batches changes nothing
    (transformers #34191).

    Args:
        log_probs_sum: ``[rows]``, log pi of each reply in nats.
        weights: ``[rows]``, at least 0.
        tokens: ``[rows]``, length |y| of each reply.
        total: sum w|y| over the whole accumulated batch when these rows are a part of it.

    Returns:
        A scalar in nats a token; pieces given the same `total` add up to the whole.
    """
    whole = (weights * tokens).sum() if total is None else total
    return -(weights * log_probs_sum).sum() / whole


def kl_divergence(logits: Tensor, base_logits: Tensor) -> Tensor:
    """KL(pi || base) at each position, over the full vocabulary.

    The per-token penalty of 1909.08593 (equation 2), computed exactly instead of from the
    sampled token: the base is resident, its whole distribution is at hand.

    Args:
        logits: ``[n, vocabulary]`` of the model in training.
        base_logits: ``[n, vocabulary]`` of the frozen base.

    Returns:
        ``[n]``, in nats, never below zero but for rounding.
    """
    log_pi = torch.log_softmax(logits.float(), dim=-1)
    log_base = torch.log_softmax(base_logits.float(), dim=-1)
    return (log_pi.exp() * (log_pi - log_base)).sum(dim=-1)
