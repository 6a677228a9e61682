"""The fake Discord, held to its own strictness: what no well-behaved client ever sends."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.fakes.discord_rules import Refusal, check_commands, check_components
from tests.fakes.discord_server import DiscordServer

TOKEN = "secret-token"
HEADERS = {"Authorization": f"Bot {TOKEN}", "User-Agent": "DiscordBot (test, 1)"}


@pytest.fixture
async def server() -> AsyncIterator[DiscordServer]:
    async with DiscordServer(TOKEN) as fake:
        yield fake


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers=HEADERS) as one:
        yield one


async def test_a_client_that_breaks_the_protocol_is_closed_with_its_code(
    server: DiscordServer,
) -> None:
    hello = {"token": TOKEN, "intents": 1, "properties": {"os": "", "browser": "", "device": ""}}
    for code, *frames in (
        (4002, "nonsense"), (4001, {"op": 99, "d": None}), (4003, {"op": 3, "d": {}}),
        (4004, {"op": 2, "d": hello | {"token": "another"}}),
        (4010, {"op": 2, "d": hello | {"shard": [2, 2]}}),
        (4013, {"op": 2, "d": hello | {"intents": 1 << 40}}),
        (4005, {"op": 2, "d": hello}, {"op": 2, "d": hello}),
        (4007, {"op": 2, "d": hello}, {"op": 1, "d": 50}),
    ):
        assert await _closed_with(server, *frames) == code
    server.connection.heartbeat_interval = 10
    assert await _closed_with(server) == 4009


async def test_what_the_rules_forbid_is_refused_where_it_stands() -> None:
    choices = [{"name": "n", "value": "v"}] * 26
    option = {"type": 3, "name": "o", "description": "d"}
    command = {"name": "c", "description": "d"}
    for wrong, where in (
        (command | {"name": "Loud"}, "name"), (command | {"description": "d" * 101}, "description"),
        (command | {"options": [option | {"choices": choices}]}, "options.0.choices"),
        (command | {"options": [option, option | {"required": True}]}, "options.1"),
    ):
        with pytest.raises(Refusal) as refused:
            check_commands([wrong])
        errors = refused.value.body["errors"]["0"]
        for key in where.split("."):
            errors = errors[key]
        assert errors["_errors"]
    button = {"type": 2, "style": 1, "label": "l"}
    twice, long = [button | {"custom_id": "x"}] * 2, [button | {"custom_id": "x" * 101}]
    for buttons in (twice, long, [button]):
        with pytest.raises(Refusal, match="50035"):
            check_components([{"type": 1, "components": buttons}], new=False)


async def test_a_request_for_something_unknown_is_put_on_record(
    server: DiscordServer, session: aiohttp.ClientSession
) -> None:
    async with session.get(f"{server.api_base}/sky") as answer:
        assert answer.status == 404
    async with session.get(
        f"{server.api_base}/users/@me", headers={"Authorization": "Bot another"}
    ) as answer:
        assert answer.status == 401
    assert [one.path for one in server.unknown_requests] == ["/sky"]
    assert [one.status for one in server.requests] == [404, 401]


async def test_more_edits_than_a_channel_takes_are_refused_until_the_window_is_over(
    server: DiscordServer, session: aiohttp.ClientSession
) -> None:
    channel = server.add_guild("Rabbits").add_channel("general")
    url = f"{server.api_base}/channels/{channel.id}/messages"
    async with session.post(url, json={"content": "a"}) as answer:
        message = await answer.json()
    server.edit_limit = (1, 60.0)
    async with session.patch(f"{url}/{message['id']}", json={"content": "b"}) as answer:
        assert answer.status == 200 and answer.headers["X-RateLimit-Remaining"] == "0"
    async with session.patch(f"{url}/{message['id']}", json={"content": "c"}) as answer:
        body = await answer.json()
        assert answer.status == 429 and 50 < body["retry_after"] <= 60 and not body["global"]
        assert int(answer.headers["Retry-After"]) >= body["retry_after"]
    assert server.rate_limited == 1
    assert server.messages(channel)[0].versions == ["a", "b"]


async def test_a_cut_connection_and_a_body_without_sense_are_answered_as_outside(
    server: DiscordServer, session: aiohttp.ClientSession
) -> None:
    channel = server.add_guild("Rabbits").add_channel("general")
    url = f"{server.api_base}/channels/{channel.id}/messages"
    server.fail_next("POST", "/messages$", status=0)
    with pytest.raises(aiohttp.ClientConnectionError):
        await session.post(url, json={"content": "a"})
    async with session.post(url, json={"content": "a", "embeds": 5}) as answer:
        assert answer.status == 400
    async with session.post(url, data="{") as answer:
        assert (await answer.json())["code"] == 50109
    assert server.messages(channel) == []


async def test_heartbeats_are_acknowledged_unless_told_otherwise(
    server: DiscordServer, session: aiohttp.ClientSession
) -> None:
    url = f"{server.gateway}?v=10&encoding=json"
    for silent, answers in ((False, [10, 11]), (True, [10])):
        server.silent_heartbeat = silent
        async with session.ws_connect(url) as ws:
            await ws.send_json({"op": 1, "d": None})
            await ws.send_str("and goodbye")
            assert [frame.json()["op"] async for frame in ws] == answers
    assert server.connection.heartbeats == 2


async def _closed_with(server: DiscordServer, *frames: object) -> int | None:
    url = f"{server.gateway}?v=10&encoding=json"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as ws:
        for frame in frames:
            await (ws.send_str(frame) if isinstance(frame, str) else ws.send_json(frame))
        async for _ in ws:
            pass
        return ws.close_code
