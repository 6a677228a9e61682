"""What people do to messages that they have sent, on both platforms, and files on Slack.

One suite for both: what differs is how somebody speaks and where it is seen.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, cast

import aiohttp
import pytest
from slack_sdk.web.async_client import AsyncWebClient

from bot.app import App
from bot.platforms.slack.files import Files
from bot.platforms.slack.manifest import EVENTS, SCOPES
from bot.types import ChannelKey, Exchange
from bot.types import Message as Said
from tests.fakes import discord_messages, discord_server, slack_server, slack_world
from tests.platforms.conftest import Running, config_of, running, until

BOT, APP = "xoxb-secret", "xapp-secret"
Sent = Any
"""A message of either server."""


class Place(Protocol):
    """A channel where the bot answers everything, and somebody who talks there."""

    name: str
    person: str
    key: ChannelKey
    games: str
    """Another channel, where it answers only who asks it."""
    thread: ChannelKey
    """A conversation in that channel."""
    environment: dict[str, str]
    settings: dict[str, object]

    async def ready(self) -> None: ...
    async def say(self, text: str) -> Sent: ...
    async def chat(self, text: str) -> Sent: ...
    async def edit(self, message: Sent, text: str) -> None: ...
    async def delete(self, *messages: Sent) -> None: ...
    async def react(self, message: Sent) -> None: ...
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

    async def say(self, text: str) -> Sent:
        return await self.server.say(self.channel, self.ada, text)

    async def chat(self, text: str) -> Sent:
        return await self.server.say(self.elsewhere, self.ada, text)

    async def edit(self, message: Sent, text: str) -> None:
        await self.server.edit(message, text)

    async def delete(self, *messages: Sent) -> None:
        if len(messages) > 1:
            await self.server.delete_many(*messages)
        else:
            await self.server.delete(messages[0])

    async def react(self, message: Sent) -> None:
        await self.server.react(message, self.ada, "👍")

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

    async def say(self, text: str) -> Sent:
        return await self.server.say(self.channel, self.ada, text)

    async def chat(self, text: str) -> Sent:
        return await self.server.say(self.elsewhere, self.ada, text)

    async def edit(self, message: Sent, text: str) -> None:
        await self.server.edit(message, text)

    async def delete(self, *messages: Sent) -> None:
        for message in messages:
            await self.server.delete(message)

    async def react(self, message: Sent) -> None:
        await self.server.react(message, self.ada, "+1")

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


@pytest.fixture
async def slack() -> AsyncIterator[OnSlack]:
    async with slack_server.SlackServer(BOT, APP, scopes=SCOPES, subscriptions=EVENTS) as server:
        yield OnSlack(server)
        assert server.unknown_requests == server.complaints == []


@pytest.fixture(params=["discord", "slack"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        if request.param == "discord":
            discord = await stack.enter_async_context(discord_server.DiscordServer(BOT))
            yield OnDiscord(discord)
            assert discord.unknown_requests == []
        else:
            server = slack_server.SlackServer(BOT, APP, scopes=SCOPES, subscriptions=EVENTS)
            yield OnSlack(await stack.enter_async_context(server))
            assert server.unknown_requests == server.complaints == []


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


@pytest.fixture
def start(tmp_path: Path) -> Start:
    return Start(tmp_path / "data")


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


async def test_an_edit_is_in_later_prompts_and_brings_no_second_reply(
    place: Place, start: Start
) -> None:
    async with start(place) as here:
        app = here.app
        await place.ready()
        question, _ = await ask(app, place, "my word is xyzzy")
        first = await last(app, place)
        stranger = await place.chat("nobody is asked here")
        await place.edit(stranger, "still nobody")
        await place.delete(stranger)
        await place.edit(question, "my word is plugh")
        await heard(app, place, question, "my word is plugh")
        await ask(app, place, "and then?")
        assert spoken(await last(app, place)) == ["my word is plugh", "and then?"]
        stored = await app.store.exchange(first.id)
        assert stored is not None
        assert spoken(stored) == ["my word is xyzzy"]
        assert await app.store.count_exchanges() == 2


async def test_a_deleted_message_is_in_no_prompt_and_a_deleted_reply_stays_with_its_votes(
    place: Place, start: Start
) -> None:
    async with start(place) as here:
        app = here.app
        await place.ready()
        one, _ = await ask(app, place, "one")
        _, reply = await ask(app, place, "two")
        three, _ = await ask(app, place, "three")
        await place.react(reply)
        await until(app.store.current_votes)
        await place.delete(reply)
        await place.delete(one, three)
        await left(app, place, one, three)
        await place.say("four")
        await answered(app, place, 3)
        newest = await last(app, place)
        assert spoken(newest) == ["two", "four"]
        said = await app.store.exchange_of(place.key, place.id_of(reply))
        assert said is not None
        replied = await app.store.exchange(said)
        assert replied is not None
        assert replied.reply in spoken(newest, "assistant")[-1]
        assert len(await app.store.current_votes()) == 1
        assert await app.store.count_exchanges() == 4


async def test_of_questions_that_wait_an_edited_one_is_answered_anew_and_a_deleted_one_never(
    place: Place, start: Start
) -> None:
    async with start(place, receipt=True) as here:
        app = here.app
        await place.ready()
        async with app.conversation.quiet([place.key]):
            first = await place.say("one")
            await heard(app, place, first)
            second = await place.say("two")
            await heard(app, place, second)
            third = await place.say("three")
            await heard(app, place, third)
            await place.wait_for(lambda: place.signs(second) == place.signs(third) == ["PUT"])
            await place.edit(second, "zwei")
            await heard(app, place, second, "zwei")
            await place.delete(third)
            await left(app, place, third)
        await answered(app, place, 2)
        assert spoken(await last(app, place)) == ["one", "zwei"]
        await place.wait_for(lambda: place.signs(third) == ["PUT", "DELETE"])
        await place.wait_for(lambda: place.signs(second) == ["PUT", "DELETE"])
        assert place.signs(first) == []
        assert await app.store.count_exchanges() == 2


async def test_a_sign_that_is_refused_keeps_nobody_from_an_answer_and_none_is_given_unasked(
    place: Place, start: Start
) -> None:
    for receipt, signs in ((True, ["PUT"]), (False, [])):
        async with start(place, receipt=receipt) as here:
            app = here.app
            await place.ready()
            place.refuse_signs()
            before = len(place.replies())
            async with app.conversation.quiet([place.key]):
                for text in ("one", "two"):
                    message = await place.say(text)
                    await heard(app, place, message)
            await answered(app, place, before + 2)
            assert place.signs(message) == signs


async def test_what_was_asked_by_or_where_it_is_blocked_since_is_not_answered_after_a_restart(
    place: Place, start: Start
) -> None:
    async with start(place) as here:
        for key, person in ((place.key, place.person), (place.thread, "42"), (place.key, "43")):
            said = Said(key, person, f"I am {person}", f"1{person}", datetime.now(UTC))
            assert await here.app.conversation.hear(said) is not None
    blocked = {
        "users": {"blocked_ids": [place.person]}, "channels": {"blocked_ids": [place.games]},
    }
    async with start(place, permissions=blocked) as here:
        await answered(here.app, place, 1)
        assert (await last(here.app, place)).asker == "43"
        assert await here.app.store.count_exchanges() == 1
        assert await here.app.store.waiting_messages(place.name) == []
    assert len(place.replies()) == 1


async def test_a_question_with_a_thread_on_slack_leaves_it_when_it_is_deleted(
    slack: OnSlack, start: Start
) -> None:
    server = slack.server
    games = server.add_channel("games")
    async with start(slack) as here:
        app = here.app
        await slack.ready()
        question = await server.say(games, slack.ada, "<@BOT> my word is xyzzy")
        slack.channel = games
        slack.key = ChannelKey("slack", server.team_id, f"{games.id}:{question.ts}")
        await answered(app, slack, 1)
        await server.edit(question, f"<@{server.bot.id}> my word is plugh")
        await heard(app, slack, question, "my word is plugh")
        await server.delete(question)
        assert question.subtype == "tombstone"
        await left(app, slack, question)
        await server.say(games, slack.ada, "and then?", thread=question)
        await answered(app, slack, 2)
        assert spoken(await last(app, slack)) == ["and then?"]


async def test_a_text_file_on_slack_is_read_with_the_message_and_another_is_named(
    slack: OnSlack, start: Start
) -> None:
    server = slack.server
    files = [
        server.attach("big.txt", b"x" * 70_000, "text/plain"),
        server.attach("notes.txt", "The fox is réd.".encode() * 400, "text/plain"),
        server.attach("cat.png", b"\x89PNG", "image/png"),
        server.attach("more.txt", b"too late", "text/plain"),
    ]
    async with start(slack, attachment_characters=40) as here:
        await slack.ready()
        await server.say(slack.channel, slack.ada, "look", files=files)
        await answered(here.app, slack, 1)
        (text,) = spoken(await last(here.app, slack))
    assert text.startswith(
        "look\n[attached file big.txt]\n[attached file notes.txt:\nThe fox is réd."
    )
    assert text.endswith("[…]]\n[attached file cat.png]\n[attached file more.txt]")
    assert len(text) < 170
    assert server.downloads == [files[1]["id"]]


async def test_a_file_of_somebody_who_is_not_answered_is_not_fetched(
    slack: OnSlack, start: Start
) -> None:
    server = slack.server
    file = server.attach("notes.txt", b"The fox is red.", "text/plain")
    bob = server.add_user("bob")
    permissions: dict[str, object] = {"users": {"blocked_ids": [slack.ada.id]}}
    async with start(slack, permissions) as here:
        await slack.ready()
        await server.say(slack.channel, slack.ada, "look", files=[file])
        await server.say(slack.channel, bob, "hello")
        await answered(here.app, slack, 1)  # what was said first was taken first
    assert server.downloads == []


async def test_the_token_is_sent_to_slack_alone_and_to_no_page_it_leads_to(
    slack: OnSlack, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        slack_server.SlackServer("xoxb-other", APP) as other,
        aiohttp.ClientSession() as session,
    ):
        client = AsyncWebClient(BOT, base_url=slack.server.api_base, session=session)
        files = Files(client, 2000)
        foreign = other.attach("a.txt", b"secret", "text/plain")
        hidden = slack.server.attach("b.txt", b"secret", "text/plain")
        slack.server.scopes -= {"files:read"}
        shown = await files.shown({"files": [foreign, hidden, {"mode": "tombstone"}]})
        assert shown == ["[attached file a.txt]", "[attached file b.txt]", "[attached file ]"]
        assert other.downloads == []
        assert slack.server.downloads == [hidden["id"]]
        for address, safe in (
            ("https://files.slack.com/files-pri/T1-F1/a.txt", True),
            ("https://slack.com/x", True),
            ("http://files.slack.com/files-pri/T1-F1/a.txt", False),
            ("https://files.slack.com.evil.org/a", False),
            ("https://evilslack.com/a", False),
            ("https://files.slack.com:8443/a", False),
            ("https://me@files.slack.com/a", False),
            ("https://evil.org/files.slack.com", False),
            ("//files.slack.com/a", False),
            ("http://[", False),
            ("", False),
        ):
            assert (files._safe(address) is not None) is safe, address
    assert BOT not in caplog.text
