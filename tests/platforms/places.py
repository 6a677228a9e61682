"""A channel on either platform where the bot answers everything, for tests that are about both.

What differs is how somebody speaks and where it is seen.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from bot.app import App
from bot.platforms.slack.manifest import EVENTS, SCOPES
from bot.types import ChannelKey, Exchange
from tests.fakes import discord_messages, discord_server, slack_server, slack_world
from tests.platforms.conftest import Running, config_of, running, until

BOT, APP = "xoxb-secret", "xapp-secret"
Sent = Any
"""A message of either server."""


class Place(Protocol):
    """A channel where the bot answers everything, and somebody who talks there."""

    name: str
    person: str
    bob: Any
    """Somebody else."""
    key: ChannelKey
    games: str
    """Another channel, where it answers only who asks it."""
    thread: ChannelKey
    """A conversation in that channel."""
    environment: dict[str, str]
    settings: dict[str, object]

    async def ready(self) -> None: ...
    async def say(self, text: str, person: Any = None) -> Sent: ...
    async def chat(self, text: str) -> Sent: ...
    async def mention(self, text: str) -> Sent: ...
    async def open_thread(self, question: Sent) -> None: ...
    async def edit(self, message: Sent, text: str) -> None: ...
    async def delete(self, *messages: Sent) -> None: ...
    async def react(self, message: Sent, value: int = 1, *, given: bool = True) -> None: ...
    def give_up(self) -> None: ...
    async def wait_for(self, found: Callable[[], object]) -> None: ...
    def id_of(self, message: Sent) -> str: ...
    def replies(self) -> list[Sent]: ...
    def is_whole(self, reply: Sent) -> bool: ...
    def signs(self, message: Sent) -> list[str]: ...
    def refuse_signs(self) -> None: ...


class OnDiscord:
    """A channel of a Discord server."""

    name = "discord"

    def __init__(self, server: discord_server.DiscordServer) -> None:
        self.server = server
        guild = server.add_guild("Rabbits")
        self.channel, self.ada = guild.add_channel("general"), guild.add_member("ada")
        self.bob = guild.add_member("bob")
        self.elsewhere = guild.add_channel("games")
        thread = server.start_thread(self.elsewhere, self.ada, "go", with_bot=True)
        self.games = str(self.elsewhere.id)
        self.thread = ChannelKey("discord", str(guild.id), str(thread.id))
        self.person = str(self.ada.id)
        self.key = ChannelKey("discord", str(guild.id), str(self.channel.id))
        self.environment = {"DISCORD_BOT_TOKEN": BOT}
        self.settings: dict[str, object] = {
            "api_base": server.api_base, "always": [str(self.channel.id)],
        }

    async def ready(self) -> None:
        await self.server.ready()

    async def say(self, text: str, person: Any = None) -> Sent:
        return await self.server.say(self.channel, person or self.ada, text)

    async def chat(self, text: str) -> Sent:
        return await self.server.say(self.elsewhere, self.ada, text)

    async def mention(self, text: str) -> Sent:
        return await self.server.say(self.elsewhere, self.ada, f"<@BOT> {text}")

    async def open_thread(self, question: Sent) -> None:
        """From now on be in the thread that the bot opens for a question."""
        self.channel = await self.server.wait_for(lambda _: question.thread)
        self.key = ChannelKey("discord", self.key.guild, str(self.channel.id))

    async def edit(self, message: Sent, text: str) -> None:
        await self.server.edit(message, text)

    async def delete(self, *messages: Sent) -> None:
        if len(messages) > 1:
            await self.server.delete_many(*messages)
        else:
            await self.server.delete(messages[0])

    async def react(self, message: Sent, value: int = 1, *, given: bool = True) -> None:
        act = self.server.react if given else self.server.unreact
        await act(message, self.ada, "👍" if value > 0 else "👎")

    def give_up(self) -> None:
        """A new session is told nothing of what was before it, as it is."""

    async def wait_for(self, found: Callable[[], object]) -> None:
        await self.server.wait_for(lambda _: found())

    def id_of(self, message: Sent) -> str:
        return str(message.id)

    def replies(self) -> list[discord_messages.Message]:
        said = self.server.messages(self.channel)
        return [one for one in said if one.author is self.server.bot]

    def is_whole(self, reply: Sent) -> bool:
        return True

    def signs(self, message: Sent) -> list[str]:
        """What the bot did to the signs under a message, in order."""
        return [
            one.method for one in self.server.requests
            if f"{message.id}/reactions/" in one.path and one.path.endswith("/@me")
        ]

    def refuse_signs(self) -> None:
        self.server.fail_next("PUT", "/reactions/", status=403, code=50013)


class OnSlack:
    """A channel of a Slack workspace."""

    name = "slack"

    def __init__(self, server: slack_server.SlackServer) -> None:
        self.server = server
        self.channel, self.ada = server.add_channel("general"), server.add_user("ada")
        self.bob = server.add_user("bob")
        self.elsewhere = server.add_channel("games")
        self.games = self.elsewhere.id
        self.thread = ChannelKey("slack", server.team_id, f"{self.games}:{server.ts()}")
        self.person = self.ada.id
        self.key = ChannelKey("slack", server.team_id, self.channel.id)
        self.environment = {"SLACK_BOT_TOKEN": BOT, "SLACK_APP_TOKEN": APP}
        self.settings: dict[str, object] = {
            "api_base": server.api_base, "always": [self.channel.id],
        }

    async def ready(self) -> None:
        await self.server.ready()

    async def say(self, text: str, person: Any = None) -> Sent:
        return await self.server.say(self.channel, person or self.ada, text)

    async def chat(self, text: str) -> Sent:
        return await self.server.say(self.elsewhere, self.ada, text)

    async def mention(self, text: str) -> Sent:
        return await self.server.say(self.elsewhere, self.ada, f"<@BOT> {text}")

    async def open_thread(self, question: Sent) -> None:
        """From now on be in the thread that the bot opens for a question."""
        self.channel = self.elsewhere
        self.key = ChannelKey("slack", self.server.team_id, f"{self.games}:{question.ts}")

    async def edit(self, message: Sent, text: str) -> None:
        await self.server.edit(message, text)

    async def delete(self, *messages: Sent) -> None:
        for message in messages:
            await self.server.delete(message)

    async def react(self, message: Sent, value: int = 1, *, given: bool = True) -> None:
        act = self.server.react if given else self.server.unreact
        await act(message, self.ada, "+1" if value > 0 else "-1")

    def give_up(self) -> None:
        """Slack does not try any longer to tell what nobody took."""
        self.server.give_up()

    async def wait_for(self, found: Callable[[], object]) -> None:
        await self.server.wait_for(lambda _: found())

    def id_of(self, message: Sent) -> str:
        return cast(str, message.ts)

    def replies(self) -> list[slack_world.Message]:
        return [one for one in self.server.messages(self.channel) if one.bot_id]

    def is_whole(self, reply: Sent) -> bool:
        return any(block["type"] == "context_actions" for block in reply.blocks)

    def signs(self, message: Sent) -> list[str]:
        """What the bot did to the signs under a message, in order."""
        verbs = {"reactions.add": "PUT", "reactions.remove": "DELETE"}
        return [
            verbs[one.method] for one in self.server.requests
            if one.method in verbs and one.arguments["timestamp"] == message.ts
        ]

    def refuse_signs(self) -> None:
        self.server.fail_next("reactions.add", "message_not_found")


@asynccontextmanager
async def on_slack() -> AsyncIterator[OnSlack]:
    """A channel of a workspace that hears nothing it does not understand."""
    async with slack_server.SlackServer(BOT, APP, scopes=SCOPES, subscriptions=EVENTS) as server:
        yield OnSlack(server)
        assert server.unknown_requests == server.complaints == []


@asynccontextmanager
async def on_discord() -> AsyncIterator[OnDiscord]:
    """A channel of a server that hears nothing it does not understand."""
    async with discord_server.DiscordServer(BOT) as server:
        yield OnDiscord(server)
        assert server.unknown_requests == []


@asynccontextmanager
async def on(platform: str) -> AsyncIterator[Place]:
    """A channel of the platform that is named."""
    if platform == "slack":
        async with on_slack() as slack:
            yield slack
    else:
        async with on_discord() as discord:
            yield discord


@dataclass
class Start:
    """Starts the bot in a place, on the same data each time, as after a restart."""

    data: Path

    def __call__(
        self, place: Place, permissions: dict[str, object] | None = None, **settings: object
    ) -> AbstractAsyncContextManager[Running]:
        options = {"edit_seconds": 0.2, **place.settings, **settings}
        config = config_of(**{place.name: options}, permissions=permissions or {})
        return running(config, self.data, place.environment)


async def answered(app: App, place: Place, number: int) -> Sent:
    """The latest reply, once there are so many and the last one is whole and on record."""
    await place.wait_for(
        lambda: len(place.replies()) == number and place.is_whole(place.replies()[-1])
    )
    reply = place.replies()[-1]
    await until(lambda: app.store.exchange_of(place.key, place.id_of(reply)))
    return reply


async def ask(app: App, place: Place, text: str) -> tuple[Sent, Sent]:
    number = len(place.replies()) + 1
    question = await place.say(text)
    return question, await answered(app, place, number)


async def heard(app: App, place: Place, message: Sent, text: str = "") -> None:
    """Wait until a message is on record, with this text where one is named."""
    spot = (place.key, place.id_of(message))

    async def holds() -> bool:
        said = [turn.content for turn in await app.store.history(place.key)]
        return await app.store.on_record([spot]) and (not text or text in said)

    await until(holds)


async def left(app: App, place: Place, *messages: Sent) -> None:
    """Wait until messages are on record no longer."""
    spots = [(place.key, place.id_of(message)) for message in messages]

    async def holds() -> bool:
        return not await app.store.on_record(spots)

    await until(holds)


async def last(app: App, place: Place) -> Exchange:
    exchange = await app.store.last_exchange(place.key)
    assert exchange is not None
    return exchange


def spoken(exchange: Exchange, role: str = "user") -> list[str]:
    return [turn.content for turn in exchange.prompt if turn.role == role]
