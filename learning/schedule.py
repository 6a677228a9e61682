"""When a run starts by itself: by the clock, or after so many votes.

It knows what a request is called, not what a run does: it calls `request` with the trigger
and is answered at once, because APScheduler cancels running jobs when it shuts down.
Quiet hours postpone a request to their end. Times missed while Rapport was not running are
not made up for; votes are, because they are counted in the store.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger

from bot.config import ScheduleConfig
from bot.errors import ConfigError

_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_DAY_RANGE = re.compile(r"(\*|(?P<low>\w+)(-(?P<high>\w+))?)(/(?P<step>\d+))?")
_QUIET = re.compile(r"(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})")


@dataclass(frozen=True, slots=True)
class QuietHours:
    """A time of day in which no run starts by itself; may pass midnight."""

    start: time
    end: time
    zone: tzinfo

    def after(self, moment: datetime) -> datetime:
        """`moment`, or the end of the quiet hours it falls into, in UTC."""
        local = moment.astimezone(self.zone)
        now = local.time()
        if self.start < self.end:
            quiet = self.start <= now < self.end
        else:
            quiet = now >= self.start or now < self.end
        if not quiet:
            return moment.astimezone(UTC)
        day = local.date() + timedelta(days=int(now >= self.end))
        return datetime.combine(day, self.end, self.zone).astimezone(UTC)


class Schedule:
    """The triggers of `learning.schedule`.

    Args:
        request: called with ``cron`` or ``votes``; must return soon.

    Raises:
        ConfigError: cron, quiet hours or time zone cannot be understood; names the key.
    """

    def __init__(
        self,
        config: ScheduleConfig,
        request: Callable[[str], Awaitable[object]],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._every_votes = config.every_votes
        self._request = request
        self._clock = clock
        zone = _zone(config.timezone)
        self._quiet = _quiet_hours(config.quiet_hours, zone)
        self._trigger = _cron(config.cron, zone)
        self._postponed: datetime | None = None
        self._scheduler: Any = AsyncIOScheduler(
            timezone=UTC,
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        if self._trigger is not None:
            self._scheduler.add_job(self.fire, self._trigger, args=["cron"], id="cron")

    def start(self) -> None:
        """Begin to watch the clock, on the running event loop."""
        self._scheduler.start()

    def stop(self) -> None:
        """Watch the clock no longer."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    @property
    def counts_votes(self) -> bool:
        """Whether the number of votes matters."""
        return self._every_votes > 0

    async def on_votes(self, number: int) -> None:
        """Say how many votes there are since the last run."""
        if self.counts_votes and number >= self._every_votes and self._postponed is None:
            await self.fire("votes")

    async def fire(self, trigger: str) -> None:
        """Ask for a run now, or at the end of the quiet hours."""
        now = self._clock()
        due = now if self._quiet is None else self._quiet.after(now)
        if due > now:
            self._postponed = due
            self._scheduler.add_job(
                self.fire, "date", run_date=due, args=[trigger], id="postponed",
                replace_existing=True,
            )
            return
        self._postponed = None
        await self._request(trigger)

    def next_time(self) -> datetime | None:
        """When the clock will next start a run, in UTC; None when it never will."""
        times = [] if self._postponed is None else [self._postponed]
        if self._trigger is not None:
            fires = self._trigger.get_next_fire_time(None, self._clock())
            if fires is not None:
                times.append(self._quiet.after(fires) if self._quiet else fires.astimezone(UTC))
        return min(times, default=None)


def next_run(config: ScheduleConfig) -> datetime | None:
    """When the clock will next start a run by these settings, in UTC; None when it never will.

    Raises:
        ConfigError: cron, quiet hours or time zone cannot be understood; names the key.
    """

    async def nobody(trigger: str) -> None:
        """It is only asked when."""

    return Schedule(config, nobody).next_time()


def _zone(name: str) -> tzinfo:
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ValueError, OSError, LookupError) as error:
        raise ConfigError(
            f"learning.schedule.timezone: {name!r} is not a time zone; write one like Europe/Berlin"
        ) from error


def _quiet_hours(text: str, zone: tzinfo) -> QuietHours | None:
    if not text:
        return None
    found = _QUIET.fullmatch(text.replace(" ", ""))
    try:
        if found is None:
            raise ValueError("no match")
        hours = [int(group) for group in found.groups()]
        start, end = time(hours[0], hours[1]), time(hours[2], hours[3])
        if start == end:
            raise ValueError("empty")
    except ValueError as error:
        raise ConfigError(
            f"learning.schedule.quiet_hours: {text!r} is not HH:MM-HH:MM with two different times"
        ) from error
    return QuietHours(start, end, zone)


def _cron(text: str, zone: tzinfo) -> Any:
    """The trigger of a crontab line (crontab(5)), or None for an empty one."""
    if not text.strip():
        return None
    try:
        minute, hour, day, month, weekday = text.split()
        weekdays = _weekdays(weekday)

        def at(day: str, weekdays: str) -> Any:
            return CronTrigger(
                minute=minute, hour=hour, day=day, month=month, day_of_week=weekdays,
                timezone=zone,
            )

        if day.startswith("*") or weekday.startswith("*"):
            return at(day, weekdays)
        # Cron takes either of the two when both are given; APScheduler would want both.
        return OrTrigger([at(day, "*"), at("*", weekdays)])
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"learning.schedule.cron: {text!r} is not a crontab line (minute hour day month "
            f"weekday, such as '0 4 * * 1'): {error}"
        ) from error


def _weekdays(text: str) -> str:
    """A crontab's weekdays in APScheduler's words, whose 0 is Monday and not Sunday."""
    if text == "*":
        return text
    chosen: set[int] = set()
    for piece in text.lower().split(","):
        found = _DAY_RANGE.fullmatch(piece)
        if found is None:
            raise ValueError(f"{piece!r} is no weekday")
        low = 0 if found["low"] is None else _day(found["low"])
        if found["high"] is not None:
            high = _day(found["high"])
        else:
            high = low if found["low"] is not None and found["step"] is None else 6
        if low > high or found["step"] == "0":
            raise ValueError(f"{piece!r} holds no weekday")
        chosen |= {day % 7 for day in range(low, high + 1, int(found["step"] or 1))}
    return ",".join(_DAYS[day] for day in sorted(chosen))


def _day(text: str) -> int:
    if text in _DAYS:
        return _DAYS.index(text)
    if text.isdecimal() and int(text) <= 7:
        return int(text)
    raise ValueError(f"{text!r} is no weekday")
