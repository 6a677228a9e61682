"""Why a reply counts as it does: each vote on it with its weight, and what becomes of the reply.

For an operator who wonders. It reads the store, writes nothing, and repeats no words of
anybody; raters are named as ``rapport votes export`` names them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from bot.config import Config
from bot.errors import DataError
from bot.moderation import Moderation
from bot.store import Store
from bot.types import Exchange, Vote, VoteValue
from learning.types import CountedVote, Weight
from learning.votes.gathering import Gathered, gather
from learning.votes.hints import Hint
from learning.votes.labels import label

_PARTS = {
    "train": "It is in the part that is learned from (train).",
    "validation": "It is in the part that tells training when to stop (validation).",
    "holdout": "It is in the part that is kept for judging (hold-out).",
}
_THUMBS: dict[VoteValue, str] = {1: "👍", -1: "👎", 0: "–"}


@dataclass(frozen=True, slots=True)
class Explanation:
    """One reply explained."""

    exchange: Exchange
    votes: tuple[CountedVote, ...]
    """Those that stand."""
    past: tuple[tuple[Vote, str], ...]
    """Those that count no more, and why."""
    hints: tuple[Hint, ...]
    """What the one who asked did besides, where nobody voted."""
    sum: str
    """What the votes come to."""
    place: str
    """Where the reply is, or why it is left out."""

    def lines(self) -> list[str]:
        """The explanation as text."""
        told = self.exchange
        lines = [f"reply {told.id} of {told.time:%Y-%m-%d %H:%M} UTC in {told.channel}, "
                 f"by {told.adapter}"]
        for one in self.votes:
            lines.append(f"  {_THUMBS[one.value]} {one.rater} weighs {one.weight.value:.2f}")
            lines += _factors(one.weight)
        for hint in self.hints:
            vote = hint.vote
            lines.append(f"  {_THUMBS[vote.value]} hint of {vote.rater} ({hint.kind}) weighs "
                         f"{vote.weight.value:.3f}")
            lines += _factors(vote.weight)
        for old, what in self.past:
            lines.append(f"  {_THUMBS[old.value]} {old.rater} at {old.time:%Y-%m-%d %H:%M} "
                         f"counts no more: {what}")
        return [*lines, self.sum, self.place]


def _factors(weight: Weight) -> list[str]:
    return [f"      {one.rule} x {one.value:.2f}: {one.reason}" for one in weight.factors]


async def explain(store: Store, config: Config, exchange_id: int) -> Explanation:
    """Explain a reply.

    Raises:
        DataError: there is no such reply.
    """
    exchange = await store.exchange(exchange_id)
    if exchange is None:
        raise DataError(
            f"there is no reply {exchange_id}; `rapport votes export` lists those that are rated"
        )
    every = await store.votes_of(exchange_id)
    found = await gather(store, config, Moderation(config.moderation))
    votes = found.votes.get(exchange_id, ())
    stands = set(await store.current_votes_on(exchange_id))
    banned = {one.rater for one in await store.banned()}
    past = tuple((vote, _gone(vote, banned)) for vote in every if vote not in stands)
    hints = found.hints.get(exchange_id, ())
    what = _sum(votes, hints)
    return Explanation(exchange, votes, past, hints, what, _place(exchange_id, found))


def _gone(vote: Vote, banned: Collection[str]) -> str:
    if vote.value == 0:
        return "taking the vote back"
    if vote.rater in banned:
        return "an operator has banned this person"
    return "a vote changed since"


def _sum(votes: tuple[CountedVote, ...], hints: tuple[Hint, ...]) -> str:
    if not votes and not hints:
        return "Nobody has rated it."
    found = label(0, votes or [hint.vote for hint in hints])
    if found is None:
        return f"The {'votes' if votes else 'hints'} cancel each other out."
    if not votes:
        side = "liked" if found.liked else "disliked"
        return f"Nobody has rated it; by hints it counts as {side}, with weight {found.weight:.3f}."
    return f"It counts as {'liked' if found.liked else 'disliked'}, with weight {found.weight:.2f}."


def _place(exchange_id: int, found: Gathered) -> str:
    if exchange_id not in found.votes and exchange_id not in found.hints:
        return "So there is nothing to learn from it."
    if why := found.left_out.get(exchange_id):
        return f"It is left out: {why}."
    for one in found.examples:
        if one.exchange_id == exchange_id:
            return _PARTS[one.part]
        if exchange_id in one.folded:
            return (
                f"It is counted together with reply {one.exchange_id}, the same reply to the same "
                f"words. {_PARTS[one.part]}"
            )
    if exchange_id not in found.votes:
        return "It is left out: the hints say nothing."
    return "It is left out: the same reply to the same words is liked as much as it is disliked."
