"""Whether what people liked looks more like a candidate's own replies than the champion's.

How much likelier an adapter makes a given reply is mostly about words that nobody voted on.
What it would change in the talk shows in what it says itself: candidate and champion answer
the same prompts, and from the champion's mean reply to the candidate's, as the base model sees
replies (`learning.taste.features`), there is a direction. A rated reply has a place along it.
The direction comes from replies nobody rated, the votes from replies the candidate never saw:
where votes are luck, liked and disliked replies lie alike along it, whatever it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from bot.engine.base import Engine
from learning.taste.features import Said, features_of, scale_of


async def likeness(
    engine: Engine, rated: Sequence[Said], ours: Sequence[Said], theirs: Sequence[Said]
) -> list[float]:
    """How far each rated reply lies from the champion's way of talking towards the candidate's.

    Args:
        rated: replies that were voted on.
        ours: the candidate's answers.
        theirs: the champion's.

    Returns:
        A number for each rated reply, in spreads of the drawn replies along that direction;
        zeros where the two say the same.
    """
    if not (rated and ours and theirs):
        return [0.0] * len(rated)
    features = await features_of(engine, [*rated, *ours, *theirs])
    return await asyncio.to_thread(_along, features, len(rated), len(ours))


def _along(features: np.ndarray, rated: int, ours: int) -> list[float]:
    features = scale_of(features)(features)
    voted, drawn = features[:rated], features[rated:]
    direction = drawn[:ours].mean(axis=0) - drawn[ours:].mean(axis=0)
    spread = float((drawn @ direction).std())
    if spread < 1e-9:
        return [0.0] * rated
    return [float(place) / spread for place in voted @ direction]
