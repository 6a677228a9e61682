"""The whole bot, run as in production, beside a server that speaks the platform's protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from discord.gateway import DiscordWebSocket
from discord.http import Route

from bot.app import App, run_platforms
from bot.config import Config


@pytest.fixture(autouse=True)
def _discord_as_it_was() -> Iterator[None]:
    """discord.py keeps the server's address for the whole process."""
    base, gateway = Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY
    yield
    Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY = base, gateway


def config_of(**sections: object) -> Config:
    """The built-in model on one thread, with short and repeatable replies."""
    return Config.model_validate({
        "model": {"device": "cpu", "threads": 1},
        "sampling": {"temperature": 0.0, "max_tokens": 24},
        **sections,
    })  # fmt: skip


@dataclass
class Running:
    """The bot on its platforms."""

    app: App
    task: asyncio.Task[None]
    """Ends by itself only with an error."""


@asynccontextmanager
async def running(
    config: Config, data: Path, environment: Mapping[str, str]
) -> AsyncIterator[Running]:
    """The bot on its platforms; what ends it by itself is raised here."""
    opened: asyncio.Future[App] = asyncio.get_running_loop().create_future()
    bot = asyncio.create_task(run_platforms(config, data, environment, opened.set_result))
    await asyncio.wait([bot, opened], return_when=asyncio.FIRST_COMPLETED)
    if bot.done():
        await bot
    try:
        yield Running(opened.result(), bot)
    finally:
        bot.cancel()
        done, _ = await asyncio.wait([bot], timeout=20)
        assert done, "the bot does not stop"
        if not bot.cancelled() and (error := bot.exception()) is not None:
            raise error


async def until(holds: Callable[[], Awaitable[object]], seconds: float = 10) -> None:
    """Wait until something holds in the database, which tells nobody when it changes.

    Raises:
        TimeoutError: it did not within so many seconds.
    """
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110 -- there is no event to wait for
            await asyncio.sleep(0.01)
