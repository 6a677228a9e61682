"""A task comes to its end before those who wait for it."""

from __future__ import annotations

import asyncio

from bot.ended import ended


async def test_a_task_ends_first_however_often_its_waiter_is_told_to_stop() -> None:
    go_on = asyncio.Event()

    async def work() -> None:
        await go_on.wait()
        raise ValueError("nobody asks")

    task = asyncio.create_task(work())
    waiting = asyncio.create_task(ended(task))
    for _ in range(3):
        await asyncio.sleep(0)
        waiting.cancel()
    await asyncio.sleep(0)
    assert not waiting.done()
    go_on.set()
    await waiting
    assert task.done()


async def test_a_task_that_was_cancelled_has_ended() -> None:
    task = asyncio.create_task(asyncio.Event().wait())
    task.cancel()
    await ended(task)
    assert task.cancelled()
