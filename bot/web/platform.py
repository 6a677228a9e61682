"""The web pages as a platform: what `bot.app` runs beside Discord and Slack.

It puts the server together (guard, login, pages, endpoints), serves it until it is cancelled and
hands notices on to the pages that are open. What stands on the pages is the pages' own matter.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import FileResponse
from nicegui import ui

from bot import dashboard
from bot.config import WebConfig
from bot.dashboard.desk import Desk
from bot.dashboard.learning import learning
from bot.dashboard.overview import overview
from bot.dashboard.raters import raters
from bot.dashboard.review import review
from bot.errors import ConfigError
from bot.platforms.base import Notice
from bot.web import server
from bot.web.frame import (
    ASSETS,
    CHAT,
    LEARNING,
    OVERVIEW,
    RATERS,
    REVIEW,
    Place,
    content,
    head,
)
from bot.web.guard import LOOPBACK, Guard, Logins
from bot.web.login import login_routes
from bot.web.playground import Playground, Playing
from bot.web.rooms import CROWD, NAME

log = logging.getLogger(__name__)

TOKEN = "RAPPORT_WEB_TOKEN"
STYLES = (ASSETS / "rapport.css", Path(dashboard.__file__).parent / "dashboard.css")
Fill = Callable[[Desk], Awaitable[None]]
"""Builds the content of a page in the slot that is open."""
DASHBOARD: Mapping[Place, Fill] = {
    OVERVIEW: overview, LEARNING: learning, REVIEW: review, RATERS: raters,
}


def check_access(config: WebConfig, token: str) -> None:
    """Refuse to show the pages to the world without a token.

    Raises:
        ConfigError: there is none, and the address is not this machine's alone.
    """
    if not token and config.host not in LOOPBACK:
        raise ConfigError(
            f"the pages on {config.host} can be reached from other machines: set {TOKEN} in the "
            "environment to a long random text, or web.host to 127.0.0.1"
        )


class WebPlatform:
    """The pages, on a socket that listens already."""

    name = NAME

    def __init__(
        self, config: WebConfig, token: str, listening: socket.socket, playing: Playing,
        desk: Desk, endpoints: APIRouter,
    ) -> None:
        """`endpoints` answers machines: /healthz and the like."""
        self._desk = desk
        self._listening = listening
        self._playing = playing
        self._logins = Logins(token, config.login_hours, config.logins_per_minute)
        check_access(config, token)
        self._names = LOOPBACK | {name.lower() for name in (*config.names, config.host)}
        if config.host in server.EVERYWHERE:
            self._names |= {socket.gethostname().lower()}
        self._endpoints = endpoints
        self._hearing: set[Callable[[Notice], None]] = set()
        self.started = asyncio.Event()

    @property
    def address(self) -> str:
        """What to type into a browser."""
        return server.address(self._listening)

    def waits_for(self) -> str:
        """What it still waits for."""
        return "" if self.started.is_set() else "the server to start"

    def notice(self, notice: Notice) -> None:
        """Hand it on to every open page."""
        for hear in list(self._hearing):
            try:
                hear(notice)
            except Exception:
                log.exception("a page could not show a notice")

    def _heard(self, callback: Callable[[Notice], None]) -> Callable[[], None]:
        self._hearing.add(callback)
        return lambda: self._hearing.discard(callback)

    async def run(self) -> None:
        """Serve until cancelled."""
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        app.include_router(login_routes(self._logins))
        app.include_router(self._endpoints)
        self._add_looks(app)
        self._add_pages()
        ui.run_with(
            app, title="Rapport", dark=None, language="en-US", tailwind=False,
            show_welcome_message=False, favicon="💬", reconnect_timeout=10.0,
        )
        guard = Guard(app, self._logins, frozenset(self._names))
        try:
            if self._playing.crowd is not None:
                crowd = await self._playing.rooms.room(CROWD)
                self._playing.crowd.watch(crowd.see)
            await server.serve(guard, self._listening, self.started)
        finally:
            await self._playing.rooms.close()

    def _add_looks(self, app: FastAPI) -> None:
        for file in STYLES:
            # Bound at once; a parameter would be the request's to give.
            app.add_api_route(f"/web/{file.name}", partial(_style, file))

    def _add_pages(self) -> None:
        leave = self._logins.needed

        @ui.page(CHAT.path)
        async def chat(request: Request) -> None:
            head(CHAT, request, leave=leave)
            asked = request.query_params
            page = Playground(
                self._playing, self._heard, asked.get("channel", ""), asked.get("as", "")
            )
            with content("chat"):
                await page.build()

        for place, fill in DASHBOARD.items():
            self._add_dashboard_page(place, fill)

    def _add_dashboard_page(self, place: Place, fill: Fill) -> None:
        @ui.page(place.path)
        async def page(request: Request) -> None:
            head(place, request, leave=self._logins.needed)
            with content():
                await fill(self._desk)


async def _style(file: Path) -> FileResponse:
    return FileResponse(file, media_type="text/css")
