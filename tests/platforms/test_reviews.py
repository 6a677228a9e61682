"""/learn review on Discord and Slack: the same queue, asked for as each platform asks."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from bot.app import App
from bot.platforms.slack.manifest import COMMAND, EVENTS, SCOPES
from bot.store import Review
from bot.types import BASE, ChannelKey, Exchange, Sampling, Timings, Turn, Vote
from tests.fakes.discord_messages import Message as DiscordMessage
from tests.fakes.discord_server import DiscordServer
from tests.fakes.slack_interactions import Response
from tests.fakes.slack_server import SlackServer
from tests.fakes.slack_world import Message, User
from tests.platforms.conftest import config_of, running

LEARNING = {"platform_terms_acknowledged": True, "consent": "granted"}
DISCORD = {"DISCORD_BOT_TOKEN": "secret-token"}
SLACK = {"SLACK_BOT_TOKEN": "xoxb-secret", "SLACK_APP_TOKEN": "xapp-secret"}


async def liked(app: App, key: ChannelKey, person: str, page: str = "a") -> int:
    """A reply with a link that nobody else has said, liked by one person."""
    now = datetime.now(UTC)
    given = Exchange(
        key, person, (person,), (Turn("user", f"Where is {page}?"),), (5, 6), (7, 8),
        f"Look at https://evil.example/{page}", "stop", BASE, app.engine.info.fingerprint,
        Sampling(), Timings(), now,
    )  # fmt: skip
    number = await app.store.add_exchange(given)
    await app.store.add_vote(Vote(number, person, 1, "reaction", now))
    return number


def buttons(message: DiscordMessage) -> list[str]:
    """The buttons below a message, by their ids."""
    return [one["custom_id"] for row in message.components for one in row["components"]]


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


async def test_on_discord_the_buttons_page_keep_and_drop_for_the_owner_alone(
    tmp_path: Path
) -> None:
    async with DiscordServer(DISCORD["DISCORD_BOT_TOKEN"]) as server:
        guild = server.add_guild("Rabbits")
        channel, ada = guild.add_channel("general"), guild.add_member("ada")
        key = ChannelKey("discord", str(guild.id), str(channel.id))
        config = config_of(discord={"api_base": server.api_base}, learning=LEARNING)

        async def shown() -> DiscordMessage:
            asked = await server.slash(channel, server.owner, "learn review")
            await server.wait_for(lambda _: asked.texts)
            (message,) = asked.followups or [asked.original]
            assert message is not None
            return message

        async with running(config, tmp_path, DISCORD) as here:
            await server.ready()
            first, second = [await liked(here.app, key, str(ada.id), page) for page in "ab"]
            message, stale = await shown(), await shown()
            assert buttons(message) == [f"rapport:{act}:{first}" for act in
                                        ("keep", "drop", "next")]
            refused = await server.press(message, ada, f"rapport:keep:{first}")
            await server.wait_for(lambda _: refused.followups)
            assert refused.followups[0].content == "Only the bot's operators can do that."
            assert await decided(here.app) == []

            async def press(one: DiscordMessage, act: str, number: int, leads_to: str) -> None:
                await server.press(one, server.owner, f"rapport:{act}:{number}")
                await server.wait_for(lambda _: leads_to in one.content)

            await press(message, "next", first, f"2 of 2: reply {second}")
            assert buttons(message)[0] == f"rapport:keep:{second}"
            await press(message, "drop", second, "never learned from")
            assert f"1 of 1: reply {first}" in message.content
            await press(message, "keep", first, "No reply waits for your word.")
            assert buttons(message) == []
            await press(stale, "drop", first, f"Reply {first} does not wait for your word")
            assert buttons(stale) == []
            by = f"discord/{server.owner.id}"
            assert await decided(here.app) == [(second, False, by), (first, True, by)]
        assert server.unknown_requests == []


async def test_on_slack_the_buttons_page_keep_and_drop_for_the_owner_alone(
    tmp_path: Path
) -> None:
    tokens = SLACK["SLACK_BOT_TOKEN"], SLACK["SLACK_APP_TOKEN"]
    async with SlackServer(*tokens, "", SCOPES, EVENTS) as server:
        channel = server.add_channel("general")
        ada, owner = server.add_user("ada"), server.add_user("olga", is_owner=True)
        key = ChannelKey("slack", server.team_id, channel.id)
        config = config_of(slack={"api_base": server.api_base}, learning=LEARNING)
        async with running(config, tmp_path, SLACK) as here:
            await server.ready()
            first, second = [await liked(here.app, key, ada.id, page) for page in "ab"]
            for _ in range(2):
                asked = await server.command(channel, owner, COMMAND, "learn review")
                await server.wait_for(lambda _, asked=asked: asked.responses)
            message, stale = server.ephemerals

            async def press(where: Message, person: User, act: str, number: int) -> Response:
                shown = [one for block in where.blocks for one in block.get("elements", ())]
                assert {one["value"] for one in shown} == {str(number)}
                pressed = await server.press(where, person, f"rapport_review_{act}")
                (response,) = await server.wait_for(lambda _: pressed.responses)
                return response

            refused = await press(message, ada, "keep", first)
            assert (refused.kind, refused.text) == (
                "ephemeral", "Only the bot's operators can do that."
            )
            assert await decided(here.app) == []
            after = await press(message, owner, "next", first)
            assert after.kind == "replace" and f"2 of 2: reply {second}" in after.text
            after = await press(message, owner, "drop", second)
            assert f"1 of 1: reply {first}" in after.text
            after = await press(message, owner, "keep", first)
            assert "No reply waits for your word." in after.text
            assert all(block["type"] == "section" for block in message.blocks)
            after = await press(stale, owner, "drop", first)
            assert f"Reply {first} does not wait for your word any more." in after.text
            by = f"slack/{owner.id}"
            assert await decided(here.app) == [(second, False, by), (first, True, by)]
        assert server.unknown_requests == [] and server.complaints == []
