"""The one page that is there without the token: where the token is asked for.

A plain form, because nothing else is to be served to strangers. Knows the token only through
`Logins`.
"""

from __future__ import annotations

from html import escape
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from bot.web.frame import ASSETS
from bot.web.guard import COOKIE, LARGEST_BODY, Logins

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Rapport: log in</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><link rel="stylesheet" href="/web/login.css"></head>
<body><main><h1>Rapport</h1><p>These pages belong to the bot's operators. The token stands in
RAPPORT_WEB_TOKEN, where the bot runs.</p>
<form method="post" action="/login"><label for="token">Token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<p class="bad" role="alert">{problem}</p><button type="submit">Log in</button></form>
</main></body></html>
"""


def login_routes(logins: Logins) -> APIRouter:
    """GET and POST of ``/login``, and its looks."""
    router = APIRouter()

    @router.get("/login")
    async def ask() -> Response:
        return _page("") if logins.needed else RedirectResponse("/", 303)

    @router.post("/login")
    async def enter(request: Request) -> Response:
        # Read first: between asking and noting there is no waiting in which others could ask.
        token = await _token(request)
        found = logins.tried(token, request.client.host if request.client else "")
        if found == "wait":
            return _page("Too many wrong tokens; wait for a minute.", 429)
        if found == "wrong":
            return _page("That is not the token.", 403)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            COOKIE, logins.cookie(), max_age=logins.seconds, httponly=True, samesite="lax",
            secure=request.url.scheme == "https",
        )
        return answer

    @router.get("/logout")
    async def leave() -> Response:
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(COOKIE)
        return answer

    @router.get("/web/login.css")
    async def looks() -> Response:
        return FileResponse(ASSETS / "login.css", media_type="text/css")

    return router


async def _token(request: Request) -> str:
    """What was typed; nothing where more comes than a form can hold."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST_BODY:
            return ""
    return parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0]


def _page(problem: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(PAGE.format(problem=escape(problem)), status)
