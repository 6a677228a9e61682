"""A version's report as a document: Markdown for an admin, JSON for programs.

Made anew from what the store knows (`learning.reports.record`) each time it is asked for, and kept
nowhere, so that words which were forgotten are in no report that comes later. It draws
nothing; the picture is `learning.reports.summary.picture_of`.
"""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from learning.judging.tally import COLUMNS, comparisons
from learning.reports.figures import FIGURES, number
from learning.reports.record import Record
from learning.serving import called


def as_markdown(record: Record) -> str:
    """The report for people: the sentence, the checks, the figures, and replies side by side.

    Raises:
        LearningError: the version was never judged.
    """
    parts = [
        *_verdict(record), *_people(record), *_figures(record), *_replies(record),
        *_making(record),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def as_json(record: Record) -> str:
    """The report for programs; what is infinite or unknown is null.

    Raises:
        LearningError: the version was never judged.
    """
    verdict = record.judged()
    run = record.run
    report = {
        "version": record.name,
        "champion": verdict["champion"],
        "outcome": verdict["outcome"],
        "state": record.state,
        "sentence": verdict["sentence"],
        "judged": verdict["time"],
        "checks": verdict["checks"],
        "metrics": record.metrics,
        "samples": [
            dict(zip(("prompt", "before", "after"), sample, strict=True))
            for sample in verdict["samples"]
        ],
        "liked": {"likes": record.likes, "votes": record.votes},
        "judged_by_people": [
            one.as_json() for one in comparisons(record.judgements, record.name)
        ],
        "settings": record.settings,
        "run": None if run is None else {
            "id": run.id, "trigger": run.trigger, "started": run.started,
            "finished": run.finished, "snapshot": run.snapshot,
        },
        "curve": [
            {"step": step, "name": name, "value": value} for step, name, value in record.curve
        ],
    }  # fmt: skip
    return json.dumps(plain(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def plain(value: Any) -> Any:
    """A value that JSON has: times in ISO 8601, null for what is no finite number."""
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(one) for one in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _verdict(record: Record) -> Iterator[str]:
    verdict = record.judged()
    yield f"# {record.name}: {verdict['outcome']}"
    yield f"**{_line(verdict['sentence'])}**"
    liked = f" People liked {record.likes} of its {record.votes} rated replies." if (
        record.votes) else ""
    yield (
        f"Now: {record.state}. It was compared with {called(verdict['champion'])} on "
        f"{verdict['time']:%Y-%m-%d}.{liked}"
    )
    failed = sum(not check["passed"] for check in verdict["checks"])
    yield f"## What the gate asked ({failed} of {len(verdict['checks'])} failed)"
    yield _table(("", "check", "value", "limit", "in words"), (
        ("passed" if check["passed"] else "**FAILED**", check["name"], number(check["value"]),
         number(check["limit"]), check["reason"])
        for check in verdict["checks"]
    ))  # fmt: skip


def _people(record: Record) -> Iterator[str]:
    found = comparisons(record.judgements, record.name)
    if found:
        yield "## What people say who do not know which is which"
    for one in found:
        yield " ".join((f"**{one.sentence()}**", *one.lines()))
        yield _table(COLUMNS, one.rows())


def _figures(record: Record) -> Iterator[str]:
    metrics, champion = record.metrics, str(record.judged()["champion"])
    rows = [
        (one.title, one.shown(metrics), one.shown(metrics, one.counterpart), one.meaning)
        for one in FIGURES if one.name in metrics
    ]
    if not rows:
        return
    yield "## Reported, never deciding"
    sampled, kept = (int(metrics.get(name, 0)) for name in ("sampled_replies", "holdout_items"))
    yield (
        f"From {kept} rated replies kept for judging, and from what both versions say to "
        f"{sampled} of their prompts. Two good replies to one question may share no word, so "
        "none of these numbers decides anything."
    )
    yield _table(("figure", record.name, called(champion), "in words"), rows)
    if sampled and "bleu" not in metrics:
        yield ("BLEU, chrF and ROUGE-L are missing: they need "
               "`pip install 'rapport-bot[card]'` before a run.")


def _replies(record: Record) -> Iterator[str]:
    verdict = record.judged()
    yield "## Replies before and after"
    if not verdict["samples"]:
        yield "None are kept; they go when words are deleted that one of the two learned from."
    for prompt, before, after in verdict["samples"]:
        yield f"Prompt:\n\n{_literal(prompt)}"
        yield f"Before ({called(verdict['champion'])}):\n\n{_literal(before)}"
        yield f"After ({record.name}):\n\n{_literal(after)}"


def _making(record: Record) -> Iterator[str]:
    yield "## How it was made"
    facts = []
    if record.run is not None:
        facts.append(f"- run {record.run.id} ({record.run.trigger}), begun "
                     f"{record.run.started:%Y-%m-%d %H:%M}")
    for name, title in (("loss", "loss on what it learned from"),
                        ("held_out", "loss on replies set aside")):
        points = [value for _, kind, value in record.curve
                  if kind == name and math.isfinite(value)]
        if points:
            facts.append(f"- {title}: {number(points[0])} at first, {number(points[-1])} at "
                         "the end (nats a token, lower is better)")
    if record.manifest is None:
        facts.append("- its files are gone, so it cannot serve again")
    else:
        facts.append(f"- it was shown {len(record.manifest.exchanges)} exchanges")
    yield "\n".join(facts)
    if record.settings:
        yield _table(("setting", "value"), (
            (name, str(value)) for name, value in record.settings.items()
        ))  # fmt: skip


def _table(columns: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")


def _line(text: str) -> str:
    # A reason may quote a rule of moderation, which may look like a tag.
    return " ".join(text.split()).replace("<", "&lt;")


def _literal(text: str) -> str:
    """Words of people and of the model, which no reader of Markdown may take for its marks."""
    return textwrap.indent("\n".join(text.splitlines()) or "(nothing)", "    ", lambda _: True)
