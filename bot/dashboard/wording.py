"""How the pages write times, shares, bytes and seconds, and what they call outcomes.

Pure: words only, and nothing of where they stand.
"""

from __future__ import annotations

from datetime import UTC, datetime

from bot.likerate import LikeRate

NOTHING = "–"
"""Where there is nothing to tell."""
TRIGGERS = {"command": "asked for", "cron": "by the clock", "votes": "enough votes",
            "forgetting": "words were forgotten"}
"""Why a run began."""
OUTCOMES = {"promote": "passed", "shadow": "too few votes to tell", "reject": "turned away"}
"""What the gate said."""


def moment(time: datetime | None) -> str:
    """Day and minute, in UTC."""
    return NOTHING if time is None else f"{time.astimezone(UTC):%Y-%m-%d %H:%M}"


def percent(share: float) -> str:
    """A share of one."""
    return f"{share:.0%}"


def liked(rate: LikeRate) -> str:
    """A like rate with what it is made of and how sure it is."""
    if not rate.rated:
        return "not rated yet"
    low, high = rate.interval
    return f"{rate.likes} of {votes(rate.rated)}, 95% sure between {low:.0%} and {high:.0%}"


def votes(number: int) -> str:
    """So many votes."""
    return f"{number:,} {'vote' if number == 1 else 'votes'}"


def lasting(seconds: float) -> str:
    """A length of time, to what matters of it."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def sentence(said: object) -> str:
    """A message of the bot as one line that begins with a capital, or with a version's name."""
    text = " ".join(str(said).split())
    return text if text[1:2].isdigit() else text[:1].upper() + text[1:]
