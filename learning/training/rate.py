"""How large a step of training is: the peak learning rate, and its course over a run.

It knows a model's size and which losses are minimised, nothing of optimisers or data.
"""

from __future__ import annotations

import math

from transformers import PreTrainedModel

from learning.training.supervision import SFT, Choice

SMALL_HIDDEN = 512
SMALL_RATE, RATE = 1e-3, 2e-4
"""Learning rates by `learning_rate = 0`: a small model wants a higher one ('LoRA Without
Regret' and our measurements on the built-in model, learning.md)."""

SMALL_PREFERENCE_RATE, PREFERENCE_RATE = 5e-4, 5e-5
"""The same where replies are compared (`kto`, `dpo`), which takes a fraction of the rate of
supervised training. That for small models has not been measured yet."""

SMALL_TASTE_RATE = 2e-3
"""The same for small models where there are drawn replies as well (`taste`): several times as
many rows bear a higher rate, and an adapter that goes too far is weakened."""

WARM_UP = 0.1
"""Share of the steps in which the rate rises."""


def learning_rate(model: PreTrainedModel, choice: Choice = SFT) -> float:
    """The rate that `learning_rate = 0` stands for."""
    small = int(model.config.hidden_size) <= SMALL_HIDDEN
    if choice.compares:
        return SMALL_PREFERENCE_RATE if small else PREFERENCE_RATE
    if not small:
        return RATE
    return SMALL_TASTE_RATE if choice.taste else SMALL_RATE


def schedule(step: int, steps: int) -> float:
    """Share of the learning rate at a step: a short rise, then half a cosine down to zero."""
    rise = max(1, min(10, round(WARM_UP * steps)))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))
