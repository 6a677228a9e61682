"""How likely rated replies and the base's own are, under candidate, champion and base.

Asked of the engine on the serving path. It knows which votes count as one opinion, and
nothing of what is concluded.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bot.engine.base import Engine, Score, ScoreItem
from bot.types import BASE, Sampling
from learning.drawing import answered
from learning.gate.checks import Anchored
from learning.gate.likeness import likeness
from learning.gate.voted import Voted
from learning.replay import prompts_of
from learning.taste.features import features_of, readable
from learning.taste.head import Head
from learning.types import BaseReply, Example, Snapshot

AT_ONCE = 16
"""Prompts answered beside the conversations at a time."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of two versions that are compared: how it sees rated replies, and how it talks."""

    moved: Sequence[float]
    """How much likelier than the base it makes each: mean log-ratio a token, in nats."""
    base: Sequence[float]
    """Mean log-prob a token of each under the base."""
    talk: np.ndarray
    """What that looks like which it says to prompts that people rated answers to."""
    head: Head | None = None
    """What it chooses among replies by."""


async def spoken(
    engine: Engine, snapshot: Snapshot, adapter: str, sampling: Sampling, seed: int, count: int
) -> np.ndarray:
    """What a version's answers to rated prompts look like, `count` of them in all."""
    prompts = prompts_of(snapshot.examples)
    asked = [prompts[number % len(prompts)] for number in range(count if prompts else 0)]
    drawn = await answered(engine, adapter, asked, sampling, seed, AT_ONCE)
    said = [(prompt, one.ids) for prompt, one in drawn if one.whole and one.ids]
    return await features_of(engine, said)


async def side_of(
    engine: Engine, examples: Sequence[Example], adapter: str, talk: np.ndarray,
    head: Head | None = None,
) -> Side:
    """How a version, which need not stay loaded afterwards, sees the votes on `examples`.

    Args:
        talk: from `spoken`.
        head: what the version chooses among replies by.
    """
    found = await _scores(engine, _rated(engine, examples), adapter)
    base = [_average(scores[BASE]) for scores in found]
    likely = [_average(scores[adapter]) for scores in found]
    moved = [one - other for one, other in zip(likely, base, strict=True)]
    return Side(moved, base, talk, head)


async def voted_on(
    engine: Engine, snapshot: Snapshot, examples: Sequence[Example], ours: Side, theirs: Side,
    base_talk: np.ndarray, many_raters: int,
) -> tuple[Voted, ...]:
    """The votes on `examples`, none of which either side has learned from.

    Args:
        snapshot: all examples of the run, by which opinions are told apart.
        ours, theirs: how candidate and champion see these examples.
        base_talk: what the base says to the same prompts, from `spoken`.
        many_raters: how many must have voted before a rater, not a conversation, is an opinion.
    """
    read = _rated(engine, examples)
    cluster = opinions(snapshot.examples, many_raters)
    look = await features_of(engine, [(one.prompt_ids, one.reply_ids) for one in read])
    alike, away = [
        await asyncio.to_thread(likeness, look, ours.talk, talk)
        for talk in (theirs.talk, base_talk)
    ]
    # Each against the base of its own batches: rounding differs from batch to batch.
    return tuple(
        Voted(one.liked, cluster[one.exchange_id], base + mine, base + their, base, *seen)
        for one, base, mine, their, *seen in zip(
            read, ours.base, ours.moved, theirs.moved, alike, away, liking(look, ours.head),
            liking(look, theirs.head), strict=True,
        )
    )


def liking(look: np.ndarray, head: Head | None) -> list[float | None]:
    """How a head likes replies that look so, in spreads; None for each without a head."""
    if head is None or not len(look):
        return [None] * len(look)
    scores = head.score(look)
    found: list[float | None] = ((scores - scores.mean()) / (scores.std() + 1e-9)).tolist()
    return found


def _rated(engine: Engine, examples: Sequence[Example]) -> list[Example]:
    return [one for one in examples if one.voted and readable(one, engine)]


async def anchored_to(
    engine: Engine, anchors: Sequence[BaseReply], candidate: str, champion: str
) -> Anchored | None:
    """How both treat replies of the base; None without any."""
    read = [one for one in anchors if readable(one, engine)]
    found = await _scores(engine, read, candidate, champion)
    if not found:
        return None
    sizes = [len(scores[BASE].log_probs) for scores in found]

    def a_token(values: Sequence[float]) -> float:
        return math.fsum(values) / sum(sizes)

    def divergence(name: str) -> float:
        return a_token([s[name].kl_to_base * n for s, n in zip(found, sizes, strict=True)])

    return Anchored(
        nll=a_token([-math.fsum(scores[candidate].log_probs) for scores in found]),
        base_nll=a_token([-math.fsum(scores[BASE].log_probs) for scores in found]),
        kl=divergence(candidate),
        champion_kl=divergence(champion),
    )


async def _scores(
    engine: Engine, measured: Sequence[Example | BaseReply], *adapters: str
) -> list[Mapping[str, Score]]:
    """Each reply under these and the base, in one call."""
    names = list(dict.fromkeys((*adapters, BASE)))
    items = [ScoreItem(one.prompt_ids, one.reply_ids, name) for one in measured for name in names]
    found = await engine.score(items) if items else []
    width = len(names)
    return [
        dict(zip(names, found[i : i + width], strict=True)) for i in range(0, len(found), width)
    ]


def _average(score: Score) -> float:
    return math.fsum(score.log_probs) / len(score.log_probs)


def opinions(examples: Sequence[Example], many: int) -> dict[int, str]:
    """What counts as one opinion: a conversation, or from so `many` raters on a rater."""
    raters = {one.raters[0] for one in examples if one.raters}
    by_rater = len(raters) >= many
    return {
        one.exchange_id: one.raters[0] if by_rater and one.raters else one.conversation
        for one in examples
    }
