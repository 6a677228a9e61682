"""What a run learns from and is judged by, put together once.

Rated replies, and what the base says to the same prompts: replies to hold the candidate near
to it, to measure forgetting on, and to choose from by what people like. The result is a value
that whoever asks may freeze. It knows the engine as something that answers and looks at
replies; stores, files and training are others'.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice

from bot.config import Config, LearningConfig
from bot.engine.base import Engine
from bot.types import Sampling
from learning.gate.folds import cut
from learning.replay import base_replies, prompts_of
from learning.taste.contrary import without_contrary
from learning.taste.head import Head
from learning.taste.refine import Chosen, draw_replies, enough
from learning.types import Example, Fold, Snapshot

REPLAY = 64
"""The most replies of the base that are trained on."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A snapshot, and what its chosen replies were chosen by."""

    snapshot: Snapshot
    taste: Chosen
    outside: tuple[Head | None, ...]
    """What the replies of each fold's sibling were chosen by, for each of the snapshot's folds."""
    contrary: Mapping[str, float]
    """Who was left out because their votes go against all others', and by what luck that was."""


async def prepare(
    engine: Engine, config: Config, base: str, examples: Sequence[Example],
    forbidden: Callable[[str], str | None],
) -> Prepared:
    """Let the base answer what a run needs answered.

    Args:
        base: fingerprint of the model.
        examples: everything that may be learned from or judge.
        forbidden: names the moderation rule that a text breaks.
    """
    learning = config.learning
    sampling = config.sampling.settings(engine.template.encode)
    examples, against = await without_contrary(engine, examples, learning.taste)
    draft = Snapshot(base, tuple(examples), (), ())
    liked = sum(one.liked for one in draft.of("train"))
    share = min(learning.sft.replay, 0.9)
    replay = min(REPLAY, round(share / (1 - share) * liked))
    prompts = prompts_of(draft.of("train")), prompts_of(draft.of("holdout"))
    anchors, gauge, seed = learning.gate.anchors, learning.sft.gauge, learning.seed + REPLAY
    snapshot = replace(
        draft,
        replay=await base_replies(engine, prompts[0], sampling, learning.seed, replay),
        # Training holds what is replayed near to the base, so drift would not show there. The
        # newest of the others first: they are nearest to what is asked now.
        gauge=await base_replies(
            engine, _often((prompts[0][replay:] or prompts[0])[::-1], gauge), sampling,
            seed + anchors, gauge,
        ),
        anchors=await base_replies(
            engine, _often(prompts[1], anchors), sampling, seed, anchors
        ),
    )
    folds = cut(examples, learning.gate.folds, learning.gate.fold_items)
    taste, outside = await _chosen(engine, learning, draft, folds, sampling, forbidden)
    found = zip(folds, outside, strict=True)
    snapshot = replace(
        snapshot, chosen=taste.replies, folds=tuple(Fold(fold, one.replies) for fold, one in found)
    )
    heads = (one.head if fold else None for fold, one in zip(folds, outside, strict=True))
    return Prepared(snapshot, taste, tuple(heads), against)


def _often(prompts: Sequence[tuple[int, ...]], count: int) -> list[tuple[int, ...]]:
    """So many prompts, where there are fewer each several times: drift is no matter of luck."""
    return list(islice(cycle(prompts), count))


async def _chosen(
    engine: Engine, learning: LearningConfig, draft: Snapshot, folds: Sequence[tuple[int, ...]],
    sampling: Sampling, forbidden: Callable[[str], str | None],
) -> tuple[Chosen, list[Chosen]]:
    """What is chosen by all votes, and by those outside each fold."""
    rated = draft.of("train")
    wanted = learning.objective in ("auto", "taste") and learning.taste.draws > 0
    if not wanted or not enough(rated, learning.taste):
        return Chosen(), [Chosen() for _ in folds]
    seed = learning.seed + REPLAY + learning.gate.anchors + learning.sft.gauge
    drawn = await draw_replies(engine, rated, learning.taste, sampling, seed, forbidden)
    # In threads: solving for a head may take a second.
    by_all = await asyncio.to_thread(drawn.chosen)
    outside = [await asyncio.to_thread(drawn.chosen, frozenset(fold)) for fold in folds]
    return by_all, outside
