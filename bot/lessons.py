"""The commands under /learn: what operators ask of the learning half, and of its versions.

They pass on what is asked and show what comes back; learning itself is known only as
`bot.learning_port.Learning`. Whether somebody may ask is settled in `Lessons.run`.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC

from bot.answers import Answer, Asker, Help, Table, Text, Tone, in_short, said, unknown
from bot.errors import RapportError
from bot.learning_port import Learning, LearningStatus, Report, ReviewItem
from bot.store import Store
from bot.types import BASE, AdapterRef

LESSONS = (
    Help("/learn retrain", "learn from the votes now", operator=True),
    Help("/learn status", "the run that is on, and the last verdict", operator=True),
    Help("/learn adapters", "every version with its verdict", operator=True),
    Help("/learn report [VERSION]", "the newest verdict, or a version's, in full", operator=True),
    Help("/learn approve VERSION", "let a version serve that waits for approval", operator=True),
    Help("/learn veto VERSION", "turn a version away that waits for approval", operator=True),
    Help("/learn try VERSION", "let this channel try a version; `none` ends it", operator=True),
    Help("/learn promote VERSION", "let a judged version serve, whatever the gate said",
         operator=True),
    Help("/learn rollback [VERSION]", "serve the version before this one again", operator=True),
    Help("/learn export [csv|sft|kto|dpo]", "all votes as a file for you alone", operator=True),
    Help("/learn review [keep|drop NUMBER|next]", "liked replies that wait for your word",
         operator=True),
    Help("/learn ban PERSON", "somebody's votes count no more", operator=True),
    Help("/learn unban PERSON", "a banned person's votes count again", operator=True),
    Help("/learn cancel", "give up the run that is on", operator=True),
    Help("/learn pause", "start no runs until /learn resume", operator=True),
    Help("/learn resume", "let runs start again", operator=True),
)

MOST_BYTES = 8_000_000
"""The largest file that is sent; Discord takes ten million bytes."""

_WHICH = "Which version? For example: /learn {} v3 (/learn adapters shows which one waits)"
_WHO = "Whom? For example: /learn {} @ann; the dashboard's page about raters shows who votes."
_TONES: dict[str, Tone] = {"promote": "good", "reject": "bad", "shadow": "learning"}


class Lessons:
    """Does what operators ask with /learn."""

    def __init__(self, learning: Learning, store: Store) -> None:
        self._learning = learning
        self._store = store
        self._seen: dict[str, int] = {}
        self.acts: dict[str, Callable[[Asker, str], Awaitable[Answer]]] = {
            "retrain": self._retrain, "status": self._progress, "adapters": self._adapters,
            "report": self._report, "approve": self._approve, "veto": self._veto,
            "try": self._try, "rollback": self._rollback, "cancel": self._cancel,
            "export": self._export, "review": self._review, "pause": self._pause,
            "resume": self._resume, "promote": self._promote, "ban": self._ban,
            "unban": self._unban,
        }
        """What there is, by its name."""

    async def run(self, asker: Asker, args: str) -> Answer:
        """Do what stands behind /learn."""
        name, _, rest = args.partition(" ")
        act = self.acts.get(name.lower() or "status")
        if act is None:
            known = [f"/learn {lesson}" for lesson in self.acts]
            return said(unknown(f"/learn {name}", known), "bad")
        if not asker.operator:
            return said("Only the bot's operators can do that.", "bad")
        return await act(asker, rest.strip())

    async def _retrain(self, asker: Asker, args: str) -> Answer:
        asked = await self._learning.retrain()
        return replace(said(asked.text, "learning"), run=asked.run)

    async def _cancel(self, asker: Asker, args: str) -> Answer:
        return said(await self._learning.cancel(), "learning")

    async def _pause(self, asker: Asker, args: str) -> Answer:
        return said(await self._learning.pause(), "learning")

    async def _resume(self, asker: Asker, args: str) -> Answer:
        return said(await self._learning.resume(), "learning")

    async def _try(self, asker: Asker, args: str) -> Answer:
        if not args:
            return said("Which version? For example: /learn try v3 (/learn adapters lists them; "
                        "/learn try none ends it)", "bad")
        name = None if args.lower() in ("none", "off") else version_name(args)
        return said(await self._learning.try_version(asker.channel, name), "learning")

    async def _rollback(self, asker: Asker, args: str) -> Answer:
        to = version_name(args) if args else None
        return said(await self._learning.rollback(to), "learning")

    async def _report(self, asker: Asker, args: str) -> Answer:
        return report_answer(await self._learning.report(version_name(args) if args else None))

    async def _approve(self, asker: Asker, args: str) -> Answer:
        if not args:
            return said(_WHICH.format("approve"), "bad")
        return said(await self._learning.approve(version_name(args)), "good")

    async def _veto(self, asker: Asker, args: str) -> Answer:
        if not args:
            return said(_WHICH.format("veto"), "bad")
        return said(await self._learning.veto(version_name(args)), "learning")

    async def _promote(self, asker: Asker, args: str) -> Answer:
        if not args:
            return said("Which version? For example: /learn promote v3 (/learn adapters lists "
                        "them)", "bad")
        return said(await self._learning.promote(version_name(args)), "good")

    async def _ban(self, asker: Asker, args: str) -> Answer:
        if not args:
            return said(_WHO.format("ban"), "bad")
        return said(await self._learning.ban(person_id(args), _name(asker)), "learning")

    async def _unban(self, asker: Asker, args: str) -> Answer:
        if not args:
            return said(_WHO.format("unban"), "bad")
        return said(await self._learning.unban(person_id(args), _name(asker)), "learning")

    async def _export(self, asker: Asker, args: str) -> Answer:
        form = args.lower() or "csv"
        text = await self._learning.export(form)
        if len(text.encode()) > MOST_BYTES:
            return said("That is too much for a message; where the bot runs, say "
                        f"`rapport votes export --format {form} --out FILE`.", "bad")
        name = f"votes.{'csv' if form == 'csv' else 'jsonl'}"
        return replace(said("All votes of people who consent."), file=(name, text))

    async def _review(self, asker: Asker, args: str) -> Answer:
        word, _, number = args.lower().partition(" ")
        by = _name(asker)
        if word in ("keep", "drop"):
            chosen = number.strip().removeprefix("#")
            if not (chosen.isascii() and chosen.isdecimal()) or len(chosen) > 15:
                return said(f"Which reply? For example: /learn review {word} 12 (/learn review "
                            "shows the numbers)", "bad")
            told = await self._learning.decide(int(chosen), word == "keep", by)
            following = self._waiting(by, await self._learning.review())
            return Answer((Text(told, "good"), *following.blocks), review=following.review)
        if word not in ("", "next"):
            return said("Say /learn review, or with keep NUMBER, drop NUMBER or next.", "bad")
        items = await self._learning.review()
        if not word:
            self._seen.pop(by, None)
        elif number.isascii() and number.isdecimal() and len(number) <= 15:
            self._seen[by] = int(number)  # the one that a button stands below
        return self._waiting(by, items, onward=True)

    def _waiting(self, by: str, items: Sequence[ReviewItem], *, onward: bool = False) -> Answer:
        """What waits: the one this person saw last, or the one after it; then from the start."""
        if not items:
            return said("No reply waits for your word.")
        seen = self._seen.get(by, 0)
        first = seen + 1 if onward else seen
        item = next((one for one in items if one.exchange_id >= first), items[0])
        self._seen[by] = item.exchange_id
        return review_answer(item, items.index(item) + 1, len(items))

    async def _adapters(self, asker: Asker, args: str) -> Answer:
        return await adapters_table(await self._learning.adapters(), self._store)

    async def _progress(self, asker: Asker, args: str) -> Answer:
        status = await self._learning.status()
        rows = [
            ("serving", status.serving),
            ("learning", learning_line(status)),
            ("votes since", str(status.votes_since)),
            ("last verdict", status.verdict or "none yet"),
        ]
        if status.watched:
            rows.append(("watch", status.watched))
        if status.next_time is not None:
            rows.append(("next run", f"{status.next_time:%Y-%m-%d %H:%M %Z}"))
        rows += [("trying", f"{channel}: {name}") for channel, name in status.tries.items()]
        return Answer((Table("", ("", ""), tuple(rows)),))


def review_answer(item: ReviewItem, place: int, of: int) -> Answer:
    """A reply that waits: what is new about it, what was said, and what can be done."""
    number = item.exchange_id
    return Answer((
        Text(f"{place} of {of}: reply {number} is not learned from before you have looked at it.",
             "learning"),
        Table("", ("", ""), (
            ("new in it", ", ".join(item.novel)),
            ("question", in_short(item.question)),
            ("reply", in_short(item.reply)),
            ("rated by", ", ".join(item.raters)),
            ("given", f"{item.time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"),
        )),
        Text(f"/learn review keep {number} lets it be learned from, /learn review drop {number} "
             "never; /learn review next shows the next one."),
    ), review=item)


def report_answer(report: Report) -> Answer:
    """A verdict: its sentence, how the version stands, every check, replies before and after."""
    against = "the base model" if report.champion == BASE else report.champion
    short = f"v{report.adapter.lstrip('v0')}"
    standing = {
        "serving": "It serves.",
        "waiting": f"It waits for approval: /learn approve {short} or /learn veto {short}.",
        "turned away": "It was turned away.",
        "shadow": f"It does not serve; /learn try {short} lets a channel talk with it.",
        "retired": "It no longer serves.",
    }[report.state]
    checks = tuple(
        (f"{'✓' if check.passed else '✗'} {check.name}", check.reason) for check in report.checks
    )
    replies = tuple(
        pair
        for prompt, before, after in report.samples
        for pair in (("prompt", in_short(prompt)), ("before", in_short(before)),
                     ("after", in_short(after)))
    )
    blocks: list[Text | Table] = [
        Text(f"{report.adapter}: {report.sentence}", _TONES[report.outcome]),
        Text(f"{standing} It was compared with {against}."),
    ]
    if checks:
        blocks.append(Table("Checks", ("", ""), checks))
    if replies:
        blocks.append(Table("Replies before and after", ("", ""), replies))
    return Answer(tuple(blocks), report=report)


async def adapters_table(versions: Sequence[AdapterRef], store: Store) -> Answer:
    """Every version: when it appeared, how it stands, how it is liked, and its verdict."""
    rows = []
    for adapter in versions:
        likes, total = await store.like_rate(adapter.name)
        rows.append((
            adapter.name, adapter.status, f"{adapter.created.astimezone(UTC):%Y-%m-%d %H:%M}",
            f"{likes}/{total}" if total else "–", adapter.verdict,
        ))
    if not rows:
        return said("There are no versions yet: the base model serves.")
    columns = ("version", "status", "made (UTC)", "liked", "verdict")
    return Answer((Table("", columns, tuple(rows)),))


def version_name(text: str) -> str:
    """The name a person means: ``v3``, ``3`` and ``v0003`` are one; ``base`` is itself.

    Raises:
        RapportError: it does not look like a version.
    """
    word = text.strip().lower()
    found = re.fullmatch(r"v?0*(\d{1,9})", word, re.ASCII)
    if word == BASE:
        return BASE
    if found is None:
        raise RapportError(f"{text!r} is not a version, such as v3; /learn adapters lists them")
    return f"v{int(found[1]):04d}"


def person_id(text: str) -> str:
    """The platform's id of the person meant: a mention as Discord or Slack writes it, or an id."""
    found = re.fullmatch(r"<@!?([A-Za-z0-9]+)(\|[^>]*)?>", text.strip(), re.ASCII)
    return found[1] if found else text.strip().removeprefix("@")


def _name(asker: Asker) -> str:
    return f"{asker.channel.platform}/{asker.person}"


def learning_line(status: LearningStatus) -> str:
    """What the learning half does now."""
    if status.running is not None:
        run = status.running
        left = "" if run.eta_seconds is None else f", about {run.eta_seconds:.0f} s left"
        line = f"run {run.run}: {run.stage} {run.adapter} {run.progress:.0%}{left}"
    else:
        line = "paused" if status.paused else "waiting"
    return line + (", another run follows" if status.queued else "")
