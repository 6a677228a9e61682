"""What platforms say while they have no connection: that they wait for one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot.app import open_app, platforms_in
from bot.config import Config
from bot.platforms.base import Platform
from bot.platforms.slack import socket_mode
from bot.platforms.slack.manifest import EVENTS, SCOPES
from tests.fakes.discord_server import DiscordServer
from tests.fakes.slack_server import SlackServer
from tests.platforms.conftest import config_of

TOKEN = "secret-token"
SLACK = {
    "SLACK_BOT_TOKEN": "xoxb-secret", "SLACK_APP_TOKEN": "xapp-secret",
    "SLACK_SIGNING_SECRET": "signing-secret",
}  # fmt: skip


@asynccontextmanager
async def talking(
    config: Config, data: Path, environment: Mapping[str, str]
) -> AsyncIterator[Platform]:
    """The one platform that the environment names, from before its start."""
    async with open_app(config, data) as app:
        (platform,) = [make(app) for make in platforms_in(environment)]
        assert platform.waits_for()
        task = asyncio.create_task(platform.run())
        try:
            yield platform
        finally:
            task.cancel()
            await asyncio.wait([task])


async def waits(platform: Platform, text: str) -> None:
    """Return as soon as it waits for this; a connection may be back in a moment."""
    async with asyncio.timeout(15):
        while platform.waits_for() != text:  # noqa: ASYNC110 -- nobody tells of it
            await asyncio.sleep(0)


async def test_discord_waits_until_it_is_ready_and_while_it_connects_anew(tmp_path: Path) -> None:
    async with DiscordServer(TOKEN) as server:
        server.add_guild("Rabbits")
        config = config_of(discord={"api_base": server.api_base})
        async with talking(config, tmp_path, {"DISCORD_BOT_TOKEN": TOKEN}) as platform:
            assert platform.waits_for() == "a connection to Discord"
            await waits(platform, "")
            await server.ready()
            lost = asyncio.create_task(waits(platform, "a new connection to Discord"))
            await server.drop(4000)
            await lost
            await waits(platform, "")
        assert platform.waits_for() == "a connection to Discord"


async def test_slack_waits_until_its_socket_is_open_and_while_it_is_opened_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_mode, "LOOK_AGAIN", 0.1)
    async with SlackServer(*SLACK.values(), SCOPES, EVENTS) as server:
        config = config_of(slack={"api_base": server.api_base})
        async with talking(config, tmp_path, SLACK) as platform:
            await waits(platform, "")
            await server.ready()
            lost = asyncio.create_task(waits(platform, "a connection to Slack"))
            await server.drop()
            await lost
            await waits(platform, "")
        assert platform.waits_for() == "a connection to Slack"


async def test_slack_over_http_waits_until_it_listens(tmp_path: Path) -> None:
    async with SlackServer(*SLACK.values(), SCOPES, EVENTS) as server:
        slack = {"api_base": server.api_base, "mode": "http", "http_port": 0}
        async with talking(config_of(slack=slack), tmp_path, SLACK) as platform:
            await waits(platform, "")
        assert platform.waits_for() == "a connection to Slack"
