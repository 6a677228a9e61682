"""The WebSocket that Slack tells its events over, with an end after which nothing is taken.

Slack's client handles every envelope in a task that it lets go of, also when it is closed.
Here they are held: at the end those that are under way come to theirs and are acknowledged,
and what arrives meanwhile is left alone, so that Slack sends it again after the next start.
What an envelope says is the app's to know.
"""

from __future__ import annotations

import asyncio
from time import time
from typing import Any

from slack_bolt.adapter.socket_mode.async_internals import (
    run_async_bolt_app,
    send_async_response,
)
from slack_bolt.app.async_app import AsyncApp
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest

LOOK_AGAIN = 10.0
"""Seconds between two looks at the WebSocket, and between two attempts to open it."""
SILENCE = 4
"""Looks that find nothing said, after which Slack's client takes a connection for lost."""
GRACE = 3.0
"""Seconds that what is under way has at the end; as long as Slack waits to hear of it."""


class Socket(SocketModeClient):
    """One app's connection to Slack, made anew whenever it is lost."""

    def __init__(self, app: AsyncApp, token: str, address: str) -> None:
        """`address` is where the WebSocket is the first time; it is good for one use."""
        super().__init__(token, app.logger, app.client, ping_interval=LOOK_AGAIN)
        self.wss_uri = address
        self._app = app
        self._ending = False
        self._taking: dict[asyncio.Task[Any], bool] = {}
        self.socket_mode_request_listeners.append(self._take)
        self._renewal = asyncio.create_task(self._renew_address())

    async def run_message_listeners(self, message: dict[str, Any], raw_message: str) -> None:
        """What the client does about one frame, in a task of its own."""
        task = asyncio.current_task()
        if self._ending or task is None:
            return
        self._taking[task] = "envelope_id" in message
        try:
            await super().run_message_listeners(message, raw_message)
        finally:
            del self._taking[task]

    def is_open(self) -> bool:
        """Whether Slack can be heard; what `is_connected` says, without waiting."""
        session, heard = self.current_session, self.last_ping_pong_time
        lost = self.closed or self.stale or session is None or session.closed
        return not lost and (heard is None or time() - heard < SILENCE * self.ping_interval)

    async def close(self) -> None:
        """Let what was told come to its end, and disconnect."""
        self._ending = True
        told = [task for task, is_envelope in self._taking.items() if is_envelope]
        if told:
            await asyncio.wait(told, timeout=GRACE)
        left = [self._renewal, *self._taking]
        for task in left:
            task.cancel()
        await asyncio.wait(left)
        await super().close()  # type: ignore[no-untyped-call]

    async def _take(self, client: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        start = time()
        response = await run_async_bolt_app(self._app, request)
        await send_async_response(client, request, response, start)

    async def _renew_address(self) -> None:
        """Let a client that cannot connect ask for another address; each is good for one use.

        By itself it would try the same one for ever.
        """
        while True:
            await asyncio.sleep(2 * LOOK_AGAIN)
            if not await self.is_connected():
                self.wss_uri = None
