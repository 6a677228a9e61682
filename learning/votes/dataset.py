"""Labels and exchanges -> an immutable snapshot with a stable hold-out.

It knows no database, no voter and no training: it is given values and returns a value,
which `write_snapshot` freezes on disk for the length of a run. The prompt and reply ids are
the ones that were served; nothing is rendered or tokenised here.

**Which part an example is in** is decided by a hash of its unit, so that it never changes
as data grows and nothing leaks between runs. The unit is the conversation: a channel's
exchanges until 30 minutes of silence (or a day has passed). The first ten conversations of
an installation are split exchange by exchange instead, because with so few a hold-out
would be empty or everything; examples of one conversation share history, so among these
ten a little of the training set is visible in the hold-out's prompts. 'First' counts all
conversations, rated or not, by their first exchange: an eleventh conversation changes
nothing about the ten, and a late vote nothing about the order. Near-identical examples
become one, which is in the hold-out as soon as one of them would be.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from bot.errors import LearningError, NothingToLearn
from bot.store import Moment
from bot.types import ChannelKey, Exchange
from learning.durable import write_file
from learning.types import BaseReply, Example, Label, Part, Snapshot, Weight

SILENCE = timedelta(minutes=30)
LONGEST = timedelta(days=1)
SPLIT_BY_EXCHANGE = 10
"""So many first conversations are split exchange by exchange."""
HOLDOUT, VALIDATION = 0.2, 0.1
SNAPSHOT_FILE = "snapshot.json"

_STRICTEST: Mapping[Part, int] = {"holdout": 0, "validation": 1, "train": 2}


def units(timeline: Iterable[Moment]) -> dict[int, str]:
    """Exchange id -> the name of what shares its part and its cluster.

    Args:
        timeline: every exchange of the installation up to the newest rated one, rated or not.
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


def part_of(unit: str) -> Part:
    """The part a unit belongs to for ever: 70 % train, 10 % validation, 20 % hold-out."""
    draw = int.from_bytes(hashlib.sha256(unit.encode()).digest()[:8]) / 2**64
    if draw < HOLDOUT:
        return "holdout"
    return "validation" if draw < HOLDOUT + VALIDATION else "train"


def build_examples(
    labels: Sequence[Label],
    exchanges: Iterable[Exchange],
    timeline: Iterable[Moment],
    *,
    base: str,
    private: bool,
) -> tuple[Example, ...]:
    """The examples that may be learned from, by exchange id.

    `exchanges` are those that people consented to (`bot.store.Consent`). Left out besides:
    exchanges of another base, private ones unless `private`, and replies that are empty or
    did not end by themselves.
    """
    by_id = {exchange.id: exchange for exchange in exchanges}
    unit = units(timeline)
    groups: defaultdict[tuple[object, ...], list[Example]] = defaultdict(list)
    for label in labels:
        exchange = by_id.get(label.exchange_id)
        if exchange is None or unfit(exchange, base, private=private):
            continue
        where = unit.get(exchange.id, f"{exchange.channel}#/{exchange.id}")
        groups[_likeness(exchange)].append(
            Example(
                exchange.id, where, part_of(where), exchange.prompt_ids, exchange.reply_ids,
                label.liked, label.weight, label.raters,
            )
        )
    merged = (_merge(group) for group in groups.values())
    return tuple(
        sorted((one for one in merged if one is not None), key=lambda one: one.exchange_id)
    )


def unfit(exchange: Exchange, base: str, *, private: bool) -> str:
    """Why an exchange cannot be learned from, whoever agrees; empty where it can."""
    if exchange.base != base:
        return "another base model wrote it"
    if exchange.private and not private:
        return "it was said in private (learning.private_channels is false)"
    if exchange.finish != "stop":
        return f"the reply did not end by itself ({exchange.finish})"
    whole = exchange.prompt_ids and exchange.reply_ids and exchange.reply.strip()
    return "" if whole else "the reply is empty"


def alike(exchanges: Iterable[Exchange]) -> dict[int, int]:
    """Exchange id -> the first exchange in which the same was said to the same words."""
    first: dict[tuple[object, ...], int] = {}
    found: dict[int, int] = {}
    for exchange in sorted(exchanges, key=lambda exchange: exchange.id):
        found[exchange.id] = first.setdefault(_likeness(exchange), exchange.id)
    return found


def _likeness(exchange: Exchange) -> tuple[object, ...]:
    turns = exchange.prompt
    prompt = tuple((turn.role, " ".join(turn.content.casefold().split())) for turn in turns)
    # Case and punctuation of a reply may be just what people like or dislike about it.
    return (prompt, " ".join(exchange.reply.split()))


