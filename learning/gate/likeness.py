"""Whether what people liked looks more like a candidate's own replies than the champion's.

How much likelier an adapter makes a given reply is mostly about words that nobody voted on.
What it would change in the talk shows in what it says itself: candidate and champion answer
the same prompts, and from the champion's mean reply to the candidate's, as the base model sees
replies (`learning.taste.features`), there is a direction. A rated reply has a place along it.
The direction comes from replies nobody rated, the votes from replies the candidate never saw:
where votes are luck, liked and disliked replies lie alike along it, whatever it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bot.engine.base import Engine, Request
from bot.types import Sampling
from learning.drawing import draw
from learning.taste.features import Said, features_of
from learning.taste.head import scaled

AT_ONCE = 16
"""Prompts answered beside the conversations at a time."""


async def answers(
    engine: Engine, adapter: str, prompts: Sequence[tuple[int, ...]], sampling: Sampling,
    seed: int, count: int,
) -> list[Said]:
    """What a version says, `count` times in all, to each prompt in turn.

    Args:
        adapter: the name of a loaded version, or BASE.
        seed: the reply with number i is drawn with seed + i.

    Returns:
        Prompts with replies; a prompt that is too long is left out.
    """
    asked = [prompts[number % len(prompts)] for number in range(count if prompts else 0)]
    requests = [
        Request(prompt, adapter, replace(sampling, seed=seed + number))
        for number, prompt in enumerate(asked)
    ]
    drawn = await draw(engine, requests, AT_ONCE)
    return [
        (prompt, one.ids)
        for prompt, one in zip(asked, drawn, strict=True)
        if one is not None and one.whole and one.ids
    ]


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
    features = scaled(await features_of(engine, [*rated, *ours, *theirs]))
    voted, drawn = features[: len(rated)], features[len(rated) :]
    direction = drawn[: len(ours)].mean(axis=0) - drawn[len(ours) :].mean(axis=0)
    spread = float((drawn @ direction).std())
    if spread < 1e-9:
        return [0.0] * len(rated)
    return [float(place) / spread for place in voted @ direction]
