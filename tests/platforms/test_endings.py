"""What a platform hears while the bot ends: taken as a whole, or left to be told again.

Nothing of it may go on afterwards and find the store closed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bot.platforms.discord import client
from bot.platforms.slack import socket_mode
from bot.platforms.slack.manifest import COMMAND, EVENTS, SCOPES
from tests.fakes.discord_messages import Message as DiscordMessage
from tests.fakes.discord_server import DiscordServer
from tests.fakes.gates import Gate
from tests.fakes.slack_server import SlackServer
from tests.fakes.slack_world import Message as SlackMessage
from tests.platforms.conftest import Running, config_of, running

TOKEN, BOT, APP = "secret-token", "xoxb-secret", "xapp-secret"
ON_DISCORD = {"DISCORD_BOT_TOKEN": TOKEN}
ON_SLACK = {"SLACK_BOT_TOKEN": BOT, "SLACK_APP_TOKEN": APP}
NOTES = [("notes.txt", b"The fox is red.", "text/plain")]


@pytest.fixture
async def discord() -> AsyncIterator[DiscordServer]:
    async with DiscordServer(TOKEN) as server:
        yield server
        assert server.unknown_requests == []


@pytest.fixture
async def slack() -> AsyncIterator[SlackServer]:
    async with SlackServer(BOT, APP, scopes=SCOPES, subscriptions=EVENTS) as server:
        yield server
        assert server.unknown_requests == server.complaints == []


@pytest.fixture(autouse=True)
def nothing_fails(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    records = caplog.get_records("call")
    assert [one.getMessage() for one in records if one.levelno >= logging.WARNING] == []


def doing(work: str) -> asyncio.Task[object]:
    """The one task that does something, by the name of its function."""
    (task,) = [one for one in asyncio.all_tasks() if f" {work} " in str(one.get_coro())]
    return task


async def end(here: Running, gate: Gate, *, opened: bool) -> None:
    """Stop the bot while something waits at a gate, which is opened then or never."""
    await gate.reached.wait()
    here.task.cancel()
    if opened:
        gate.open()
    await asyncio.wait([here.task])


@pytest.mark.parametrize("opened", [True, False], ids=["in time", "never"])
async def test_what_discord_tells_at_the_end_is_answered_after_the_next_start_once(
    discord: DiscordServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: bool
) -> None:
    if not opened:
        monkeypatch.setattr(client, "GRACE", 0.05)
    guild = discord.add_guild("Rabbits")
    channel, ada = guild.add_channel("general"), guild.add_member("ada")
    config = config_of(discord={"api_base": discord.api_base, "edit_seconds": 0.2})

    def replies(_: DiscordServer) -> list[DiscordMessage]:
        return [one for one in discord.messages(channel) if one.author is discord.bot]

    gate = discord.hold_requests("GET .*notes.txt")
    async with running(config, tmp_path, ON_DISCORD) as here:
        await discord.ready()
        await discord.say(channel, ada, "<@BOT> look", attachments=NOTES)
        await end(here, gate, opened=opened)
    assert replies(discord) == []
    gate.open()
    async with running(config, tmp_path, ON_DISCORD) as here:
        await discord.wait_for(replies)
        assert await here.app.store.count_exchanges() <= 1
    assert len(replies(discord)) == 1


async def test_a_command_that_discord_tells_of_at_the_end_is_still_answered(
    discord: DiscordServer, tmp_path: Path
) -> None:
    guild = discord.add_guild("Rabbits")
    channel, ada = guild.add_channel("general"), guild.add_member("ada")
    config = config_of(discord={"api_base": discord.api_base})
    gate = discord.hold_requests("POST .*/callback")
    async with running(config, tmp_path, ON_DISCORD) as here:
        await discord.ready()
        asked = await discord.slash(channel, ada, "status")
        await end(here, gate, opened=True)
        assert asked.texts


@pytest.mark.parametrize("opened", [True, False], ids=["in time", "never"])
async def test_what_slack_tells_at_the_end_is_answered_after_the_next_start_once(
    slack: SlackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: bool
) -> None:
    if not opened:
        monkeypatch.setattr(socket_mode, "GRACE", 0.05)
    channel = slack.add_channel("general")
    ada, bob = slack.add_user("ada"), slack.add_user("bob")
    config = config_of(slack={"api_base": slack.api_base, "edit_seconds": 0.2})

    def replies(_: SlackServer) -> list[SlackMessage]:
        return [one for one in slack.messages(channel) if one.bot_id]

    gate = slack.hold_requests("users.info")
    async with running(config, tmp_path, ON_SLACK) as here:
        await slack.ready()
        await slack.say(channel, ada, f"<@BOT> greet <@{bob.id}>")
        await end(here, gate, opened=opened)
    assert (slack.unacknowledged == []) is opened
    gate.open()
    async with running(config, tmp_path, ON_SLACK):
        await slack.wait_for(replies)
        await slack.wait_for(lambda _: slack.unacknowledged == [])
    assert len(replies(slack)) == 1


async def test_a_connection_to_slack_that_is_made_anew_at_the_end_is_given_up(
    slack: SlackServer, tmp_path: Path
) -> None:
    config = config_of(slack={"api_base": slack.api_base})
    async with running(config, tmp_path, ON_SLACK) as here:
        await slack.ready()
        gate = slack.hold_requests("apps.connections.open")
        await slack.disconnect()
        await gate.reached.wait()
        renewing = doing("Socket.run_message_listeners")
        await end(here, gate, opened=False)
        assert renewing.cancelled()
        gate.open()


async def test_a_command_that_slack_tells_of_at_the_end_is_given_up(
    slack: SlackServer, tmp_path: Path
) -> None:
    channel, ada = slack.add_channel("general"), slack.add_user("ada")
    config = config_of(slack={"api_base": slack.api_base})
    gate = slack.hold_requests("users.info")
    async with running(config, tmp_path, ON_SLACK) as here:
        await slack.ready()
        asked = await slack.command(channel, ada, COMMAND, "learn retrain")
        await gate.reached.wait()
        answering = doing("SlashCommands.run")
        await end(here, gate, opened=False)
        assert answering.cancelled()
        assert asked.responses == []
        gate.open()
