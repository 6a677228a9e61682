"""Who gets in, from where, and what browsers are told to allow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import ClientSession, WSServerHandshakeError
from fastapi import FastAPI, Request, WebSocket
from httpx import ASGITransport, AsyncClient

from bot.config import WebConfig
from bot.errors import ConfigError
from bot.web.guard import COOKIE, LOOPBACK, Guard, Logins
from bot.web.login import login_routes
from bot.web.platform import check_access
from bot.web.server import address, bound, serve

TOKEN = "correct horse battery staple"


class Clock:
    """Seconds, as a test wants them."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def site(logins: Logins, names: frozenset[str] = LOOPBACK) -> Guard:
    """A small site behind the guard."""
    app = FastAPI()
    app.include_router(login_routes(logins))

    @app.get("/")
    async def page() -> str:
        return "the page"

    @app.post("/act")
    async def act(request: Request) -> int:
        return len(await request.body())

    @app.get("/healthz")
    async def healthz() -> str:
        return "ok"

    @app.get("/metrics")
    async def metrics() -> str:
        return "numbers"

    @app.websocket("/live")
    async def live(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("hello")
        await socket.close()

    return Guard(app, logins, names)


def client(guard: Guard, base: str = "http://localhost") -> AsyncClient:
    return AsyncClient(transport=ASGITransport(guard), base_url=base)


def logins(token: str = TOKEN, clock: Clock | None = None) -> Logins:
    return Logins(token, hours=1, per_minute=3, clock=clock or Clock())


async def test_without_a_token_pages_are_open_and_with_one_they_ask_for_it() -> None:
    async with client(site(logins(""))) as visitor:
        assert (await visitor.get("/")).text == '"the page"'
        assert (await visitor.get("/login")).headers["location"] == "/"
    async with client(site(logins())) as visitor:
        sent = await visitor.get("/")
        assert (sent.status_code, sent.headers["location"]) == (303, "/login")
        assert (await visitor.post("/act")).status_code == 401
        assert "Token" in (await visitor.get("/login")).text
        assert (await visitor.get("/healthz")).status_code == 200


async def test_the_token_is_exchanged_for_a_cookie_that_no_script_or_other_site_gets() -> None:
    guard = site(logins())
    async with client(guard) as visitor:
        wrong = await visitor.post("/login", data={"token": "guess"})
        assert (wrong.status_code, "That is not the token" in wrong.text) == (403, True)
        right = await visitor.post("/login", data={"token": TOKEN})
        cookie = right.headers["set-cookie"].lower()
        assert all(word in cookie for word in ("httponly", "samesite=lax", "max-age=3600"))
        assert TOKEN not in cookie
        assert (await visitor.get("/")).text == '"the page"'
        await visitor.get("/logout")
        assert (await visitor.get("/")).status_code == 303


async def test_a_cookie_of_another_token_or_made_up_opens_nothing() -> None:
    for cookie in (logins("another").cookie(), "operator", "operator.a.b", ""):
        async with client(site(logins())) as visitor:
            visitor.cookies.set(COOKIE, cookie)
            assert (await visitor.get("/")).status_code == 303
    async with client(site(logins())) as visitor:
        visitor.cookies.set(COOKIE, logins().cookie())  # as after a restart
        assert (await visitor.get("/")).status_code == 200


async def test_whoever_guesses_has_to_wait_even_with_the_right_token() -> None:
    clock = Clock()
    async with client(site(logins(clock=clock))) as visitor:
        tries = [await visitor.post("/login", data={"token": "guess"}) for _ in range(4)]
        assert [one.status_code for one in tries] == [403, 403, 403, 429]
        assert (await visitor.post("/login", data={"token": TOKEN})).status_code == 429
        clock.now += 61
        assert (await visitor.post("/login", data={"token": TOKEN})).status_code == 303


async def test_scrapers_show_the_token_itself_and_only_where_numbers_are() -> None:
    async with client(site(logins())) as scraper:
        right, wrong = ({"Authorization": f"Bearer {token}"} for token in (TOKEN, "guess"))
        assert (await scraper.get("/metrics", headers=right)).text == '"numbers"'
        assert (await scraper.get("/metrics", headers=wrong)).status_code == 401
        assert (await scraper.get("/metrics")).status_code == 401
        assert (await scraper.get("/", headers=right)).status_code == 303


async def test_guessing_where_numbers_are_is_limited_as_well() -> None:
    async with client(site(logins())) as scraper:
        for token, status in (("a", 401), ("b", 401), ("c", 401), (TOKEN, 401)):
            sent = await scraper.get("/metrics", headers={"Authorization": f"Bearer {token}"})
            assert sent.status_code == status
        assert (await scraper.post("/login", data={"token": TOKEN})).status_code == 429


async def test_what_is_open_is_open_in_one_way_only() -> None:
    async with client(site(logins())) as visitor:
        for method, path in (("PUT", "/login"), ("POST", "/healthz"), ("OPTIONS", "/login")):
            assert (await visitor.request(method, path)).status_code == 401


async def test_cookies_of_other_programs_on_the_host_are_in_nobodys_way() -> None:
    async with client(site(logins())) as visitor:
        theirs = f'theme={{"dark":true}}; {COOKIE}={logins().cookie()}'
        assert (await visitor.get("/", headers={"Cookie": theirs})).status_code == 200


async def test_a_foreign_name_or_a_foreign_page_gets_nothing() -> None:
    async with client(site(logins("")), "http://evil.example") as rebound:
        assert (await rebound.get("/")).status_code == 421
    names = LOOPBACK | {"rapport.example.org"}
    async with client(site(logins(""), names), "http://rapport.example.org:8080") as known:
        assert (await known.get("/")).status_code == 200
    async with client(site(logins(""))) as visitor:
        image = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
        link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
        assert (await visitor.get("/", headers=image)).status_code == 403
        assert (await visitor.get("/", headers=link)).status_code == 200
        for origin in ("http://evil.example", "http://localhost:9", "null", "http://["):
            foreign = {"Origin": origin}
            assert (await visitor.get("/", headers=foreign)).status_code == 403
            assert (await visitor.post("/act", headers=foreign)).status_code == 403
        own = {"Origin": "http://localhost"}
        assert (await visitor.post("/act", headers=own, content=b"abc")).text == "3"
        assert (await visitor.post("/act", content=b"x" * 70_000)).status_code == 413


async def test_every_answer_forbids_frames_and_foreign_images() -> None:
    async with client(site(logins())) as visitor:
        for path in ("/", "/login", "/healthz", "/nowhere"):
            found = (await visitor.get(path)).headers
            policy = found["content-security-policy"]
            assert "frame-ancestors 'none'" in policy
            assert "img-src 'self' data:" in policy
            assert "default-src 'self'" in policy
            assert found["x-content-type-options"] == "nosniff"


@asynccontextmanager
async def served(guard: Guard) -> AsyncIterator[str]:
    """The site on a port of this machine."""
    started = asyncio.Event()
    with bound("127.0.0.1", 0) as listening:
        task = asyncio.create_task(serve(guard, listening, started))
        await started.wait()
        yield address(listening)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_websocket_is_for_our_own_pages_and_those_who_are_in() -> None:
    held = logins()
    cookie = {"Cookie": f"{COOKIE}={held.cookie()}"}
    async with served(site(held)) as url, ClientSession() as session:
        async with session.ws_connect(f"{url}/live", headers={"Origin": url, **cookie}) as live:
            assert await live.receive_str() == "hello"
        for headers in ({"Origin": url}, cookie, {"Origin": "http://evil.example", **cookie}):
            with pytest.raises(WSServerHandshakeError):
                await session.ws_connect(f"{url}/live", headers=headers)


async def test_a_server_that_is_cancelled_is_gone_and_its_port_free_again() -> None:
    async with served(site(logins(""))) as url, AsyncClient() as visitor:
        assert (await visitor.get(url)).status_code == 200
    port = int(url.rpartition(":")[2])
    bound("127.0.0.1", port).close()


def test_a_port_that_is_taken_is_told_with_what_to_do() -> None:
    with bound("127.0.0.1", 0) as taken:
        taken.listen()
        with pytest.raises(ConfigError, match=r"already in use; choose another with --port"):
            bound("127.0.0.1", taken.getsockname()[1])


def test_the_world_is_let_in_with_a_token_alone() -> None:
    check_access(WebConfig(), "")
    check_access(WebConfig(host="0.0.0.0"), TOKEN)
    with pytest.raises(ConfigError, match="set RAPPORT_WEB_TOKEN"):
        check_access(WebConfig(host="0.0.0.0"), "")