def _merge(group: Sequence[Example]) -> Example | None:
    """One example for all near-identical ones: their mean opinion, the strictest part."""
    first = min(group, key=lambda one: (_STRICTEST[one.part], one.exchange_id))
    if len(group) == 1:
        return first
    mean = sum(one.weight if one.liked else -one.weight for one in group) / len(group)
    if abs(mean) < 1e-9:
        return None
    return Example(
        first.exchange_id, first.conversation, first.part, first.prompt_ids, first.reply_ids,
        mean > 0, abs(mean), tuple(sorted({rater for one in group for rater in one.raters})),
        tuple(sorted({one.exchange_id for one in group} - {first.exchange_id})),
    )


def require_enough(examples: Iterable[Example], needed: int, besides: str = "") -> None:
    """See that there is something to train on; `besides` is said as well where there is not.

    Raises:
        NothingToLearn: fewer than `needed` liked training examples; the message has the numbers.
    """
    found = list(examples)
    liked = sum(one.liked for one in found)
    training = sum(one.liked and one.part == "train" for one in found)
    if training < needed:
        raise NothingToLearn(
            f"not enough to learn from: {training} liked replies to train on, {needed} needed "
            f"({len(found)} rated: {liked} liked, {len(found) - liked} disliked, "
            f"{liked - training} liked ones kept for judging); rate more replies"
            + (f"; {besides}" if besides else "")
        )


def require_raters(
    examples: Iterable[Example], weights: Mapping[str, Weight], needed: int
) -> None:
    """See that a training set is not one person's work; with `needed` of 1 it may be.

    Raises:
        NothingToLearn: too few people, or one holds more than half of the weight.
    """
    if needed == 1:
        return
    held: defaultdict[str, float] = defaultdict(float)
    for one in examples:
        for rater in one.raters if one.part == "train" else ():
            held[rater] += weights[rater].value
    if len(held) < needed:
        raise NothingToLearn(
            f"votes of {len(held)} people to learn from, {needed} needed: let more people rate "
            "replies, or set learning.votes.min_raters = 1"
        )
    most, whole = max(held.values()), sum(held.values())
    if most > whole / 2 * (1 + 1e-9):
        raise NothingToLearn(
            f"one person holds {most / whole:.0%} of the weight of what would be learned from, "
            "and half is the most: let others rate more, or set learning.votes.min_raters = 1"
        )


def _canonical(snapshot: Snapshot) -> bytes:
    return json.dumps(
        snapshot, default=_fields, sort_keys=True, separators=(",", ":")
    ).encode()  # fmt: skip


def _fields(value: Any) -> dict[str, object]:
    # Not asdict: it copies every token id, which takes seconds for a thousand examples.
    return {field.name: getattr(value, field.name) for field in fields(value)}


def digest(snapshot: Snapshot) -> str:
    """SHA-256 in hex of a snapshot's content."""
    return hashlib.sha256(_canonical(snapshot)).hexdigest()


def write_snapshot(folder: Path, snapshot: Snapshot) -> None:
    """Freeze a snapshot in `folder`, whole or not at all. Blocks."""
    folder.mkdir(parents=True, exist_ok=True)
    data = {"digest": digest(snapshot), "snapshot": snapshot}
    text = json.dumps(data, default=_fields, separators=(",", ":"))
    write_file(folder / SNAPSHOT_FILE, text.encode())


def read_snapshot(folder: Path) -> Snapshot:
    """The snapshot frozen in `folder`. Blocks.

    Raises:
        LearningError: missing, damaged or changed since it was written.
    """
    path = folder / SNAPSHOT_FILE
    try:
        data = json.loads(path.read_bytes())
        snapshot = _parse(data["snapshot"])
        expected = data["digest"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise LearningError(f"the frozen data of the run in {path} cannot be read") from error
    if digest(snapshot) != expected:
        raise LearningError(f"the frozen data of the run in {path} was changed")
    return snapshot


def folders_with(runs: Path, exchanges: Collection[int]) -> set[str]:
    """The names of the folders in `runs` whose snapshot has any of these exchanges. Blocks.

    A snapshot that cannot be read counts as one that has.
    """
    wanted = frozenset(exchanges)
    found: set[str] = set()
    for folder in runs.iterdir() if wanted and runs.is_dir() else ():
        try:
            examples = read_snapshot(folder).examples
        except LearningError:
            found.add(folder.name)
            continue
        if any(wanted.intersection((one.exchange_id, *one.folded)) for one in examples):
            found.add(folder.name)
    return found


def _parse(data: Mapping[str, list[dict[str, object]]]) -> Snapshot:
    def tuples(row: Mapping[str, object]) -> dict[str, object]:
        return {key: tuple(it) if isinstance(it, list) else it for key, it in row.items()}

    return Snapshot(
        str(data["base"]),
        tuple(Example(**tuples(row)) for row in data["examples"]),  # type: ignore[arg-type]
        tuple(BaseReply(**tuples(row)) for row in data["replay"]),  # type: ignore[arg-type]
        tuple(BaseReply(**tuples(row)) for row in data["anchors"]),  # type: ignore[arg-type]
    )
