"""Votes of a file as the examples of many runs: a fixed hold-out, and draws from the rest.

What is held out depends on the file alone, so that every size, seed and share of flipped raters
is judged by the same votes, and these are never flipped. Conversations that begin alike are on
one side, so no prompt is on both. What votes come to is worked out as for a run of the bot, by
`learning.votes`: a rater who contradicts others is trusted less here, too. It knows neither an
objective nor a measurement.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from bot.config import WeighingConfig
from bot.engine.base import Engine
from bot.errors import DataError
from bot.types import Exchange, Vote
from learning.scripts import script_of
from learning.types import Example, Part
from learning.votes.dataset import alike
from learning.votes.imported import GivenVote, exchanges_of
from learning.votes.labels import labels

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
"""When votes were given that have no time: of two by one person the later line then counts."""
VALIDATION = 10
"""One conversation in so many tells the training when to stop, as in the bot."""
LEAST = 3
"""Fewest held-out likes, and dislikes, that a measurement means anything with."""


@dataclass(frozen=True)
class Rated:
    """The votes that fit the model, divided once."""

    pool: tuple[GivenVote, ...]
    """What sizes are drawn from."""
    held: tuple[GivenVote, ...]
    exchanges: Mapping[str, Exchange]
    """By `GivenVote.name`."""
    too_long: int
    """Votes that were skipped, because the model has no room for prompt and reply."""
    weighing: WeighingConfig

    def held_out(self) -> tuple[Example, ...]:
        """The examples that judge."""
        return self._examples(self.held, frozenset(), {})

    def drawn(self, size: int, flipped: float, seed: int) -> tuple[Example, ...]:
        """What `size` votes come to, with a share of their raters saying the contrary.

        With one seed the smaller draws are part of the larger ones, and the same raters flip
        at 10 % as do at 30 %. What a person said of one prompt is drawn whole, so that pairs
        stay together.
        """
        judged: defaultdict[object, list[GivenVote]] = defaultdict(list)
        for one in self.pool:
            judged[one.rater, one.turns].append(one)
        order = list(judged)
        random.Random(f"{seed}/votes").shuffle(order)
        given = [one for key in order for one in judged[key]][:size]
        raters = list(dict.fromkeys(one.rater for one in given))
        random.Random(f"{seed}/raters").shuffle(raters)
        conversations = list(dict.fromkeys(str(one.channel) for one in given))
        parts: dict[str, Part] = dict.fromkeys(conversations, "train")
        parts |= dict.fromkeys(conversations[VALIDATION - 1 :: VALIDATION], "validation")
        return self._examples(given, frozenset(raters[: round(flipped * len(raters))]), parts)

    def _examples(
        self, given: Sequence[GivenVote], flipped: Collection[str], parts: Mapping[str, Part]
    ) -> tuple[Example, ...]:
        votes = [
            Vote(
                self.exchanges[one.name].id, one.rater,
                -one.value if one.rater in flipped else one.value,
                "import", one.time or LONG_AGO,
            )
            for one in given
        ]
        asked = {self.exchanges[one.name].id: self.exchanges[one.name] for one in given}
        return tuple(
            Example(
                one.exchange_id, str(about.channel), parts.get(str(about.channel), "holdout"),
                about.prompt_ids, about.reply_ids, one.liked, one.weight, one.raters,
                script=script_of(about.prompt[-1].content),
            )
            for one in labels(votes, self.weighing, alike(asked.values()))
            for about in [asked[one.exchange_id]]
        )


def divided(
    engine: Engine, given: Sequence[GivenVote], longest: int, most: int, weighing: WeighingConfig
) -> Rated:
    """Leave out what is too long, and hold out whole conversations. Blocks.

    Args:
        longest: tokens of prompt and reply, at most what the engine has room for.
        most: votes held out at most; never more than a third of all.

    Raises:
        DataError: too few votes to judge by.
    """
    found = exchanges_of(engine, given, LONG_AGO)
    short = {
        name: one for name, one in found.items()
        if len(one.prompt_ids) + len(one.reply_ids) <= longest
    }
    numbered = {
        name: replace(one, id=number) for number, (name, one) in enumerate(short.items(), 1)
    }
    fitting = [one for one in given if one.name in numbered]
    conversations: defaultdict[str, list[GivenVote]] = defaultdict(list)
    for one in fitting:
        conversations[str(one.channel)].append(one)
    held: list[GivenVote] = []
    # Channels are named by a hash of how they begin: in their order is in none.
    for _, votes in sorted(conversations.items()):
        if len(held) + len(votes) <= min(most, len(fitting) // 3):
            held += votes
    liked = sum(one.value > 0 for one in held)
    if min(liked, len(held) - liked) < LEAST:
        raise DataError(
            f"too few votes to judge by: of {len(fitting)} that fit the model {liked} likes and "
            f"{len(held) - liked} dislikes would be held out; {LEAST} of either are needed"
        )
    apart = {str(one.channel) for one in held}
    pool = tuple(one for one in fitting if str(one.channel) not in apart)
    return Rated(pool, tuple(held), numbered, len(given) - len(fitting), weighing)
