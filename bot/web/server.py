"""A web server on the event loop that runs already, until its task is cancelled.

uvicorn would take over the signals of the process and raise them again when it ends; here they
stay with whoever started everything, so that Ctrl-C closes all rooms in order. Knows no page.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from bot.ended import ended
from bot.errors import ConfigError, RapportError

log = logging.getLogger(__name__)

FAREWELL_SECONDS = 1
"""For how long open connections may go on once the server is to stop."""
EVERYWHERE = ("0.0.0.0", "::")
"""Every address of the machine."""
LARGEST_FRAME = 1 << 20
"""Bytes of a websocket message."""


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, listens: asyncio.Event) -> None:
        super().__init__(config)
        self._listens = listens

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        if not self.should_exit:
            self._listens.set()


def bound(host: str, port: int) -> socket.socket:
    """A socket with an address, so that one that is taken is told before anything is opened.

    Raises:
        ConfigError: the address cannot be used.
    """
    found = None
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        found = socket.socket(family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
    except OSError as error:
        if found is not None:
            found.close()
        raise ConfigError(
            f"the pages cannot be served on {host}, port {port}: {error.strerror or error}; "
            "choose another with --port (0 takes one that is free) or web.port"
        ) from error
    return found


def address(listening: socket.socket) -> str:
    """What to type into a browser."""
    host, port = listening.getsockname()[:2]
    if host in EVERYWHERE:
        host = socket.gethostname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve(app: ASGIApp, listening: socket.socket, started: asyncio.Event) -> None:
    """Answer requests until cancelled; `started` is set once the first can be answered.

    Raises:
        RapportError: it could not start.
    """
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="on", ws_max_size=LARGEST_FRAME,
        timeout_graceful_shutdown=FAREWELL_SECONDS, server_header=False,
    )
    server = _Server(config, started)
    task = asyncio.create_task(server.serve(sockets=[listening]), name="pages")
    try:
        await asyncio.shield(task)
        raise RapportError("the web server could not start, or ended by itself; the log says why")
    finally:
        server.should_exit = True
        await ended(task)
