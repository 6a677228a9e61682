"""The page about those who vote: how much, how kindly, and what a vote of theirs counts.

Trust and weights are worked out by the learning half from all votes, so they are asked for only
after somebody voted, and now and then.
"""

from __future__ import annotations

from collections.abc import Sequence

from nicegui import ui

from bot.dashboard.bans import ask_ban, lift_ban
from bot.dashboard.desk import Desk
from bot.dashboard.fresh import Seldom, keep_fresh
from bot.dashboard.parts import Choice, Tile, button, panel
from bot.dashboard.tables import Column, Sheet
from bot.dashboard.wording import NOTHING, liked, percent, votes
from bot.learning_port import RaterTrust
from bot.likerate import LikeRate

WHY = (
    "A vote counts 1 or less: less where others who rated the same replies do not agree, where "
    "somebody always says the same, and where one person votes far more than others. "
    "[learning.votes] in config.toml has the rules."
)


async def raters(desk: Desk) -> None:
    """Fill the page and keep it true while it is open."""
    await keep_fresh(_Raters(desk).refresh, at_once=False)


class _Raters:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._seldom = Seldom()
        with ui.element("div").classes("tiles"):
            self._people, self._votes = Tile("People who vote"), Tile("Votes that hold")
            self._most, self._trust = Tile("Most active"), Tile("Trust")
        with panel("Raters", WHY):
            self._sheet = Sheet(
                "raters",
                (Column("rater", "rater"), Column("votes", "votes", "number"),
                 Column("likes", "likes", "number"), Column("liked", "liked", "share"),
                 Column("trust", "trust", "share"), Column("weight", "a vote counts", "share"),
                 Column("reasons", "why less", "long")),
                "No votes yet: whoever reacts to a reply with 👍 or 👎 appears here.",
                sort="votes", page=15,
            )  # fmt: skip
        with panel("Ban", "The votes of a banned person do not count: nothing is learned from them "
                   "or judged by them. [permissions] in config.toml is for who may not talk."):
            with ui.element("div").classes("buttons"):
                self._who = Choice("rater")
                self._ban = button("Ban", "person_off", self._ask_ban)
            with ui.element("div").classes("buttons") as self._lift:
                self._banned = Choice("banned")
                button("Lift the ban", "person_add", self._ask_lift)

    async def refresh(self) -> None:
        """Read who votes, if that can have changed, and show it."""
        if not self._seldom.due(await self._desk.store.mark()):
            return
        found = await self._desk.learning.raters()
        self._seldom.done()
        self._show_tiles(found)
        self._sheet.show([
            {"id": one.rater, "rater": one.rater, "votes": one.votes, "likes": one.likes,
             "liked": one.likes / one.votes if one.votes else None, "trust": one.trust,
             "weight": one.weight, "reasons": "; ".join(one.reasons)}
            for one in found
        ])
        self._offer(found)

    def _offer(self, found: Sequence[RaterTrust]) -> None:
        self._who.offer({one.rater: one.rater for one in found if not one.banned})
        self._ban.set_enabled(any(not one.banned for one in found))
        banned = {one.rater: one.rater for one in found if one.banned}
        self._banned.offer(banned, first=next(iter(banned), None))
        self._lift.set_visibility(bool(banned))

    async def _ask_ban(self) -> None:
        who = self._who.value
        if who is None:
            ui.notify("Choose a rater first.")
        elif await ask_ban(self._desk, who):
            await self._anew()

    async def _ask_lift(self) -> None:
        if self._banned.value is not None and await lift_ban(self._desk, self._banned.value):
            await self._anew()

    async def _anew(self) -> None:
        self._seldom.again()
        await self.refresh()

    def _show_tiles(self, found: Sequence[RaterTrust]) -> None:
        voting = [one for one in found if not one.banned]
        total = sum(one.votes for one in voting)
        rate = LikeRate(sum(one.likes for one in found), total)
        gone = len(found) - len(voting)
        self._people.show(f"{len(voting):,}", f"{gone:,} banned" if gone else "")
        self._votes.show(f"{total:,}", f"{percent(rate.value)} liked" if total else liked(rate))
        if voting:
            self._most.show(
                percent(voting[0].votes / total), f"of all votes: {voting[0].rater}, "
                f"{votes(voting[0].votes)}"
            )
        self._trust.show(*_trust([one.trust for one in found if one.trust is not None]))


def _trust(trusted: Sequence[float]) -> tuple[str, str]:
    if not trusted:
        return NOTHING, "nobody is weighed against others"
    least, most = percent(min(trusted)), percent(max(trusted))
    if least == most:
        return least, "for everybody"
    return f"{least} to {most}", "from the least to the most trusted"
