"""What there is to learn from: every rated reply, and whether it may be learned from.

Votes, consent, moderation, operators' decisions and novelty come together here, so that a
run, the review queue and whoever asks for an explanation see the same thing. It reads the
store and decides nothing by itself: each rule is a pure function elsewhere. What is done
with the examples, and whether there are enough, is not known here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from bot.config import Config, LearningConfig
from bot.marks import marks
from bot.moderation import Moderation
from bot.store import Consent, FollowUp, Moment, Review, Store
from bot.types import Exchange, Vote
from learning.types import CountedVote, Example, Label, Weight
from learning.votes import dataset
from learning.votes.hints import Hint, found_hints, read_phrases, weighed
from learning.votes.labels import counted, label
from learning.votes.novelty import novelties
from learning.votes.split import SPLIT_AFTER, splits_by_asker

PAGE = 100
"""Exchanges read at a time, so that the event loop gets a turn in between."""
HINTED = 2000
"""Newest replies in which hints are looked for."""


DROPPED = "an operator has decided that it is not learned from"


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
    hints: Mapping[int, tuple[Hint, ...]]
    """What people did without voting, on replies that nobody voted on; empty where these are not
    looked for."""
    by_asker_after: int | None
    """Since when examples are split by asker, as `learning.votes.split.places` takes it."""

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


async def keep_split(store: Store, found: Gathered) -> None:
    """Fix for good since when examples are split by asker, before anything is learned by it."""
    if found.by_asker_after is not None:
        await store.set_setting(SPLIT_AFTER, found.by_asker_after)


async def gather(
    store: Store, config: Config, moderation: Moderation, base: str | None = None
) -> Gathered:
    """Everything that is rated now.

    Args:
        base: fingerprint of the model that is to learn; None for that of the newest rated reply.

    Raises:
        ConfigError: the file of phrases that hints are found by cannot be used.
    """
    votes = await store.current_votes()
    exchanges = await _read(store, {vote.exchange_id for vote in votes})
    implicit, followups, others = config.learning.votes.implicit, list[FollowUp](), list[Exchange]()
    if implicit.enabled:
        followups = await store.followups(timedelta(seconds=implicit.within_seconds), HINTED)
        unrated = {one.exchange_id for one in followups} - {one.id for one in exchanges}
        banned = {one.rater for one in await store.banned()}
        others = [one for one in await _read(store, unrated) if one.asker not in banned]
    newest = exchanges[-1].base if exchanges else ""
    return await asyncio.to_thread(
        sort, votes, exchanges, await store.moments(), await store.reviews(),
        await store.consent(config.learning), moderation,
        base=newest if base is None else base, settings=config.learning,
        persona=config.conversation.persona, by_asker_after=await store.get_setting(SPLIT_AFTER),
        followups=followups, unrated=others,
    )


async def _read(store: Store, wanted: Collection[int]) -> list[Exchange]:
    ids, found = sorted(wanted), list[Exchange]()
    for start in range(0, len(ids), PAGE):
        found += await store.exchanges(ids[start : start + PAGE])
    return found


def sort(
    votes: Sequence[Vote], exchanges: Sequence[Exchange], timeline: Sequence[Moment],
    reviews: Iterable[Review], consent: Consent, moderation: Moderation, *,
    base: str, settings: LearningConfig, persona: str, by_asker_after: int | None = None,
    followups: Sequence[FollowUp] = (), unrated: Sequence[Exchange] = (),
) -> Gathered:
    """All of it from values alone; pure but for a file of phrases, and worth a thread."""
    covered = [one for one in exchanges if consent.covers(one)]
    hinted = [one for one in unrated if consent.covers(one)]
    left_out = dict.fromkeys((one.id for one in exchanges), consent.why_not)
    for one in (*covered, *hinted):
        left_out[one.id] = _unfit(one, base, settings, moderation)
    fit = [one for one in covered if not left_out[one.id]]
    alike = dataset.alike((*covered, *hinted))
    given = counted(votes, settings.votes, alike)
    decided = _decisions(reviews, alike)
    new = _novel(fit, given, decided, alike, persona) if settings.votes.novelty else {}
    labels, waiting = [], []
    for one in fit:
        found = label(one.id, given.get(one.id, ()))
        if found is None:
            left_out[one.id] = "as much weighs for it as against it"
        elif not decided.get(alike[one.id], True):
            left_out[one.id] = DROPPED
        elif found.liked and one.id in new:
            left_out[one.id] = (
                f"it waits for an operator's word, because {' and '.join(new[one.id])} is new "
                "and one person alone likes it: /learn review"
            )
            waiting.append(Waiting(one, new[one.id], found.raters))
        else:
            labels.append(found)
    if by_asker_after is None:
        by_asker_after = _switch(labels, fit, timeline, settings.gate.rater_clusters)
    possible = [one for one in hinted if not left_out[one.id]]
    hints = _hints(followups, possible, given, settings)
    for one in (one for one in possible if one.id in hints):
        if not decided.get(alike[one.id], True):
            left_out[one.id] = DROPPED
        elif marks(one.reply):
            # Whoever likes it by a hint alone was not asked to vouch for a link.
            left_out[one.id] = "it holds a link or the like, which hints do not vouch for"
        elif by_hints := label(one.id, [hint.vote for hint in hints[one.id]]):
            labels.append(replace(by_hints, raters=()))
    built = dataset.build_examples(
        labels, [*fit, *possible], timeline, base=base, private=settings.private_channels,
        by_asker_after=by_asker_after,
    )
    left_out |= built.left_out
    return Gathered(
        given, built.examples, tuple(waiting),
        {key: why for key, why in left_out.items() if why},
        len(exchanges) - len(covered), consent.why_not, hints, by_asker_after,
    )


def _unfit(
    one: Exchange, base: str, settings: LearningConfig, moderation: Moderation
) -> str:
    why = dataset.unfit(one, base, private=settings.private_channels)
    # A rule that was made after a reply was said still keeps it from being taught.
    if not why and (rule := moderation.found(one.reply)):
        return f"it holds {rule}, which must not be said ([moderation])"
    return why


def _switch(
    labels: Sequence[Label], fit: Sequence[Exchange], timeline: Sequence[Moment], enough: int
) -> int | None:
    """The newest exchange there is, once there are people enough to split by."""
    rated = {one.exchange_id for one in labels}
    raters = {rater for one in labels for rater in one.raters}
    askers = {(one.channel.platform, one.asker) for one in fit if one.id in rated}
    if not splits_by_asker(raters, askers, enough):
        return None
    return max(moment.exchange_id for moment in timeline)


def _hints(
    followups: Sequence[FollowUp], possible: Sequence[Exchange],
    given: Mapping[int, Sequence[CountedVote]], settings: LearningConfig,
) -> dict[int, tuple[Hint, ...]]:
    implicit = settings.votes.implicit
    if not implicit.enabled:
        return {}
    by_id = {one.id: one for one in possible}
    found = found_hints(followups, by_id, implicit, read_phrases(implicit.phrases))
    return weighed(found, by_id, given, settings.votes)


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
