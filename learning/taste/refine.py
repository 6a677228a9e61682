"""Replies that were never said, drawn and chosen by what people like.

A few votes tell more than the few replies they stand under: a head fitted on them
(`learning.taste.head`) ranks any number of other replies. So the base answers each prompt
many times, and the answers that the head likes best are learned from beside the liked ones:
best-of-n sampling, distilled (rejection-sampling fine-tuning: 2304.06767, and section 3.2 of
2307.09288). What is drawn comes from the base, or from what the same run made of it
(`learning.rehearsal`): runs do not build on runs. Nothing here trains or decides what serves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bot.config import TasteConfig
from bot.engine.base import Engine
from bot.types import BASE, Sampling
from learning.drawing import answered
from learning.replay import prompts_of
from learning.taste.features import Said, features_of, readable, scale_of
from learning.taste.head import Head, fit
from learning.types import BaseReply, Example

AT_ONCE = 16
"""Replies drawn beside the conversations at a time."""

MOST_RATED = 1000
"""The most votes a head learns from, the newest: more would change little, and solving for it
grows with their cube."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The replies to learn from beside the liked ones."""

    replies: tuple[BaseReply, ...] = ()
    """A few to each prompt that was answered."""
    auc: float = 0.5
    """How often the head puts a liked reply above a disliked one it was not shown."""
    head: Head | None = None
    """What chose them, for features as they are; None where nothing was chosen."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Drawn replies and what all replies look like; the heads are fitted on it."""

    rated: tuple[Example, ...]
    replies: tuple[BaseReply, ...]
    features: np.ndarray
    """``[rated + replies, dimensions]``, in that order, as they are."""
    settings: TasteConfig

    def chosen(self, without: frozenset[int] = frozenset()) -> Chosen:
        """The best replies to each prompt, by the votes on all but these exchanges.

        None, where the votes are too few or the head cannot tell likes from dislikes.

        Args:
            without: exchange ids whose votes and prompts are left out.
        """
        kept = [number for number, one in enumerate(self.rated) if one.exchange_id not in without]
        seen = [self.rated[number] for number in kept]
        if not enough(seen, self.settings):
            return Chosen()
        scale = scale_of(self.features)
        features = scale(self.features)
        found = fit(
            features[kept], [one.liked for one in seen], [one.weight for one in seen],
            self.settings.ridge,
        )  # fmt: skip
        if found.auc < self.settings.least_auc:
            return Chosen(auc=found.auc)
        scores = found.head.score(features[len(self.rated) :])
        prompts = {one.prompt_ids for one in seen}
        ranked: defaultdict[tuple[int, ...], list[tuple[float, int]]] = defaultdict(list)
        for number, (reply, score) in enumerate(zip(self.replies, scores, strict=True)):
            if reply.prompt_ids in prompts:
                ranked[reply.prompt_ids].append((float(score), number))
        # Half of what was drawn at most: the last of few would be chosen for being there.
        best = (
            number
            for some in ranked.values()
            for _, number in sorted(some, reverse=True)[: min(self.settings.best, len(some) // 2)]
        )
        replies = tuple(self.replies[number] for number in best)
        return Chosen(replies, found.auc, found.head.before(scale))


def enough(rated: Sequence[Example], settings: TasteConfig) -> bool:
    """Whether a head can be fitted on so many votes of either kind."""
    liked = sum(one.liked for one in rated)
    return min(liked, len(rated) - liked) >= settings.min_per_class


async def draw_replies(
    engine: Engine, rated: Sequence[Example], settings: TasteConfig, sampling: Sampling,
    seed: int, forbidden: Callable[[str], str | None] = lambda _: None, adapter: str = BASE,
) -> Drawn:
    """Let a model answer the prompts of rated replies, each several times, and look at all.

    Args:
        rated: liked and disliked examples to learn from, none of them held out.
        sampling: as in conversations, with a seed of its own for each reply.
        forbidden: names the moderation rule that a text breaks; such a reply is left out.
        adapter: who answers; the base, where it is not said.
    """
    rated = [one for one in rated if readable(one, engine)][-MOST_RATED:]
    prompts = prompts_of(rated)[-settings.prompts :]
    asked = [prompt for prompt in prompts for _ in range(settings.draws)]
    drawn = await answered(engine, adapter, asked, sampling, seed, AT_ONCE)
    replies = tuple(
        dict.fromkeys(
            BaseReply(prompt, one.ids)
            for prompt, one in drawn
            if one.by_itself and not forbidden(one.text)
        )
    )
    said: list[Said] = [(one.prompt_ids, one.reply_ids) for one in rated]
    said += [(one.prompt_ids, one.reply_ids) for one in replies]
    return Drawn(tuple(rated), replies, await features_of(engine, said), settings)
