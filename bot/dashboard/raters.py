"""The page about those who vote: how much, how kindly, and what a vote of theirs counts.

Trust and weights are worked out by the learning half from all votes, so they are asked for only
after somebody voted, and now and then.
"""

from __future__ import annotations

from collections.abc import Sequence

from nicegui import ui

from bot.dashboard.desk import Desk
from bot.dashboard.fresh import Seldom, keep_fresh
from bot.dashboard.parts import Tile, panel
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

    async def refresh(self) -> None:
        """Read who votes, if that can have changed, and show it."""
        if not self._seldom.due(await self._desk.store.mark()):
            return
        found = await self._desk.learning.raters()
        self._seldom.done()
        self._show_tiles(found)
        self._sheet.show([
            {"id": one.rater, "rater": one.rater, "votes": one.votes, "likes": one.likes,
             "liked": one.likes / one.votes, "trust": one.trust, "weight": one.weight,
             "reasons": "; ".join(one.reasons)}
            for one in found
        ])

    def _show_tiles(self, found: Sequence[RaterTrust]) -> None:
        total = sum(one.votes for one in found)
        rate = LikeRate(sum(one.likes for one in found), total)
        self._people.show(f"{len(found):,}")
        self._votes.show(f"{total:,}", f"{percent(rate.value)} liked" if total else liked(rate))
        if found:
            self._most.show(
                percent(found[0].votes / total), f"of all votes: {found[0].rater}, "
                f"{votes(found[0].votes)}"
            )
        self._trust.show(*_trust([one.trust for one in found if one.trust is not None]))


def _trust(trusted: Sequence[float]) -> tuple[str, str]:
    if not trusted:
        return NOTHING, "nobody is weighed against others"
    least, most = percent(min(trusted)), percent(max(trusted))
    if least == most:
        return least, "for everybody"
    return f"{least} to {most}", "from the least to the most trusted"
