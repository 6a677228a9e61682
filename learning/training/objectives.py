"""The losses a run can be trained on: pure tensor functions.

Nothing here knows a model, a batch layout, votes or an optimiser. Log-probabilities come
in, a differentiable scalar or vector goes out. Everything is computed in float32, whatever
the dtype of the model. pi is the model in training, pi_ref the same base with its adapter off.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


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
    chosen = -functional.cross_entropy(logits.float(), targets, reduction="none")
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


def kto(
    log_ratios: Tensor, liked: Tensor, baseline: float, weights: Tensor, beta: float,
    total: float | None = None,
) -> Tensor:
    """Kahneman-Tversky optimisation: liked replies up and disliked ones down, without pairs.

    With r = beta (log pi - log pi_ref) and the reference point z (`kto_baseline`): a liked
    reply costs w (1 - sigma(r - beta z)), a disliked one w (1 - sigma(beta z - r)) (2402.01306,
    equations 7 and 8). A reply far on the right side, or hopelessly on the wrong one, moves
    nothing any more, so a wrong vote does not grow into the loudest.

    Args:
        log_ratios: ``[rows]``, log pi - log pi_ref of each reply in nats, summed over tokens.
        liked: ``[rows]``, bool.
        baseline: z in nats; no gradient flows through it.
        weights: ``[rows]``, at least 0: of the class, times that of the reply.
        beta: how soon a nat of difference is enough.
        total: what the rows of the whole accumulated batch count for; these rows, each as
            one, when None.

    Returns:
        A scalar between 0 and the mean weight; pieces given the same `total` add up.
    """
    towards = beta * torch.where(liked, 1.0, -1.0) * (log_ratios.float() - baseline)
    return (weights * torch.sigmoid(-towards)).sum() / (len(weights) if total is None else total)


def kto_baseline(log_ratios: Tensor) -> float:
    """KTO's reference point z = max(0, mean of log pi - log pi_ref of mismatched pairs).

    A mismatched pair is a prompt with the reply to another one (2402.01306, section 4.1): how
    much likelier than the base the model makes any reply, whatever was asked.

    Args:
        log_ratios: ``[pairs]`` in nats.
    """
    return max(0.0, float(log_ratios.float().mean()))


def dpo(
    liked_ratios: Tensor, disliked_ratios: Tensor, weights: Tensor, beta: float,
    total: float | None = None,
) -> Tensor:
    """Direct preference optimisation: of two replies to one prompt, the liked one likelier.

    -w log sigma(r_liked - r_disliked), r = beta (log pi - log pi_ref) (2305.18290, equation 7).

    Args:
        liked_ratios: ``[pairs]``, log pi - log pi_ref of the liked replies in nats.
        disliked_ratios: ``[pairs]``, of the disliked ones.
        weights: ``[pairs]``, at least 0.
        beta: how firmly the model is held to the base: a larger one moves it less.
        total: what the pairs of the whole accumulated batch count for; these, each as one,
            when None.

    Returns:
        A scalar in nats; pieces given the same `total` add up.
    """
    margins = beta * (liked_ratios.float() - disliked_ratios.float())
    losses = -weights * functional.logsigmoid(margins)
    return losses.sum() / (len(weights) if total is None else total)


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
