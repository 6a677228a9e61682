from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from bot.config import ScheduleConfig
from bot.errors import ConfigError
from learning.schedule import Schedule

SUNDAY = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Asked:
    """Takes requests, with a clock that is set by hand."""

    def __init__(self, **config: object) -> None:
        self.now = SUNDAY
        self.triggers: asyncio.Queue[str] = asyncio.Queue()
        settings = ScheduleConfig(**config)  # type: ignore[arg-type]  # tests pass any setting
        self.schedule = Schedule(settings, self.triggers.put, lambda: self.now)


@pytest.mark.parametrize(
    ("cron", "day"),
    [("0 4 * * 1", 2), ("0 4 * * 0", 8), ("0 4 * * 7", 8), ("0 4 * * fri-sat", 6),
     ("0 4 * * */3", 4), ("0 4 5 * 6", 5), ("0 4 3 * *", 3)],
)  # fmt: skip
def test_a_crontab_means_what_cron_means_by_it(cron: str, day: int) -> None:
    assert Asked(cron=cron).schedule.next_time() == datetime(2026, 3, day, 4, tzinfo=UTC)


def test_times_are_those_of_the_configured_zone() -> None:
    asked = Asked(cron="0 4 * * *", timezone="Asia/Tokyo")
    assert asked.schedule.next_time() == datetime(2026, 3, 1, 19, tzinfo=UTC)


def test_without_a_clock_there_is_no_next_time() -> None:
    assert Asked().schedule.next_time() is None


async def test_enough_votes_ask_for_a_run_and_fewer_do_not() -> None:
    asked = Asked(every_votes=3)
    await asked.schedule.on_votes(2)
    assert asked.triggers.empty()
    await asked.schedule.on_votes(3)
    assert asked.triggers.get_nowait() == "votes"


@pytest.mark.parametrize(
    ("hours", "end"),
    [("11:00-13:30", timedelta(hours=1, minutes=30)), ("22:00-12:01", timedelta(minutes=1)),
     ("12:00-06:00", timedelta(hours=18))],
)  # fmt: skip
async def test_a_request_in_quiet_hours_waits_for_their_end(hours: str, end: timedelta) -> None:
    asked = Asked(every_votes=1, quiet_hours=hours)
    await asked.schedule.on_votes(1)
    assert asked.triggers.empty()
    assert asked.schedule.next_time() == SUNDAY + end
    asked.now = SUNDAY + end
    await asked.schedule.fire("votes")
    assert asked.triggers.get_nowait() == "votes"
    assert asked.schedule.next_time() is None


async def test_a_time_in_quiet_hours_is_told_as_their_end() -> None:
    asked = Asked(cron="0 4 * * *", quiet_hours="23:00-07:00")
    assert asked.schedule.next_time() == datetime(2026, 3, 2, 7, tzinfo=UTC)


async def test_a_postponed_request_comes_by_itself() -> None:
    asked = Asked(every_votes=1, quiet_hours="11:00-13:00")
    asked.schedule.start()
    try:
        await asked.schedule.on_votes(1)
        asked.now = SUNDAY + timedelta(hours=2)
        # Its date is long past on the real clock: APScheduler fires it at once.
        assert await asyncio.wait_for(asked.triggers.get(), 10) == "votes"
    finally:
        asked.schedule.stop()


@pytest.mark.parametrize(
    ("key", "value"),
    [("cron", "every day"), ("cron", "61 * * * *"), ("cron", "0 4 * * 8"),
     ("cron", "0 4 * * 5-1"), ("quiet_hours", "22-6"), ("quiet_hours", "25:00-06:00"),
     ("quiet_hours", "06:00-06:00"), ("timezone", "Mars/Olympus"), ("timezone", "../x")],
)  # fmt: skip
def test_nonsense_is_refused_with_the_name_of_the_key(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=rf"learning\.schedule\.{key}"):
        Asked(**{key: value})
