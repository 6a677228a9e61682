"""What there is to learn from: every rated reply, and whether it may be learned from.

Votes, consent, moderation, operators' decisions and novelty come together here, so that a
run, the review queue and whoever asks for an explanation see the same thing. It reads the
store and decides nothing by itself: each rule is a pure function elsewhere. What is done
with the examples, and whether there are enough, is not known here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bot.config import Config, LearningConfig
from bot.moderation import Moderation
from bot.store import Consent, Moment, Review, Store
from bot.types import Exchange, Vote
from learning.types import CountedVote, Example, Weight
from learning.votes import dataset
from learning.votes.labels import counted, label
from learning.votes.novelty import novelties

PAGE = 100
"""Exchanges read at a time, so that the event loop gets a turn in between."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A liked reply that an operator has to look at first."""

    exchange: Exchange
    novel: tuple[str, ...]
    """What in it is new."""
    raters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gathered:
    """Every rated reply, and what becomes of it."""

    votes: Mapping[int, tuple[CountedVote, ...]]
    """The standing votes on each, with their weights."""
    examples: tuple[Example, ...]
    """What may be learned from, all three parts."""
    waiting: tuple[Waiting, ...]
    """What waits for an operator, oldest first."""
    left_out: Mapping[int, str]
    """Exchange id -> why it is not learned from."""
    withheld: int
    """How many of these are left out because somebody has not agreed."""
    why_withheld: str

    @property
    def weights(self) -> dict[str, Weight]:
        """What one vote of each rater weighs."""
        return {one.rater: one.weight for given in self.votes.values() for one in given}

    @property
    def besides(self) -> str:
        """What else to say where there is not enough to learn from; empty where nothing."""
        said = []
        if self.withheld:
            said.append(f"{self.withheld} rated replies are left out: {self.why_withheld}")
        if self.waiting:
            said.append(waits(len(self.waiting)))
        return "; ".join(said)


def waits(number: int) -> str:
    """That liked replies wait for an operator."""
    which = "1 liked reply waits" if number == 1 else f"{number} liked replies wait"
    return f"{which} for an operator's word: /learn review"


async def gather(
    store: Store, config: Config, moderation: Moderation, base: str | None = None
) -> Gathered:
    """Everything that is rated now.

    Args:
        base: fingerprint of the model that is to learn; None for that of the newest rated reply.
    """
    votes = await store.current_votes()
    ids = sorted({vote.exchange_id for vote in votes})
    exchanges: list[Exchange] = []
    for start in range(0, len(ids), PAGE):
        exchanges += await store.exchanges(ids[start : start + PAGE])
    timeline = await store.moments(max(ids, default=0))
    consent = await store.consent(config.learning)
    reviews = await store.reviews()
    newest = exchanges[-1].base if exchanges else ""
    return await asyncio.to_thread(
        sort, votes, exchanges, timeline, reviews, consent, moderation,
        base=newest if base is None else base, settings=config.learning,
        persona=config.conversation.persona,
    )


def sort(
    votes: Sequence[Vote], exchanges: Sequence[Exchange], timeline: Iterable[Moment],
    reviews: Iterable[Review], consent: Consent, moderation: Moderation, *,
    base: str, settings: LearningConfig, persona: str,
) -> Gathered:
    """All of it from values alone; pure, and worth a thread."""
    covered = [one for one in exchanges if consent.covers(one)]
    left_out = dict.fromkeys((one.id for one in exchanges), consent.why_not)
    for one in covered:
        why = dataset.unfit(one, base, private=settings.private_channels)
        # A rule that was made after a reply was said still keeps it from being taught.
        if not why and (rule := moderation.found(one.reply)):
            why = f"it holds {rule}, which must not be said ([moderation])"
        left_out[one.id] = why
    fit = [one for one in covered if not left_out[one.id]]
    alike = dataset.alike(covered)
    given = counted(votes, settings.votes, alike)
    decided = _decisions(reviews, alike)
    new = _novel(fit, given, decided, alike, persona) if settings.votes.novelty else {}
    labels, waiting = [], []
    for one in fit:
        found = label(one.id, given.get(one.id, ()))
        if found is None:
            left_out[one.id] = "as much weighs for it as against it"
        elif not decided.get(alike[one.id], True):
            left_out[one.id] = "an operator has decided that it is not learned from"
        elif found.liked and one.id in new:
            left_out[one.id] = (
                f"it waits for an operator's word, because {' and '.join(new[one.id])} is new "
                "and one person alone likes it: /learn review"
            )
            waiting.append(Waiting(one, new[one.id], found.raters))
        else:
            labels.append(found)
    examples = dataset.build_examples(
        labels, fit, timeline, base=base, private=settings.private_channels
    )
    return Gathered(
        given, examples, tuple(waiting), {key: why for key, why in left_out.items() if why},
        len(exchanges) - len(covered), consent.why_not,
    )


def _decisions(reviews: Iterable[Review], alike: Mapping[int, int]) -> dict[int, bool]:
    """What was decided last, also about the same reply given again."""
    return {alike.get(one.exchange_id, one.exchange_id): one.keep for one in reviews}


def _novel(
    fit: Sequence[Exchange], given: Mapping[int, Sequence[CountedVote]],
    decided: Mapping[int, bool], alike: Mapping[int, int], persona: str,
) -> dict[int, tuple[str, ...]]:
    likers = {
        one.id: frozenset(vote.rater for vote in given.get(one.id, ()) if vote.value > 0)
        for one in fit
    }
    passed = [one.reply for one in fit if decided.get(alike[one.id], False)]
    return novelties(fit, likers, [persona, *passed])
