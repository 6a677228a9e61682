"""Requests that a server keeps waiting for as long as a test wants."""

from __future__ import annotations

import asyncio
import re


class Gate:
    """Keeps the requests waiting that fit, until it is opened."""

    def __init__(self, requests: str) -> None:
        """`requests` is a regular expression, to be found in what a request asks for."""
        self._requests = re.compile(requests)
        self._opened = asyncio.Event()
        self.reached = asyncio.Event()
        """Set when the first one waits."""

    def open(self) -> None:
        """Let all of them pass, now and later."""
        self._opened.set()

    async def passed(self, request: str) -> None:
        """Return when a request may be answered."""
        if self._requests.search(request):
            self.reached.set()
            await self._opened.wait()
