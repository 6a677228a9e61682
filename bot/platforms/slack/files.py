"""Text files that people attach, read with the bot's token, from Slack and from nobody else.

An event names each file and where it is; the beginning of a text file is fetched, within a
budget of characters and a time in which the event can still be acknowledged. What cannot be
had is only named.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import aiohttp
from slack_sdk.web.async_client import AsyncWebClient
from yarl import URL

from bot.platforms import attachments
from bot.platforms.slack.incoming import Event

log = logging.getLogger(__name__)

SECONDS = 2.0
"""For all files of a message: Slack wants its acknowledgement within three."""
HOME = "slack.com"


class Files:
    """Reads the files of one workspace."""

    def __init__(self, client: AsyncWebClient, budget: int) -> None:
        """`budget` is how much of the files of a message is read, in characters."""
        self._client = client
        self._budget = budget

    async def shown(self, event: Event) -> list[str]:
        """The files of a message as they stand in it."""
        budget, until = self._budget, asyncio.get_running_loop().time() + SECONDS
        parts = []
        for file in event.get("files", ()):
            content = await self._content(file, budget, until)
            budget -= len(content)
            parts.append(attachments.shown(_name(file), content))
        return parts

    async def _content(self, file: dict[str, Any], budget: int, until: float) -> str:
        kind, address = file.get("mimetype") or "", file.get("url_private") or ""
        if not attachments.is_readable(_name(file), kind, file.get("size") or 0, budget):
            return ""
        url = self._safe(address)
        if url is None:
            log.warning("a file is not read: it does not lie on Slack")
            return ""
        try:
            async with asyncio.timeout_at(until):
                data = await self._fetched(url, kind, 4 * budget + 4)
        except (aiohttp.ClientError, OSError) as error:
            log.warning("a file could not be read: %s", type(error).__name__)
            return ""
        return attachments.excerpt(data, budget)

    def _safe(self, address: str) -> URL | None:
        """The address of a file, if the token may be sent there."""
        try:
            url = URL(address)
            origin = url.origin()
        except ValueError:
            return None
        host = url.host or ""
        at_slack = url.scheme == "https" and url.port == 443 and (
            host == HOME or host.endswith(f".{HOME}")
        )
        known = at_slack or origin == URL(self._client.base_url).origin()
        return url if known and url.user is None and url.password is None else None

    async def _fetched(self, url: URL, kind: str, most: int) -> bytes:
        """The first bytes of a file; none where Slack shows its login instead."""
        session, data = self._client.session, bytearray()
        assert session is not None, "the client of the platform has a session of its own"
        headers = {"Authorization": f"Bearer {self._client.token}"}
        # Where a redirect leads, the token must not go.
        async with session.get(url, headers=headers, allow_redirects=False) as response:
            page = response.content_type == "text/html" and kind != "text/html"
            if response.status != 200 or page:
                log.warning("a file could not be read: status %d", response.status)
                return b""
            async for part in response.content.iter_chunked(4096):
                data += part
                if len(data) >= most:
                    break
        return bytes(data[:most])


def _name(file: dict[str, Any]) -> str:
    return str(file.get("name") or "")
