"""Slack as the sender of HTTP requests: signed, verified once, and repeated until taken.

Used for apps that have a request URL and not Socket Mode. What is sent comes from
elsewhere.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from urllib.parse import urlencode

import aiohttp

from tests.fakes.slack_world import JSON

TIMEOUT = 3.0


@dataclass(frozen=True, slots=True)
class Posted:
    """How the app took a request."""

    status: int
    """0 where there was no answer at all."""
    body: str
    attempts: int
    declined: bool = False
    """Whether the app asked not to be sent this again."""

    @property
    def ok(self) -> bool:
        """Whether it was taken."""
        return 200 <= self.status < 300

    @property
    def payload(self) -> JSON | None:
        """The body as an acknowledgement's payload; bare text is a message's text."""
        if not self.body:
            return None
        try:
            found = json.loads(self.body)
        except ValueError:
            found = None
        return found if isinstance(found, dict) else {"text": self.body}


class Poster:
    """Sends to request URLs. `delays` are the seconds before each repetition."""

    def __init__(self, secret: str, delays: tuple[float, ...] = (0.0, 60.0, 300.0)) -> None:
        self._secret = secret
        self.delays = delays

    async def verify(self, url: str) -> bool:
        """Whether the app hands the challenge back, as a new request URL has to."""
        challenge = "3eZbrw1aB10FEMAGAZd4FyFQ"
        body = {"token": "verification-token", "challenge": challenge, "type": "url_verification"}
        posted = await self._once(url, json.dumps(body), "application/json", {})
        return posted.status == 200 and challenge in posted.body

    async def event(self, url: str, payload: JSON, *, secret: str | None = None) -> Posted:
        """Post an event, and again while it is not taken and the app does not decline."""
        body, headers = json.dumps(payload), dict[str, str]()
        posted = await self._once(url, body, "application/json", headers, secret)
        for number, delay in enumerate(self.delays, start=1):
            if posted.ok or posted.declined:
                break
            await asyncio.sleep(delay)
            reason = "http_error" if posted.status else "http_timeout"
            headers = {"X-Slack-Retry-Num": str(number), "X-Slack-Retry-Reason": reason}
            posted = await self._once(url, body, "application/json", headers, secret, number + 1)
        return posted

    async def form(self, url: str, fields: dict[str, str]) -> Posted:
        """Post a slash command or an interaction, once."""
        return await self._once(url, urlencode(fields), "application/x-www-form-urlencoded", {})

    def signed(self, body: str, secret: str | None = None) -> dict[str, str]:
        """The headers by which the app knows that `body` came from Slack, just now."""
        at = str(int(time.time()))
        base = f"v0:{at}:{body}".encode()
        digest = hmac.new((secret or self._secret).encode(), base, hashlib.sha256).hexdigest()
        return {"X-Slack-Request-Timestamp": at, "X-Slack-Signature": f"v0={digest}"}

    async def _once(
        self, url: str, body: str, kind: str, headers: dict[str, str],
        secret: str | None = None, attempt: int = 1,
    ) -> Posted:
        headers = {**headers, **self.signed(body, secret), "Content-Type": kind}
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(url, data=body.encode(), headers=headers) as response,
            ):
                declined = response.headers.get("X-Slack-No-Retry") == "1"
                return Posted(response.status, await response.text(), attempt, declined)
        except (TimeoutError, aiohttp.ClientError):
            return Posted(0, "", attempt)
