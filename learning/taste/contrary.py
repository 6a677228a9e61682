"""People whose votes go against what everybody else likes, and who are left out of a run.

Where each reply is rated by one person, nobody can be caught contradicting others. But what others
like can be told from their votes by a head, and whoever likes what it dislikes, again and again,
has a taste of the opposite kind or is out to mislead. One model can follow only one of the two.
Each rater is held against a head fitted on the votes of the others; those who are surely contrary
are taken out and all are looked at again, until nothing changes. Who merely differs stays, and so
do all where so many are contrary that nobody can say who goes against whom.

It knows examples and what replies look like; that votes are kept, and what else they weigh, is
`learning.votes`'.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from bot.config import TasteConfig
from bot.engine.base import Engine
from learning.metrics import auc
from learning.taste.features import features_of, readable, scale_of
from learning.taste.head import fit_without
from learning.taste.refine import MOST_RATED
from learning.types import Example

ROUNDS = 10
MOST = 0.4
"""The largest share of votes that may go against the others."""


async def without_contrary(
    engine: Engine, examples: Sequence[Example], settings: TasteConfig
) -> tuple[list[Example], dict[str, float]]:
    """The examples that not only contrary people rated, and who is contrary, with how surely.

    Args:
        examples: everything that may be learned from or judge.
    """
    if settings.contrary_alpha == 0.0:
        return list(examples), {}
    rated = [one for one in examples if one.voted and readable(one, engine)][-MOST_RATED:]
    look = await features_of(engine, [(one.prompt_ids, one.reply_ids) for one in rated])
    found = await asyncio.to_thread(
        contrary, look, [one.liked for one in rated], [one.raters for one in rated],
        settings.ridge, settings.contrary_alpha,
    )
    kept = [one for one in examples if not one.voted or not found.keys() >= set(one.raters)]
    return kept, found


def contrary(
    look: np.ndarray, liked: Sequence[bool], raters: Sequence[tuple[str, ...]], ridge: float,
    alpha: float,
) -> dict[str, float]:
    """The raters whose votes go against those of the others, and by what luck that could be.

    Args:
        look: what each rated reply looks like, ``[replies, dimensions]``.
        liked: what the votes on each come to.
        raters: who gave them.
        ridge: as in `learning.taste.head.fit`.
        alpha: the chance of wrongly finding anybody at all.
    """
    people = sorted({person for some in raters for person in some})
    if len(people) < 3 or not len(look):
        return {}
    seen = scale_of(look)(look)
    side = np.asarray(liked, dtype=bool)
    by = {
        person: np.flatnonzero([person in some for some in raters]) for person in people
    }
    found: dict[str, float] = {}
    for _ in range(ROUNDS):
        trusted = np.flatnonzero([not found.keys() >= set(some) for some in raters])
        scores = _scores(seen, side, trusted, list(by.values()), ridge)
        now = {
            person: luck for (person, theirs), told in zip(by.items(), scores, strict=True)
            if (luck := _luck(side[theirs], told)) < alpha / len(people)
        }
        if now.keys() == found.keys():
            break
        found = now
    theirs = np.asarray([found.keys() >= set(some) for some in raters])
    return found if theirs.mean() <= MOST else {}


def _scores(
    seen: np.ndarray, side: np.ndarray, trusted: np.ndarray, groups: Sequence[np.ndarray],
    ridge: float,
) -> list[np.ndarray]:
    """How a head of the trusted votes scores each person's replies, without what they voted."""
    if not (side[trusted].any() and (~side[trusted]).any()):
        return [np.zeros(len(group)) for group in groups]
    place = {int(vote): row for row, vote in enumerate(trusted)}
    within = [
        np.asarray([place[int(vote)] for vote in group if int(vote) in place], dtype=np.intp)
        for group in groups
    ]
    head, without = fit_without(
        seen[trusted], side[trusted].tolist(), [1.0] * len(trusted), ridge, within
    )
    found = []
    for group, told in zip(groups, without, strict=True):
        scores = head.score(seen[group])
        scores[np.isin(group, trusted)] = told
        found.append(scores)
    return found


def _luck(side: np.ndarray, scores: np.ndarray) -> float:
    """By what chance somebody's votes stand so against such scores.

    The Mann-Whitney test, one-sided, with the usual normal approximation.
    """
    ups, downs = int(side.sum()), int((~side).sum())
    if not (ups and downs):
        return 1.0
    order = auc(scores[side].tolist(), scores[~side].tolist())
    error = math.sqrt((ups + downs + 1) / (12 * ups * downs))
    return NormalDist().cdf((order - 0.5) / error)
