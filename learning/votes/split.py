"""Which part of a snapshot an exchange belongs to: decided by hashes, the same in every run.

Nothing here knows a vote's value, a prompt or a reply: only when, where and by whom was asked.

**By conversation.** The unit is a channel's exchanges until 30 minutes of silence (or a day
has passed). The first ten conversations of an installation are split exchange by exchange
instead, because with so few a hold-out would be empty or everything; examples of one
conversation share history, so among these ten a little of the training set is visible in the
hold-out's prompts. 'First' counts all conversations, rated or not, by their first exchange: an
eleventh conversation changes nothing about the ten, and a late vote nothing about the order.

**By asker as well**, once enough people vote and ask (`learning.gate.rater_clusters`). A hash of
the person who asked says where they belong, and a conversation belongs where the person does
who opened it. What both put on the same side of the hold-out's border is used; where they differ
it is left out, so that neither a person's questions nor a conversation lie on both sides. What
others had said in a channel before stands in prompts on both sides, as it always did beyond a
silence: to leave all that out would leave out a channel with many people altogether.

**The day the rule changes** must not move anything across the border: what the serving version
was trained on would come to judge the next one. So the rule is fixed once, for good, to an
exchange id (kept in the store before anything is learned by it). Conversations that began up
to there keep the part that they had, and of these only what their asker's hash agrees with is
used. It is never taken back, not even where voters leave or the key changes, because going
back would cross the border as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.store import Moment
from bot.types import ChannelKey
from learning.types import Part

SPLIT_AFTER = "learning.split_by_asker_after"
"""The setting that keeps the newest exchange of the day the rule changed."""
SILENCE = timedelta(minutes=30)
LONGEST = timedelta(days=1)
SPLIT_BY_EXCHANGE = 10
"""So many first conversations are split exchange by exchange."""
FEWEST_ASKERS = 10
"""With fewer, a hold-out of whole people would be empty or everything, whoever votes."""
HOLDOUT, VALIDATION = 0.2, 0.1
MIXED = (
    "who asked it and who opened the conversation belong to different sides, learning and "
    "judging, and nobody's questions may be in both"
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an exchange belongs."""

    unit: str
    """The name of what shares its history: a conversation, or itself alone."""
    part: Part | None
    """None where it belongs nowhere."""


def part_of(unit: str) -> Part:
    """The part a unit belongs to for ever: 70 % train, 10 % validation, 20 % hold-out."""
    draw = int.from_bytes(hashlib.sha256(unit.encode()).digest()[:8]) / 2**64
    if draw < HOLDOUT:
        return "holdout"
    return "validation" if draw < HOLDOUT + VALIDATION else "train"


def asker_part(platform: str, person: str) -> Part:
    """The part of a person's questions."""
    return part_of(f"asker {platform}/{person}")


def splits_by_asker(raters: Collection[str], askers: Collection[object], enough: int) -> bool:
    """Whether there are people enough to split by."""
    return len(raters) >= enough and len(askers) >= max(enough, FEWEST_ASKERS)


def units(timeline: Iterable[Moment]) -> dict[int, str]:
    """Exchange id -> the name of what shares its history and its cluster.

    Args:
        timeline: every exchange of the installation, rated or not.
    """
    opened: dict[ChannelKey, tuple[int, datetime, datetime]] = {}
    ranks: dict[int, int] = {}
    found: dict[int, str] = {}
    for moment in sorted(timeline, key=lambda moment: moment.exchange_id):
        first, began, last = opened.get(moment.channel, (0, moment.time, moment.time))
        if not first or moment.time - last > SILENCE or moment.time - began > LONGEST:
            first, began = moment.exchange_id, moment.time
            ranks[first] = len(ranks)
        opened[moment.channel] = (first, began, moment.time)
        conversation = f"{moment.channel}#{first}"
        alone = ranks[first] < SPLIT_BY_EXCHANGE
        found[moment.exchange_id] = (
            f"{conversation}/{moment.exchange_id}" if alone else conversation
        )
    return found


def places(timeline: Iterable[Moment], by_asker_after: int | None = None) -> dict[int, Place]:
    """Exchange id -> where it belongs.

    Args:
        timeline: as `units` takes it.
        by_asker_after: the newest exchange of the day from which askers are looked at; None
            before that day.
    """
    moments = sorted(timeline, key=lambda moment: moment.exchange_id)
    unit = units(moments)
    if by_asker_after is None:
        return {key: Place(name, part_of(name)) for key, name in unit.items()}
    openers: dict[str, Moment] = {}
    found = {}
    for moment in moments:
        name = unit[moment.exchange_id]
        opener = openers.setdefault(name, moment)
        own = _asked(moment)
        old = opener.exchange_id <= by_asker_after
        shared = part_of(name) if old else _asked(opener)
        agreed = (own == "holdout") == (shared == "holdout")
        found[moment.exchange_id] = Place(name, (shared if old else own) if agreed else None)
    return found


def _asked(moment: Moment) -> Part:
    return asker_part(moment.channel.platform, moment.asker)
