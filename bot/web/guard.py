"""What stands before every page: who may ask, from where, and what browsers are told to allow.

A request is answered only if it names this server (so that no foreign name can be pointed at a
bot on somebody's own machine), if what changes something comes from its own pages, and, where a
token is set, if it carries the cookie that the token was exchanged for. What goes out forbids
framing, foreign images and foreign connections. Knows no page, and of the token only whether it
was the right one.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from itsdangerous import BadSignature, TimestampSigner
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "rapport"
OPEN = frozenset({
    ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/login"), ("POST", "/login"),
    ("GET", "/web/login.css"),
})  # fmt: skip
"""What is answered without the token: nothing of it tells about people. Other methods would reach
the pages."""
SCRAPED = "/metrics"
"""What is answered to ``Authorization: Bearer TOKEN`` as well."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
LARGEST_BODY = 64 * 1024
"""Bytes of a request; no page sends files."""
ADDRESSES = 10_000
"""Addresses whose wrong tokens are remembered."""

POLICY = "; ".join((
    "default-src 'self'",
    # The pages are put together in the browser, from scripts and templates within the page.
    "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data:",
    "font-src 'self' data:",
    "connect-src 'self'",
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
))  # fmt: skip
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not "no-referrer": browsers would name no origin with a form that is sent.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Logins:
    """Exchanges the token for a cookie, not too often for one address.

    Args:
        token: what people have to know; empty where everybody may come in.
        clock: seconds, as `time.monotonic`.
    """

    def __init__(
        self, token: str, hours: int, per_minute: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._token = token.encode()
        # From the token itself: a new token ends every login, a restart ends none.
        self._signer = TimestampSigner(hashlib.sha256(b"rapport login" + self._token).digest())
        self._seconds = hours * 3600
        self._per_minute = per_minute
        self._clock = clock
        self._wrong: dict[str, deque[float]] = {}

    @property
    def needed(self) -> bool:
        """Whether there is a token."""
        return bool(self._token)

    @property
    def seconds(self) -> int:
        """For how long a cookie is good."""
        return self._seconds

    def tried(self, token: str, address: str) -> Literal["right", "wrong", "wait"]:
        """Whether this is the token; "wait" after too many wrong ones from an address.

        Comparing takes equally long whatever the token is.
        """
        tries = self._wrong.get(address)
        while tries and self._clock() - tries[0] > 60:
            tries.popleft()
        if tries is not None and len(tries) >= self._per_minute:
            return "wait"
        if hmac.compare_digest(token.encode(), self._token):
            return "right"
        if address not in self._wrong and len(self._wrong) >= ADDRESSES:
            self._wrong.pop(next(iter(self._wrong)))
        self._wrong.setdefault(address, deque(maxlen=self._per_minute)).append(self._clock())
        return "wrong"

    def cookie(self) -> str:
        """What a browser shows from now on."""
        return self._signer.sign(b"operator").decode()

    def holds(self, cookie: str) -> bool:
        """Whether a cookie was given out for this token, and not too long ago."""
        try:
            self._signer.unsign(cookie, max_age=self._seconds)
        except BadSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Guard:
    """The server with its guard before it: an ASGI application around another.

    Args:
        names: host names by which this server may be asked for.
    """

    app: ASGIApp
    logins: Logins
    names: frozenset[str] = field(default=LOOPBACK)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self.app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await refusal(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> Response | None:
        headers, path = Headers(scope=scope), str(scope["path"])
        host = headers.get("host", "")
        if _name(host) not in self.names:
            return PlainTextResponse(
                "This server is not known by that name; add it to web.names in config.toml.", 421
            )
        if not self._own(scope, headers, host):
            return PlainTextResponse("That has to come from a page of this server.", 403)
        if int(headers.get("content-length", "0") or 0) > LARGEST_BODY:
            return PlainTextResponse("That is too large.", 413)
        if (scope.get("method"), path) in OPEN or self._known(scope, headers, path):
            return None
        if scope["type"] == "http" and scope["method"] == "GET" and path != SCRAPED:
            return RedirectResponse("/login", 303)
        return PlainTextResponse("Log in first, at /login.", 401)

    def _own(self, scope: Scope, headers: Headers, host: str) -> bool:
        """Whether a request comes from a page of this server, or is no page's at all.

        Browsers always name the origin of a websocket, and of what another site's page reads
        or sends.
        """
        origin = headers.get("origin")
        if origin is not None:
            return _place(origin) == host
        elsewhere = headers.get("sec-fetch-site") == "cross-site"
        visited = headers.get("sec-fetch-mode") == "navigate"  # by a link: that shows a page
        return bool(scope["type"] == "http") and (visited or not elsewhere)

    def _known(self, scope: Scope, headers: Headers, path: str) -> bool:
        if not self.logins.needed:
            return True
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if path == SCRAPED and scheme == "Bearer":
            return self.logins.tried(token, (scope.get("client") or ("",))[0]) == "right"
        # Programs on other ports of this host may have cookies of any form.
        found = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
        return self.logins.holds(found)


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(HEADERS)
        await send(message)

    return sent


def _place(origin: str) -> str:
    """Host and port of an Origin header; empty where it names none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _name(host: str) -> str:
    """The name in a Host header, without the port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
