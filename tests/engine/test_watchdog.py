"""An engine that hangs is noticed while it hangs, and again when it goes on."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.engine.conftest import Start
from tests.engine.tiny import Clock, expected_reply, held_up, plain_model, prompt_ids, reply


class Heard(logging.Handler):
    """What the watchdog says, to be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(f"{record.levelname} {record.getMessage()}")
        self._loop.call_soon_threadsafe(self._news.set)

    async def until(self, count: int) -> None:
        while len(self.said) < count:
            self._news.clear()
            await self._news.wait()


@contextmanager
def heard() -> Iterator[Heard]:
    log, handler = logging.getLogger("bot.engine.watchdog"), Heard()
    log.addHandler(handler)
    yield handler
    log.removeHandler(handler)


async def test_a_slice_that_does_not_end_is_told_of_once_with_its_place_and_so_is_its_end(
    folders: dict[str, Path], start: Start
) -> None:
    clock = Clock()
    engine = start(folders["llama"], clock=clock, watchdog_seconds=60)
    with heard() as log:
        async with held_up(engine):
            assert engine.stats().stuck == 0
            clock.now += 61.0
            assert engine.stats().stuck == 61
            await log.until(1)
            clock.now += 439.0
            waiting = asyncio.create_task(reply(engine, prompt_ids(9)))
        await log.until(2)
        assert await waiting == expected_reply(plain_model(folders["llama"]), prompt_ids(9))
    first, second = log.said
    assert first.startswith("ERROR the engine has not moved for 61 s; it is at\n")
    assert "in hang_about" in first
    assert "in _step" in first
    assert second == "WARNING the engine goes on after 500 s"
    assert engine.stats().stuck == 0


async def test_an_engine_that_has_nothing_to_do_does_not_hang(
    folders: dict[str, Path], start: Start
) -> None:
    clock = Clock()
    engine = start(folders["llama"], clock=clock, watchdog_seconds=60)
    await reply(engine, prompt_ids(9))
    async with asyncio.timeout(10):
        while engine._worker.watchdog.begun is not None:  # noqa: ASYNC110 -- until it rests
            await asyncio.sleep(0)
    clock.now += 1e6
    assert engine.stats().stuck == 0


async def test_who_does_not_want_to_know_is_not_told(
    folders: dict[str, Path], start: Start
) -> None:
    before = set(threading.enumerate())
    clock = Clock()
    engine = start(folders["llama"], clock=clock, watchdog_seconds=0)
    async with held_up(engine):
        clock.now += 1e6
        assert engine.stats().stuck == 0
        started = {thread.name for thread in threading.enumerate() if thread not in before}
    assert started == {"engine"}
