"""The keys of ``[learning.taste]``: the head that tells what is liked, and what it is used for.

Only keys and what people read about them. What is done is `learning.taste`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bot.config.sections import Count, Positive, Section


class TasteConfig(Section):
    """How a run learns more from votes than the replies they stand under (objective "taste").

    A small head on the base model learns to tell liked from disliked replies; the base answers
    each rated prompt many times, and what the head likes best is learned from as well. The keys
    of learning.sft hold there too, but for those that stand here.
    """

    draws: Count = 8
    """Answers to each prompt in a round; 0 switches this off."""
    rounds: Positive = 2
    """How often replies are drawn and chosen: from the base first, then from what was learned from
    the choice before. Each further round is one more training, of an adapter that never serves."""
    best: Positive = 2
    """How many of them are learned from."""
    prompts: Positive = 96
    """Most prompts that are answered so, the newest ones."""
    min_per_class: Positive = 5
    """Fewest likes, and fewest dislikes, that the head learns from."""
    least_auc: Annotated[float, Field(ge=0.5, le=1.0)] = 0.6
    """How often the head must put a liked reply above a disliked one it was not shown (0.5 is
    chance); below it nothing is chosen."""
    contrary_alpha: Annotated[float, Field(ge=0.0, lt=0.5)] = 0.05
    """People whose votes go against what all others like are left out of a run: the chance that
    this happens to anybody by luck. 0 leaves nobody out."""
    ridge: Annotated[float, Field(gt=0.0)] = 1.0
    """How cautiously the head believes the votes: higher is more."""
    epochs: Positive = 2
    """Most passes over liked and drawn replies."""
    learning_rate: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Peak learning rate; 0 takes one that suits the model: 2e-3 for small ones, 2e-4 for
    others."""
