"""The web pages put together with the rest: what `rapport demo` opens, and `rapport run` adds.

Belongs to `bot.app`, and is a file of its own because pages bring FastAPI and NiceGUI with them,
which nobody needs to load who talks in a terminal.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import webbrowser
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from bot.again import Again
from bot.app import App, open_app, plain_errors
from bot.config import Config, WebConfig
from bot.dashboard.desk import Desk
from bot.metrics import Measured
from bot.platforms.base import Platform
from bot.web.health import health_routes
from bot.web.platform import TOKEN, WebPlatform, check_access
from bot.web.playground import Playing
from bot.web.rooms import CROWD, NAME, Rooms
from bot.web.server import bound
from bot.web.standing import Standings
from learning.simulation.visitors import Visitors

ROOMS = ("general", "random", "ideas")


def web_socket(config: WebConfig) -> socket.socket:
    """Where the pages will be, taken before anything slow is opened.

    Raises:
        ConfigError: the address cannot be used, or others could reach it without a token.
    """
    check_access(config, _token())
    return bound(config.host, config.port)


@asynccontextmanager
async def web_platform(
    app: App, listening: socket.socket, besides: Sequence[Platform] = (), *,
    crowd: bool = False,
) -> AsyncIterator[WebPlatform]:
    """The pages of an open app.

    Args:
        besides: the platforms that talk beside them.
        crowd: whether simulated people may be called: nowhere where people really talk.
    """
    visitors = Visitors(app.conversation, app.store, app.config) if crowd else None
    platforms: list[Platform] = [*besides]
    endpoints = health_routes(app.metrics, app.store, app.engine, platforms)
    measured = Measured(app.engine, app.metrics)
    again = Again(measured, app.store, app.config, app.conversation, app.learning.current)
    names = (*ROOMS, CROWD) if crowd else ROOMS
    rooms = Rooms(app.conversation, app.store, again, names)
    platform = WebPlatform(
        app.config.web, _token(), listening,
        Playing(rooms, app.commands, app.learning, Standings(app.learning, app.store), visitors),
        Desk(app.config, app.store, app.engine, app.learning, f"{NAME}/operator"), endpoints,
    )
    platforms.append(platform)
    try:
        yield platform
    finally:
        if visitors is not None:
            await visitors.close()


async def demonstrate(
    config: Config, data: Path, opened: Callable[[str], None]
) -> None:
    """Open everything and show the pages, until cancelled.

    Args:
        opened: told the address, once it answers.
    """
    with web_socket(config.web) as listening, plain_errors():
        async with (
            open_app(config, data) as app,
            web_platform(app, listening, crowd=True) as platform,
            asyncio.TaskGroup() as tasks,
        ):
            app.listen(platform.notice)
            tasks.create_task(platform.run(), name=platform.name)
            await platform.started.wait()
            await asyncio.to_thread(opened, platform.address)


def open_browser(address: str) -> None:
    """Show an address in the browser, where there is one to be seen; may take its time."""
    screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if screen or sys.platform in ("darwin", "win32"):
        webbrowser.open(address)


def _token() -> str:
    return os.environ.get(TOKEN, "").strip()
