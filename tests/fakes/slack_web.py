"""The HTTP face of the workspace: the Web API, response URLs and uploads.

Reads arguments and tokens as slack_sdk sends them, checks who is asking, gives the refusals
that were ordered, and records every call. What a method does is in the modules that are
merged here; what an app is told of it is carried by `flush`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from tests.fakes import slack_chat, slack_reading, slack_surfaces
from tests.fakes.gates import Gate
from tests.fakes.slack_calls import Call, Refused, decode, invalid
from tests.fakes.slack_interactions import Interactions
from tests.fakes.slack_world import JSON, World

METHODS = {**slack_chat.methods, **slack_reading.methods, **slack_surfaces.methods}


@dataclass(frozen=True, slots=True)
class Request:
    """One call of the Web API, without the token."""

    method: str
    arguments: JSON
    time: float
    """By the monotonic clock."""
    status: int
    answer: JSON

    @property
    def ok(self) -> bool:
        """Whether it was granted."""
        return bool(self.answer["ok"])


@dataclass(slots=True)
class Failure:
    """A refusal that was ordered, and how often it is still to be given."""

    method: str
    refusal: Refused
    times: int


class WebApi:
    """Everything that an app may ask over HTTP."""

    def __init__(
        self, world: World, interactions: Interactions, bot_token: str, app_token: str,
        flush: Callable[[], Awaitable[None]],
    ) -> None:
        self._world, self._interactions, self._flush = world, interactions, flush
        self._bot_token, self._app_token = bot_token, app_token
        self.failures: list[Failure] = []
        self.losses: list[str] = []
        """Methods whose next answer gets lost, after they have been done."""
        self.gates: list[Gate] = []
        self.requests: list[Request] = []
        self.unknown_requests: list[str] = []
        self.downloads: list[str] = []

    def add_routes(self, app: web.Application) -> None:
        """Serve all of it; the route that catches the rest comes last."""
        app.router.add_route("*", "/api/{method}", self._api)
        app.router.add_post("/response/{team}/{number}", self._response)
        app.router.add_post("/upload/v1/{file}", self._upload)
        app.router.add_get("/files-pri/{team}-{file}/{name}", self._download)
        app.router.add_get("/login", self._login)
        app.router.add_route("*", "/{path:.*}", self._unknown)

    async def _api(self, request: web.Request) -> web.Response:
        method, refused = request.match_info["method"], None
        arguments: JSON = {}
        answer: JSON = {}
        for gate in self.gates:
            await gate.passed(method)
        try:
            arguments, token = await read(request)
            answer = {"ok": True, **self._answer(method, arguments, token)}
        except Refused as refusal:
            refused = refusal
        except (AttributeError, KeyError, TypeError) as fault:
            refused = invalid(f"an argument has the wrong shape: {fault!r}")
        status = refused.status if refused else 200
        answer = refused.answer if refused else answer
        self.requests.append(Request(method, arguments, time.monotonic(), status, answer))
        await self._flush()
        if method in self.losses and request.transport is not None:
            self.losses.remove(method)
            request.transport.close()
        headers = {"X-OAuth-Scopes": ",".join(sorted(self._world.scopes))}
        headers |= refused.headers if refused else {}
        return web.json_response(answer, status=status, headers=headers)

    def _answer(self, name: str, arguments: JSON, token: str) -> JSON:
        method = METHODS.get(name)
        if method is None:
            self.unknown_requests.append(name)
            raise Refused("unknown_method", req_method=name)
        if not token:
            raise Refused("not_authed")
        if token not in (self._bot_token, self._app_token):
            raise Refused("invalid_auth")
        if (token == self._app_token) != method.app_token:
            raise Refused("not_allowed_token_type")
        for failure in self.failures:
            if failure.method in (name, "*"):
                failure.times -= 1
                if failure.times <= 0:
                    self.failures.remove(failure)
                raise failure.refusal
        return method(Call(self._world, name, decode(arguments)))

    async def _response(self, request: web.Request) -> web.Response:
        try:
            body = json.loads(await request.text())
        except ValueError:
            return web.Response(status=400, text="invalid_payload")
        status, text = self._interactions.respond(request.match_info["number"], body)
        await self._flush()
        return web.Response(status=status, text=text)

    async def _upload(self, request: web.Request) -> web.Response:
        file = self._world.files.get(request.match_info["file"])
        content = await request.read()
        if file is None or file.content is not None or len(content) != file.length:
            return web.Response(status=400, text="invalid upload")
        file.content = content
        self._world.news.tell()
        return web.Response(text=f"OK - {len(content)}")

    async def _download(self, request: web.Request) -> web.Response:
        """The content of a file; who may not see it is sent to the login page."""
        self.downloads.append(request.match_info["file"])
        file = self._world.files.get(request.match_info["file"])
        allowed = request.headers.get("Authorization") == f"Bearer {self._bot_token}"
        if not allowed or "files:read" not in self._world.scopes:
            return web.Response(status=302, headers={"Location": "/login"})
        if file is None or file.content is None:
            return web.Response(status=404, text="not found")
        return web.Response(body=file.content, content_type="application/octet-stream")

    async def _login(self, request: web.Request) -> web.Response:
        return web.Response(text="<html>Sign in</html>", content_type="text/html")

    async def _unknown(self, request: web.Request) -> web.Response:
        self.unknown_requests.append(f"{request.method} {request.path}")
        return web.Response(status=404, text="not found")


async def read(request: web.Request) -> tuple[JSON, str]:
    """The arguments of a call, from its query and its body, and its token.

    A token belongs in the header or in a form: Slack takes none from a query or from JSON.
    """
    arguments: JSON = dict(request.query)
    arguments.pop("token", None)
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token if scheme == "Bearer" else ""
    if request.content_type == "application/json":
        try:
            body = json.loads(await request.text())
        except ValueError:
            raise Refused("invalid_json") from None
        if not isinstance(body, dict):
            raise Refused("json_not_object")
        body.pop("token", None)
    else:
        body = dict(await request.post())
        token = token or str(body.pop("token", ""))
        body.pop("token", None)
    return {**arguments, **body}, token
