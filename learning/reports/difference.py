"""What two versions have in common and what not: settings, data, verdicts, figures, replies.

Values from two records (`learning.reports.record`) and the votes as they stand, laid side by
side. It says nothing about which is better: that is the gate's, and it compares with what
served.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bot.learning_port import Section
from bot.types import Vote
from learning.judging.tally import COLUMNS, Comparison, comparison
from learning.reports.figures import FIGURES, UNKNOWN, number
from learning.reports.record import Record
from learning.votes.labels import standing

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """Something that both may have: its name, and its value in each; None where it is unknown."""

    name: str
    one: Any
    other: Any


@dataclass(frozen=True, slots=True)
class Share:
    """Exchanges that training was shown, by where they are, and how people rate them by now."""

    where: str
    """``both``, or the name of the only version that has them."""
    exchanges: int
    liked: int
    """More people like them than dislike them; whoever weighs what is not asked here."""
    disliked: int
    open: int
    """As many for as against, or no vote is left."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Two versions side by side."""

    one: str
    other: str
    standing: tuple[Pair, ...]
    settings: tuple[Pair, ...]
    """Only those that differ."""
    data: tuple[Share, ...]
    """Empty where the files of one are gone: only its manifest knew."""
    checks: tuple[Pair, ...]
    """Each a check with ``passed``, ``value`` and ``limit``."""
    metrics: tuple[Pair, ...]
    """Every number of the two, in the order of their names."""
    replies: tuple[tuple[str, str, str], ...]
    """(prompt, one's reply, the other's) where both answered the same fixed prompt."""
    people: Comparison
    """What people said who compared the two, blind."""
    notes: tuple[str, ...]
    """What to know before comparing."""


def difference(one: Record, other: Record, votes: Iterable[Vote]) -> Difference:
    """Lay two versions side by side."""
    replies = {prompt: reply for prompt, _, reply in _verdict(other).get("samples", ())}
    return Difference(
        one.name, other.name,
        standing=_pairs(_standing(one), _standing(other)),
        settings=tuple(
            pair for pair in _pairs(one.settings, other.settings) if pair.one != pair.other
        ),
        data=_shares(one, other, votes),
        checks=_pairs(_checks(one), _checks(other)),
        metrics=_pairs(dict(sorted(one.metrics.items())), dict(sorted(other.metrics.items()))),
        replies=tuple(
            (prompt, reply, replies[prompt])
            for prompt, _, reply in _verdict(one).get("samples", ()) if prompt in replies
        ),
        people=comparison(one.judgements, one.name, other.name),
        notes=tuple(_notes(one, other)),
    )


def sections(found: Difference) -> tuple[Section, ...]:
    """A difference as tables for people; those without rows are left out."""
    heads = (found.one, found.other)
    shares = tuple(
        (f"only in {share.where}" if share.where != "both" else "in both",
         *map(str, (share.exchanges, share.liked, share.disliked, share.open)))
        for share in found.data
    )
    checks = tuple(
        (pair.name, _check(pair.one), _check(pair.other)) for pair in found.checks
    )
    replies = tuple(
        row for prompt, one, other in found.replies
        for row in (("prompt", prompt), (found.one, one), (found.other, other), ("", ""))
    )
    every = (
        Section("", ("", *heads), _texts(found.standing)),
        Section("Settings that differ", ("setting", *heads), _texts(found.settings)),
        Section("What training was shown",
                ("replies", "number", "liked by now", "disliked", "neither"), shares),
        Section("Checks (value, limit)", ("check", *heads), checks),
        _people(found.people),
        Section("Reported, never deciding", ("figure", *heads), _figures(found.metrics)),
        Section("Replies to the same prompts", ("", ""), replies[:-1]),
    )
    return tuple(section for section in every if section.rows)


def _people(found: Comparison) -> Section:
    """Nothing where nobody has compared the two."""
    columns = ("", f"{found.one} better", "as good", f"{found.other} better", COLUMNS[-1])
    rows = tuple(found.rows()) if found.prompts else ()
    return Section(f"Blind: {found.sentence()}", columns, rows)


def _standing(record: Record) -> dict[str, Any]:
    verdict = _verdict(record)
    return {
        "status": record.status,
        "made": record.created.isoformat(),
        "liked": f"{record.likes}/{record.votes}",
        "verdict": verdict.get("outcome"),
        "compared with": verdict.get("champion"),
        "sentence": verdict.get("sentence"),
    }


def _verdict(record: Record) -> Mapping[str, Any]:
    return record.verdict or {}


def _checks(record: Record) -> dict[str, Any]:
    return {
        check["name"]: {key: check[key] for key in ("passed", "value", "limit")}
        for check in _verdict(record).get("checks", ())
    }


def _pairs(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[Pair, ...]:
    names = dict.fromkeys((*one, *other))
    return tuple(Pair(name, one.get(name), other.get(name)) for name in names)


def _shares(one: Record, other: Record, votes: Iterable[Vote]) -> tuple[Share, ...]:
    if one.manifest is None or other.manifest is None:
        return ()
    ours, theirs = frozenset(one.manifest.exchanges), frozenset(other.manifest.exchanges)
    sums: defaultdict[int, int] = defaultdict(int)
    for vote in standing(votes):
        sums[vote.exchange_id] += vote.value
    parts = (("both", ours & theirs), (one.name, ours - theirs), (other.name, theirs - ours))
    return tuple(
        Share(
            where, len(part),
            liked=sum(sums[key] > 0 for key in part),
            disliked=sum(sums[key] < 0 for key in part),
            open=sum(sums[key] == 0 for key in part),
        )
        for where, part in parts
    )


def _notes(one: Record, other: Record) -> Iterable[str]:
    for record in (one, other):
        if record.verdict is None:
            yield f"{record.name} was never judged."
        elif not record.verdict["samples"]:
            yield f"No replies of {record.name} are kept any more."
        if record.manifest is None:
            yield (f"The files of {record.name} are gone, and with them the list of what it was "
                   "trained on.")
    against = [_verdict(record).get("champion") for record in (one, other)]
    if all(against) and against[0] != against[1]:
        yield "They were compared with different champions: so limits differ."
    snapshots = [record.run.snapshot for record in (one, other) if record.run]
    if len(snapshots) == 2 and snapshots[0] != snapshots[1]:
        yield "They were judged on different votes: small differences of figures mean nothing."


def _texts(pairs: Iterable[Pair]) -> tuple[Row, ...]:
    return tuple((pair.name, _text(pair.one), _text(pair.other)) for pair in pairs)


def _text(value: Any) -> str:
    return UNKNOWN if value is None else str(value)


def _check(check: Mapping[str, Any] | None) -> str:
    if check is None:
        return UNKNOWN
    mark = "✓" if check["passed"] else "✗"
    return f"{mark} {number(check['value'])} ({number(check['limit'])})"


def _figures(metrics: Iterable[Pair]) -> tuple[Row, ...]:
    by_name = {pair.name: pair for pair in metrics}
    return tuple(
        (figure.title, number(by_name[figure.name].one, figure.form),
         number(by_name[figure.name].other, figure.form))
        for figure in FIGURES if figure.name in by_name
    )
