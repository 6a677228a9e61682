"""Banning those who vote, and lifting a ban: asked for on several pages, done in one place.

Who votes, and what a ban comes to, is the learning half's business.
"""

from __future__ import annotations

from bot.dashboard.desk import Desk
from bot.dashboard.parts import attempt, confirmed


async def ask_ban(desk: Desk, rater: str) -> bool:
    """Ban somebody if the operator still wants it, knowing what follows; whether it was done."""
    return await confirmed(
        f"Ban {rater}?",
        "No vote of this person counts any more, past or future. They can go on talking with the "
        "bot, and the ban can be lifted on the page about raters.",
        f"Ban {rater}",
    ) and await attempt(desk.learning.ban(rater, desk.operator))


async def lift_ban(desk: Desk, rater: str) -> bool:
    """Let somebody's votes count again; whether it was done."""
    return await attempt(desk.learning.unban(rater, desk.operator))
