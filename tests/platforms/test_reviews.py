"""/learn review on Discord and Slack: the same queue, asked for as each platform asks."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from bot.app import App
from bot.platforms.slack.manifest import COMMAND, EVENTS, SCOPES
from bot.store import Review
from bot.types import BASE, ChannelKey, Exchange, Sampling, Timings, Turn, Vote
from tests.fakes.discord_server import DiscordServer
from tests.fakes.slack_server import SlackServer
from tests.platforms.conftest import config_of, running

LEARNING = {"platform_terms_acknowledged": True, "consent": "granted"}
DISCORD = {"DISCORD_BOT_TOKEN": "secret-token"}
SLACK = {"SLACK_BOT_TOKEN": "xoxb-secret", "SLACK_APP_TOKEN": "xapp-secret"}


async def liked(app: App, key: ChannelKey, person: str) -> int:
    """A reply with a link that nobody else has said, liked by one person."""
    now = datetime.now(UTC)
    given = Exchange(
        key, person, (person,), (Turn("user", "Where?"),), (5, 6), (7, 8),
        "Look at https://evil.example/a", "stop", BASE, app.engine.info.fingerprint, Sampling(),
        Timings(), now,
    )  # fmt: skip
    number = await app.store.add_exchange(given)
    await app.store.add_vote(Vote(number, person, 1, "reaction", now))
    return number


async def decided(app: App) -> list[tuple[int, bool, str]]:
    made: list[Review] = await app.store.reviews()
    return [(one.exchange_id, one.keep, one.by) for one in made]


async def test_on_discord_the_owner_looks_and_decides_and_nobody_else(tmp_path: Path) -> None:
    async with DiscordServer(DISCORD["DISCORD_BOT_TOKEN"]) as server:
        guild = server.add_guild("Rabbits")
        channel, ada = guild.add_channel("general"), guild.add_member("ada")
        key = ChannelKey("discord", str(guild.id), str(channel.id))
        config = config_of(discord={"api_base": server.api_base}, learning=LEARNING)
        async with running(config, tmp_path, DISCORD) as here:
            await server.ready()
            number = await liked(here.app, key, str(ada.id))
            refused = await server.slash(channel, ada, "learn review")
            await server.wait_for(lambda _: refused.texts)
            assert refused.texts == ["Only the bot's operators can do that."]
            asked = await server.slash(channel, server.owner, "learn review")
            await server.wait_for(lambda _: asked.texts)
            assert asked.ephemeral
            assert "1 of 1" in asked.texts[0]
            assert "evil.example/a" in asked.texts[0]
            drop = {"say": "drop", "reply": number}
            done = await server.slash(channel, server.owner, "learn review", drop)
            await server.wait_for(lambda _: done.texts)
            assert "never learned from" in done.texts[0]
            assert "No reply waits" in done.texts[0]
            by = f"discord/{server.owner.id}"
            assert await decided(here.app) == [(number, False, by)]
        assert server.unknown_requests == []


async def test_on_slack_the_owner_looks_and_decides_and_nobody_else(tmp_path: Path) -> None:
    tokens = SLACK["SLACK_BOT_TOKEN"], SLACK["SLACK_APP_TOKEN"]
    async with SlackServer(*tokens, "", SCOPES, EVENTS) as server:
        channel = server.add_channel("general")
        ada, owner = server.add_user("ada"), server.add_user("olga", is_owner=True)
        key = ChannelKey("slack", server.team_id, channel.id)
        config = config_of(slack={"api_base": server.api_base}, learning=LEARNING)
        async with running(config, tmp_path, SLACK) as here:
            await server.ready()
            number = await liked(here.app, key, ada.id)
            said = []
            for person, words in ((ada, ""), (owner, ""), (owner, f"keep {number}")):
                asked = await server.command(channel, person, COMMAND, f"learn review {words}")
                await server.wait_for(lambda _, asked=asked: asked.responses)
                said.append(asked.responses[0].text)
            assert said[0] == "Only the bot's operators can do that."
            assert "evil.example/a" in str(server.ephemerals)
            assert f"/rapport learn review keep {number}" in str(server.ephemerals)
            assert await decided(here.app) == [(number, True, f"slack/{owner.id}")]
            assert await here.app.learning.review() == []
        assert server.unknown_requests == [] and server.complaints == []
