"""The front door of the REST API: who is calling, which route, how often, and what fails.

It knows routes only as patterns with handlers. Every request is recorded, whatever became
of it, and failures that a test ordered happen here.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from aiohttp import BodyPartReader, web

from tests.fakes.discord_rules import Refusal, refusal
from tests.fakes.discord_world import Json
from tests.fakes.gates import Gate

PREFIX = "/api/v10"
OPEN = re.compile(r"/(interactions|webhooks)/\d+/[^/]+(/.*)?")
"""Routes whose token stands in the path."""


@dataclass(frozen=True)
class Upload:
    """One file of a multipart request."""

    field: str
    filename: str
    content: bytes
    content_type: str


@dataclass(frozen=True)
class Request:
    """One REST request, as it came and as it was answered."""

    method: str
    path: str
    """Without the base, such as ``/users/@me``."""
    query: dict[str, str]
    body: Any
    """The JSON body, or ``payload_json`` of a multipart one; None without."""
    status: int
    """0 when the connection was cut instead of an answer."""
    time: float
    """When it came, by the monotonic clock."""


@dataclass(frozen=True)
class Call:
    """A request on its way to its handler."""

    method: str
    path: str
    params: dict[str, str]
    query: dict[str, str]
    body: Any
    files: list[Upload]

    def number(self, name: str) -> int:
        """An id from the path."""
        return int(self.params[name])

    @property
    def form(self) -> Json:
        """The body, which has to be an object."""
        if not isinstance(self.body, dict):
            raise refusal(50109)
        return self.body


Handler = Callable[[Call], Awaitable[object]]
"""Answers with the JSON of a 200, or None for 204; raises `Refusal`."""


@dataclass
class Failure:
    """What is to go wrong with the next fitting requests."""

    method: str
    path: re.Pattern[str]
    status: int
    times: int
    retry_after: float
    scope: str
    everywhere: bool
    code: int
    message: str
    taken: bool
    """Whether the request takes effect all the same."""

    def answer(self) -> tuple[int, Json, dict[str, str]]:
        """Status, body and headers."""
        if self.status == 429:
            return limited(self.retry_after, self.scope, everywhere=self.everywhere)
        return self.status, {"message": self.message, "code": self.code}, {}


def limited(
    retry_after: float, scope: str, *, everywhere: bool = False
) -> tuple[int, Json, dict[str, str]]:
    """A 429 with the headers of the real one."""
    body = {
        "message": "You are being rate limited.", "retry_after": retry_after, "global": everywhere,
    }
    headers = {"Retry-After": str(math.ceil(retry_after)), "X-RateLimit-Scope": scope}
    if everywhere:
        headers["X-RateLimit-Global"] = "true"
    return 429, body, headers


@dataclass
class Bucket:
    """Requests of one route on one channel, counted in windows of fixed length."""

    ends: float = 0.0
    used: int = 0

    def take(self, limit: tuple[int, float]) -> tuple[bool, dict[str, str]]:
        """Whether one more may pass, and the headers that say what is left."""
        most, seconds = limit
        moment = time.time()
        if moment >= self.ends:
            self.ends, self.used = moment + seconds, 0
        passed = self.used < most
        self.used += passed
        return passed, {
            "X-RateLimit-Limit": str(most), "X-RateLimit-Remaining": str(most - self.used),
            "X-RateLimit-Reset": f"{self.ends:.3f}",
            "X-RateLimit-Reset-After": f"{self.ends - moment:.3f}",
            "X-RateLimit-Bucket": "edit-message",
        }


@dataclass
class Front:
    """The REST API of one server."""

    token: str
    changed: Callable[[], None]
    routes: list[tuple[str, re.Pattern[str], Handler]] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    unknown: list[Request] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    gates: list[Gate] = field(default_factory=list)
    edit_limit: tuple[int, float] | None = None
    rate_limited: int = 0
    buckets: dict[str, Bucket] = field(default_factory=dict)

    def add(self, method: str, template: str, handler: Handler) -> None:
        """Serve a route; ``{x_id}`` in the template is a number, other names any segment."""
        pattern = re.sub(r"\{(\w+_id)\}", r"(?P<\1>\\d+)", template)
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern)
        self.routes.append((method, re.compile(pattern), handler))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request and put it on record."""
        await self.held(request)
        began = time.monotonic()
        path = request.rel_url.raw_path.removeprefix(PREFIX)
        method, query = request.method, dict(request.query)
        body: Any = None
        known = True
        try:
            body, files = await _read(request)
            fitting = [(way, found, handler) for way, pattern, handler in self.routes
                       if (found := pattern.fullmatch(path))]
            chosen = [(found, handler) for way, found, handler in fitting if way == method]
            known = bool(chosen)
            if not OPEN.fullmatch(path):
                self._authorize(request)
            if not chosen:
                status = 405 if fitting else 404
                name = "Method Not Allowed" if fitting else "Not Found"
                raise Refusal(status, 0, f"{status}: {name}")
            found, handler = chosen[0]
            params = {name: unquote(value) for name, value in found.groupdict().items()}
            call = Call(method, path, params, query, body, files)
            status, answer, headers = await self._answer(call, handler)
        except Refusal as refused:
            status, answer, headers = refused.status, refused.body, {}
        record = Request(method, unquote(path), query, body, status, began)
        self.requests.append(record)
        if not known:
            self.unknown.append(record)
        self.rate_limited += status == 429
        self.changed()
        return self._response(request, status, answer, headers)

    async def held(self, request: web.Request) -> None:
        """Return when a request may be answered."""
        for gate in self.gates:
            await gate.passed(f"{request.method} {request.path}")

    def _authorize(self, request: web.Request) -> None:
        if request.headers.get("Authorization") != f"Bot {self.token}":
            raise Refusal(401, 0, "401: Unauthorized")
        if not request.headers.get("User-Agent", "").startswith("DiscordBot ("):
            raise Refusal(400, 40333, "The user agent has to begin with DiscordBot (")

    async def _answer(self, call: Call, handler: Handler) -> tuple[int, object, dict[str, str]]:
        failure = self._failure(call)
        if failure is not None and not failure.taken:
            return failure.answer()
        headers: dict[str, str] = {}
        limit = self.edit_limit
        if limit and call.method == "PATCH" and re.fullmatch(r"/channels/\d+/messages/\d+",
                                                              call.path):
            bucket = self.buckets.setdefault(call.params["channel_id"], Bucket())
            passed, headers = bucket.take(limit)
            if not passed:
                status, body, more = limited(bucket.ends - time.time(), "user")
                return status, body, headers | more
        try:
            answer = await handler(call)
        except Refusal as refused:
            return refused.status, refused.body, headers
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # A body of another shape than anybody sends; a 500 would be tried again for long.
            what = f"Invalid Form Body: {type(error).__name__} {error}"
            return 400, {"message": what, "code": 50035}, headers
        if failure is not None:
            return failure.answer()
        return 204 if answer is None else 200, answer, headers

    def _failure(self, call: Call) -> Failure | None:
        path = unquote(call.path)
        for failure in self.failures:
            if failure.method == call.method and failure.path.search(path):
                failure.times -= 1
                if failure.times <= 0:
                    self.failures.remove(failure)
                return failure
        return None

    def _response(
        self, request: web.Request, status: int, answer: object, headers: dict[str, str]
    ) -> web.StreamResponse:
        if not status:
            assert request.transport is not None
            request.transport.abort()
            return web.Response(status=500)
        # Discord stands behind a proxy, and discord.py takes a 429 without it for a ban.
        headers = {"Via": "1.1 google", **headers}
        if status == 204:
            return web.Response(status=204, headers=headers)
        headers["Content-Type"] = "application/json"
        return web.Response(status=status, headers=headers, body=json.dumps(answer).encode())


async def _read(request: web.Request) -> tuple[Any, list[Upload]]:
    """The body, and the files that came with it."""
    files: list[Upload] = []
    if not request.content_type.startswith("multipart/"):
        data = await request.read()
        return _parsed(data) if data else None, files
    body: Any = None
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader):
            raise refusal(50109)
        content = bytes(await part.read(decode=True))
        name = part.name or ""
        if name == "payload_json":
            body = _parsed(content)
        elif part.filename is not None:
            kind = part.headers.get("Content-Type", "application/octet-stream")
            files.append(Upload(name, part.filename, content, kind))
    return body, files


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        raise refusal(50109) from None
