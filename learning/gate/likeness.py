"""Whether what people liked looks more like a candidate's own replies than the champion's.

How much likelier an adapter makes a given reply is mostly about words that nobody voted on.
What it would change in the talk shows in what it says itself: candidate and champion answer
the same prompts, and from the champion's mean reply to the candidate's, as the base model sees
replies (`learning.taste.features`), there is a direction. A rated reply has a place along it.
The direction comes from replies nobody rated, the votes from replies the candidate never saw:
where votes are luck, liked and disliked replies lie alike along it, whatever it is.
"""

from __future__ import annotations

import numpy as np

from learning.taste.features import scale_of


def likeness(rated: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> list[float]:
    """How far each rated reply lies from the champion's way of talking towards the candidate's.

    All are what replies look like, ``[replies, dimensions]`` (`learning.taste.features`).

    Args:
        rated: replies that were voted on.
        ours: the candidate's answers.
        theirs: the champion's.

    Returns:
        A number for each rated reply, in spreads of the drawn replies along that direction;
        zeros where the two say the same, or one says nothing.
    """
    nowhere = [0.0] * len(rated)
    if not (len(rated) and len(ours) and len(theirs)):
        return nowhere
    scale = scale_of(np.concatenate([rated, ours, theirs]))
    drawn = scale(np.concatenate([ours, theirs]))
    direction = drawn[: len(ours)].mean(axis=0) - drawn[len(ours) :].mean(axis=0)
    spread = float((drawn @ direction).std())
    if spread < 1e-9:
        return nowhere
    return [float(place) / spread for place in scale(rated) @ direction]
