"""The buttons below a verdict, pressed on both platforms, to the version that serves then.

Nothing is trained: the versions are adapters with random weights, put where a run puts them,
with a verdict that says that they passed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bot.app import App, registry_in
from bot.platforms.slack.manifest import COMMAND, EVENTS, SCOPES
from bot.types import BASE
from learning.types import Manifest
from tests.engine.tiny import make_adapter, make_model
from tests.fakes.discord_messages import Message as DiscordMessage
from tests.fakes.discord_server import DiscordServer
from tests.fakes.slack_server import SlackServer
from tests.fakes.slack_world import Message as SlackMessage
from tests.platforms.conftest import Running, config_of, running

TOKEN, BOT, APP = "secret-token", "xoxb-secret", "xapp-secret"
CHECK = {"name": "learned", "passed": True, "value": 1.0, "limit": 0.0, "reason": "It learned."}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


async def wait_for_approval(app: App, model: Path, name: str) -> None:
    """Put a version where it waits, over the base model."""
    registry, base, now = registry_in(app.data), app.engine.info.fingerprint, datetime.now(UTC)
    make_adapter(model, registry.stage(name), seed=int(name[1:]))
    registry.publish(name, Manifest(name, base, "digest", now, 1, {}, {}, {}, ()))
    await app.store.add_adapter(name, None, "waiting", base, now, {})
    sentence = "Promoted: all 1 checks passed."
    await app.store.add_verdict(name, BASE, "promote", sentence, [CHECK], now)


async def state(app: App, name: str) -> tuple[str, str]:
    """How a version stands, and which one serves."""
    ref = next(ref for ref in await app.learning.adapters() if ref.name == name)
    return ref.status, (await app.learning.status()).serving


def start(
    model: Path, data: Path, environment: dict[str, str], **platform: object
) -> AbstractAsyncContextManager[Running]:
    config = config_of(
        model={"name": str(model), "device": "cpu", "threads": 1},
        learning={"approval": "admin"}, **platform,
    )
    return running(config, data, environment)


@pytest.fixture
async def discord() -> AsyncIterator[DiscordServer]:
    async with DiscordServer(TOKEN) as server:
        yield server
        assert server.unknown_requests == []


async def test_on_discord_the_buttons_veto_approve_and_roll_back(
    discord: DiscordServer, model: Path, tmp_path: Path
) -> None:
    guild = discord.add_guild("Rabbits")
    channel, ada, owner = guild.add_channel("general"), guild.add_member("ada"), discord.owner

    async def shown(version: str) -> DiscordMessage:
        asked = await discord.slash(channel, owner, "learn report", {"version": version})
        await discord.wait_for(lambda _: asked.texts)
        (message,) = asked.followups or [asked.original]
        assert message is not None
        return message

    async def pressed(message: DiscordMessage, button: str) -> list[str]:
        press = await discord.press(message, owner, f"rapport:{button}")
        await discord.wait_for(lambda _: not message.components)
        return [one.content for one in press.followups]

    environment = {"DISCORD_BOT_TOKEN": TOKEN}
    async with start(
        model, tmp_path, environment, discord={"api_base": discord.api_base}
    ) as here:
        await discord.ready()
        for name in ("v0001", "v0002"):
            await wait_for_approval(here.app, model, name)

        first = await shown("v1")
        refused = await discord.press(first, ada, "rapport:veto:v0001")
        await discord.wait_for(lambda _: refused.followups)
        assert refused.followups[0].content == "Only the bot's operators can do that."
        assert await state(here.app, "v0001") == ("waiting", BASE)

        told = "v0001 is turned away; the base model goes on serving."
        assert await pressed(first, "veto:v0001") == [told]
        assert first.content.endswith("\n\n🚫 Vetoed by owner.")
        assert await state(here.app, "v0001") == ("rejected", BASE)

        second = await shown("v2")
        assert await pressed(second, "approve:v0002") == ["Approved: v0002 serves now."]
        assert second.content.endswith("\n\n✅ Approved by owner.")
        assert await state(here.app, "v0002") == ("champion", "v0002")

        told = "Rolled back: the base model serves now."
        again = await shown("v2")
        assert await pressed(again, "rollback:v0002") == [told]
        assert again.content.endswith("\n\n↩️ Rolled back by owner.")
        assert await state(here.app, "v0002") == ("retired", BASE)


@pytest.fixture
async def slack() -> AsyncIterator[SlackServer]:
    async with SlackServer(BOT, APP, scopes=SCOPES, subscriptions=EVENTS) as server:
        yield server
        assert server.unknown_requests == server.complaints == []


async def test_on_slack_the_buttons_veto_approve_and_roll_back(
    slack: SlackServer, model: Path, tmp_path: Path
) -> None:
    channel = slack.add_channel("general")
    ada, owner = slack.add_user("ada"), slack.add_user("olga", is_owner=True)

    async def shown(version: str) -> SlackMessage:
        asked = await slack.command(channel, owner, COMMAND, f"learn report {version}")
        await slack.wait_for(lambda _: asked.responses)
        return slack.ephemerals[-1]

    async def pressed(message: SlackMessage, button: str) -> str:
        press = await slack.press(message, owner, f"rapport_verdict_{button}")
        told, changed = await slack.wait_for(
            lambda _: press.responses if len(press.responses) == 2 else []
        )
        assert (told.kind, changed.kind) == ("ephemeral", "replace")
        assert all(block["type"] == "section" for block in message.blocks)
        return told.text

    def last(message: SlackMessage) -> Any:
        return message.blocks[-1]["text"]["text"]

    environment = {"SLACK_BOT_TOKEN": BOT, "SLACK_APP_TOKEN": APP}
    async with start(model, tmp_path, environment, slack={"api_base": slack.api_base}) as here:
        await slack.ready()
        for name in ("v0001", "v0002"):
            await wait_for_approval(here.app, model, name)

        first = await shown("v1")
        refused = await slack.press(first, ada, "rapport_verdict_veto")
        (response,) = await slack.wait_for(lambda _: refused.responses)
        assert response.text == "Only the bot's operators can do that."
        assert await state(here.app, "v0001") == ("waiting", BASE)

        told = "v0001 is turned away; the base model goes on serving."
        assert await pressed(first, "veto") == told
        assert last(first).endswith("\n\n🚫 Vetoed by olga.")
        assert await state(here.app, "v0001") == ("rejected", BASE)

        second = await shown("v2")
        assert await pressed(second, "approve") == "Approved: v0002 serves now."
        assert last(second).endswith("\n\n✅ Approved by olga.")
        assert await state(here.app, "v0002") == ("champion", "v0002")

        again = await shown("v2")
        assert await pressed(again, "rollback") == "Rolled back: the base model serves now."
        assert last(again).endswith("\n\n↩️ Rolled back by olga.")
        assert await state(here.app, "v0002") == ("retired", BASE)
