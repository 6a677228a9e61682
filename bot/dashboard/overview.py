"""The first page: how the bot is liked, what is learned, how the machine fares, what went wrong.

It draws `bot.dashboard.figures`; the like rate and the votes are read anew only after a vote.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from nicegui import ui

from bot.dashboard.charts import like_options, pace_options, share_options
from bot.dashboard.desk import Desk
from bot.dashboard.figures.likes import NEWEST, likes
from bot.dashboard.figures.machine import memory, pace
from bot.dashboard.figures.troubles import troubles
from bot.dashboard.figures.versions import called
from bot.dashboard.fresh import Seldom, keep_fresh
from bot.dashboard.parts import Chart, Tile, button, panel
from bot.dashboard.tables import Column, Sheet
from bot.dashboard.wording import lasting, liked, moment, percent, sentence, votes
from bot.errors import RapportError
from bot.learning_port import LearningStatus
from bot.lessons import learning_line
from bot.likerate import LikeRate
from bot.units import size

FORMS: Mapping[str, str] = {
    "csv": "every vote as a table",
    "sft": "liked replies, to train on",
    "kto": "replies with a thumb each",
    "dpo": "liked beside disliked replies",
}
"""What votes can be saved as."""
BAR_TOP, BAR = 120, 32
"""Pixels of a chart of bars: around them, and each."""


async def overview(desk: Desk) -> None:
    """Fill the page and keep it true while it is open."""
    await keep_fresh(_Overview(desk).refresh, at_once=False)  # a card's driver may be slow


class _Overview:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._seldom = Seldom()
        with ui.element("div").classes("tiles"):
            self._serving, self._since = Tile("Serving"), Tile("Votes since the last run")
            self._learning, self._next = Tile("Learning"), Tile("Next run")
            self._queue, self._first = Tile("Replies"), Tile("First token")
            self._speed, self._memory = Tile("Speed"), Tile("Memory")
        with panel("How replies are liked"):
            self._no_votes = ui.label(
                "No votes yet: talk with the bot and react to its replies with 👍 or 👎."
            ).classes("muted")
            self._likes = Chart("Like rate of each version as time goes on, with 95 % intervals")
            self._made_of = ui.label("").classes("muted")
        with ui.element("div").classes("pair"):
            with panel("Where votes come from"):
                self._sources = Chart("Likes and dislikes by how they were given")
            with panel("Where people vote"):
                self._places = Chart("Likes and dislikes by platform and server")
        with panel("How fast replies come"):
            self._no_replies = ui.label("No replies yet: say something to the bot.").classes(
                "muted")
            self._pace = Chart("Seconds to the first token of the newest replies")
        with panel("What went wrong lately"):
            self._troubles = Sheet(
                "troubles",
                (Column("time", "when (UTC)"), Column("kind", "what"),
                 Column("text", "in words", "long")),
                "Nothing: no run has failed and no version was taken back.", sort="time",
            )  # fmt: skip
        self._draw_exports()

    def _draw_exports(self) -> None:
        with panel("Votes as a file", "Of people who consent, without private channels."), \
                ui.element("div").classes("buttons"):
            for form, meaning in FORMS.items():
                button(form.upper(), "download", partial(self._export, form)).props(
                    f'aria-label="Save votes as {form}: {meaning}"'
                ).tooltip(meaning)

    async def _export(self, form: str) -> None:
        try:
            text = await self._desk.learning.export(form)
        except RapportError as error:
            ui.notify(sentence(error), type="warning")
            return
        if not text.strip():
            ui.notify("There is nothing of that kind yet: it takes votes of people who consent.")
            return
        ending = "csv" if form == "csv" else "jsonl"
        ui.download.content(text.encode(), f"votes.{form}.{ending}" if ending == "jsonl"
                            else "votes.csv")

    async def refresh(self) -> None:
        """Read the figures and show them."""
        status = await self._desk.learning.status()
        await self._show_state(status)
        await self._show_machine()
        found = await troubles(self._desk.store)
        self._troubles.show([
            {"id": place, "time": moment(one.time), "kind": one.kind.replace("_", " "),
             "text": one.text}
            for place, one in enumerate(found)
        ])
        if self._seldom.due((await self._desk.store.mark(), status.serving)):
            await self._show_votes()
            self._seldom.done()

    async def _show_state(self, status: LearningStatus) -> None:
        rate = LikeRate(*await self._desk.store.like_rate(status.serving))
        share = f" · {percent(rate.value)}" if rate.rated else ""
        self._serving.show(f"{called(status.serving)}{share}", liked(rate))
        total = await self._desk.store.count_votes()
        self._since.show(f"{status.votes_since:,}", f"of {votes(total)} in all")
        self._learning.show(_doing(status), status.watched or _line(status))
        self._next.show(moment(status.next_time), _when(status))

    async def _show_machine(self) -> None:
        stats = self._desk.engine.stats()
        self._queue.show(
            f"{stats.running} running",
            f"not moving for {lasting(stats.stuck)}; see the log" if stats.stuck
            else f"{stats.queued} waiting, {stats.replies:,} since the start",
        )
        found = await pace(self._desk.store)
        first, speed = found.waited, found.fast
        if first.median is not None and first.high is not None:
            self._first.show(
                lasting(first.median),
                f"half came within that, 95% within {lasting(first.high)} "
                f"(last {len(found.replies)} replies)",
            )
        if speed.median is not None:
            gap = stats.token_gap.quantile(0.95)
            self._speed.show(
                f"{speed.median:.0f} tokens/s",
                f"median of the last {len(found.replies)} replies"
                + ("" if gap is None else f"; 95% of tokens within {lasting(gap)} of the last"),
            )
        held = await memory(self._desk.engine)
        card = "" if held.card is None else f"; card {size(held.card[0])} of {size(held.card[1])}"
        self._memory.show(
            size(held.process),
            f"running replies {size(held.arena)} of {size(held.arena_limit)} at most, "
            f"kept prefixes {size(held.cache)} of {size(held.cache_limit)}, "
            f"packed weights {size(held.packed)}{card}",
        )
        self._no_replies.set_visibility(not found.replies)
        self._pace.set_visibility(bool(found.replies))
        if found.replies:
            self._pace.draw(pace_options(found))

    async def _show_votes(self) -> None:
        found = await likes(self._desk.store)
        any_votes = found.votes > 0
        self._no_votes.set_visibility(not any_votes)
        for chart in (self._likes, self._sources, self._places):
            chart.set_visibility(any_votes)
        if not any_votes:
            self._made_of.set_text("")
            return
        self._likes.draw(like_options(found))
        for chart, title, shares in (
            (self._sources, "Votes by how they were given", found.sources),
            (self._places, "Votes by platform and server", found.places),
        ):
            chart.draw(share_options(title, shares), BAR_TOP + BAR * len(shares))
        point = "a day" if found.by_day else "a few votes one after another"
        newest = f", of the newest {NEWEST:,}" if found.limited else ""
        self._made_of.set_text(
            f"{votes(found.votes)} that hold{newest}. A point is {point}, the line through it its "
            "95% interval (Wilson); a dotted line is where a version began to serve."
        )


def _doing(status: LearningStatus) -> str:
    if status.running is not None:
        return f"{status.running.stage} {status.running.adapter}".strip()
    return "paused" if status.paused else "idle"


def _line(status: LearningStatus) -> str:
    return learning_line(status) if status.running is not None else status.verdict.split(". ")[0]


def _when(status: LearningStatus) -> str:
    if status.paused:
        return "learning is paused"
    return "UTC, by the clock" if status.next_time else "when it is asked for, or by votes"
