"""Labels and exchanges -> an immutable snapshot with a stable hold-out.

It knows no database, no voter and no training: it is given values and returns a value,
which `write_snapshot` freezes on disk for the length of a run. The prompt and reply ids are
the ones that were served; nothing is rendered or tokenised here.

Which part an example is in says `learning.votes.split`. Near-identical examples become one,
which is in the hold-out as soon as one of them would be. Votes alone judge: what only hints
say is trained on or left out.

**Examples within examples.** A prompt may have shown liked exchanges (`Exchange.examples`).
Neither may it be judged by what was learned from such an exchange, nor learned from while it
shows what judges: an exchange on the other side of the hold-out's border than one it showed is
left out, not the one it showed, which others may have shown as well. One that is not rated any
more counts where its hash puts it, because a version that still serves may have learned from it.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from bot.errors import LearningError, NothingToLearn
from bot.store import Moment
from bot.types import Exchange, last_user_text, likeness
from learning.durable import write_file
from learning.scripts import script_of
from learning.types import BaseReply, Example, Fold, Label, Part, Snapshot, Weight
from learning.votes.split import MIXED, Place, part_of, places

SNAPSHOT_FILE = "snapshot.json"

_STRICTEST: Mapping[Part, int] = {"holdout": 0, "validation": 1, "train": 2}


@dataclass(frozen=True, slots=True)
class Built:
    """Examples, and what could not become one."""

    examples: tuple[Example, ...]
    """By exchange id."""
    left_out: Mapping[int, str]
    """Exchange id -> why."""


def build_examples(
    labels: Sequence[Label],
    exchanges: Iterable[Exchange],
    timeline: Iterable[Moment],
    *,
    base: str,
    private: bool,
    by_asker_after: int | None = None,
) -> Built:
    """The examples that may be learned from.

    `exchanges` are those that people consented to (`bot.store.Consent`). Left out besides:
    exchanges of another base, private ones unless `private`, and replies that are empty or
    did not end by themselves.

    Args:
        by_asker_after: as `learning.votes.split.places` takes it.
    """
    by_id = {exchange.id: exchange for exchange in exchanges}
    where = places(timeline, by_asker_after)
    left_out: dict[int, str] = {}
    groups: defaultdict[tuple[object, ...], list[Example]] = defaultdict(list)
    for label in labels:
        exchange = by_id.get(label.exchange_id)
        if exchange is None or unfit(exchange, base, private=private):
            continue
        name = f"{exchange.channel}#/{exchange.id}"
        place = where.get(exchange.id, Place(name, part_of(name)))
        if place.part is None:
            left_out[exchange.id] = MIXED
        else:
            groups[likeness(exchange.prompt, exchange.reply)].append(
                Example(
                    exchange.id, place.unit, place.part, exchange.prompt_ids,
                    exchange.reply_ids, label.liked, label.weight, label.raters,
                    script=script_of(last_user_text(exchange.prompt)),
                )
            )
    merged = []
    for group in groups.values():
        kept, why = _members(group, apart=by_asker_after is not None)
        left_out |= why
        if one := _merge(kept):
            merged.append(one)
    left_out |= _crossing(merged, by_id, where)
    found = sorted(merged, key=lambda one: one.exchange_id)
    return Built(tuple(one for one in found if one.exchange_id not in left_out), left_out)


def _members(
    group: Sequence[Example], *, apart: bool
) -> tuple[list[Example], dict[int, str]]:
    """What of a group of near-identical examples counts, and why the others do not.

    Args:
        apart: whether no two people on different sides may come to be one example.
    """
    why: dict[int, str] = {}
    voted = any(one.voted for one in group)
    held = any(one.voted and one.part == "holdout" for one in group)
    for one in group:
        if voted and not one.voted:
            why[one.exchange_id] = "the same reply to the same words has votes, which count alone"
        elif not one.voted and one.part != "train":
            why[one.exchange_id] = "nobody voted on it, and hints do not judge"
        elif apart and held and one.part != "holdout":
            why[one.exchange_id] = (
                "the same reply to the same words is kept for judging, asked by somebody else"
            )
    return [one for one in group if one.exchange_id not in why], why


def _crossing(
    merged: Iterable[Example], by_id: Mapping[int, Exchange], where: Mapping[int, Place]
) -> dict[int, str]:
    """The examples whose prompts showed what lies on the other side of the hold-out's border."""
    held = {key: place.part == "holdout" for key, place in where.items() if place.part}
    ids = {one.exchange_id: (one.exchange_id, *one.folded) for one in merged}
    held |= {key: one.part == "holdout" for one in merged for key in ids[one.exchange_id]}
    found = {}
    for one in merged:
        shown = [other for key in ids[one.exchange_id] for other in by_id[key].examples]
        for other in shown:
            if held.get(other, one.part == "holdout") != (one.part == "holdout"):
                what = "is kept for judging" if held[other] else "is learned from"
                found[one.exchange_id] = f"its prompt showed reply {other}, which {what}"
    return found


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
        said = likeness(exchange.prompt, exchange.reply)
        found[exchange.id] = first.setdefault(said, exchange.id)
    return found


def _merge(group: Sequence[Example]) -> Example | None:
    """One example for all near-identical ones: their mean opinion, the strictest part."""
    if not group:
        return None
    first = min(group, key=lambda one: (_STRICTEST[one.part], one.exchange_id))
    if len(group) == 1:
        return first
    mean = sum(one.weight if one.liked else -one.weight for one in group) / len(group)
    if abs(mean) < 1e-9:
        return None
    return Example(
        first.exchange_id, first.conversation, first.part, first.prompt_ids, first.reply_ids,
        mean > 0, abs(mean), tuple(sorted({rater for one in group for rater in one.raters})),
        tuple(sorted({one.exchange_id for one in group} - {first.exchange_id})), first.script,
    )


def require_enough(examples: Iterable[Example], needed: int, besides: str = "") -> None:
    """See that enough is voted on to train; `besides` is said as well where it is not.

    Raises:
        NothingToLearn: fewer than `needed` liked training examples; the message has the numbers.
    """
    found = [one for one in examples if one.voted]
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


def _parse(data: Mapping[str, Any]) -> Snapshot:
    def tuples(row: Mapping[str, Any]) -> dict[str, Any]:
        return {key: tuple(it) if isinstance(it, list) else it for key, it in row.items()}

    def replies(rows: Iterable[Mapping[str, Any]]) -> tuple[BaseReply, ...]:
        return tuple(BaseReply(**tuples(row)) for row in rows)

    return Snapshot(
        str(data["base"]),
        tuple(Example(**tuples(row)) for row in data["examples"]),
        replies(data["replay"]),
        replies(data["anchors"]),
        replies(data["gauge"]),
        replies(data["chosen"]),
        tuple(Fold(tuple(one["exchanges"]), replies(one["chosen"])) for one in data["folds"]),
    )
