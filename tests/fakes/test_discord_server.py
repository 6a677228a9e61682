"""The fake Discord, held to the real client: discord.py as it is, over real sockets."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from io import BytesIO

import discord
import pytest
import yarl
from discord import app_commands
from discord.gateway import DiscordWebSocket
from discord.http import Route

from tests.fakes.discord_server import DiscordServer
from tests.fakes.discord_world import Event, shuffled

TOKEN = "secret-token"
UP, DOWN = "👍", "👎"
Start = Callable[..., Awaitable["Listener"]]


class Pressed(discord.ui.View):
    """One button that stays, and says that it was pressed."""

    def __init__(self) -> None:
        super().__init__(timeout=None)

    @discord.ui.button(label="Good", custom_id="good")
    async def good(
        self, interaction: discord.Interaction, _: discord.ui.Button[Pressed]
    ) -> None:
        await interaction.response.edit_message(content="thanks", view=None)


class Listener(discord.AutoShardedClient):
    """A client that answers mentions and keeps what it hears."""

    def __init__(self, intents: discord.Intents | None = None) -> None:
        super().__init__(
            intents=intents or discord.Intents(
                guilds=True, messages=True, reactions=True, message_content=True
            ),
            guild_ready_timeout=0.05, max_messages=10,
        )
        self.heard: list[str] = []
        self.signs: list[str] = []
        self.ready_times = 0
        self.is_up = asyncio.Event()
        self.tree = app_commands.CommandTree(self)
        self.tree.add_command(_teach())

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Not the five seconds that discord.py waits before it identifies anew."""

    async def setup_hook(self) -> None:
        self.add_view(Pressed())

    async def on_ready(self) -> None:
        self.ready_times += 1
        self.is_up.set()

    async def on_message(self, message: discord.Message) -> None:
        if message.author == self.user:
            return
        self.heard.append(message.content)
        if message.guild is None or self.user in message.mentions:
            await message.reply(f"I heard {message.clean_content}")

    async def on_raw_reaction_add(self, event: discord.RawReactionActionEvent) -> None:
        self.signs.append(f"+{event.emoji}")

    async def on_raw_reaction_remove(self, event: discord.RawReactionActionEvent) -> None:
        self.signs.append(f"-{event.emoji}")

    async def on_raw_reaction_clear(self, event: discord.RawReactionClearEvent) -> None:
        self.signs.append("none")

    async def on_raw_reaction_clear_emoji(
        self, event: discord.RawReactionClearEmojiEvent
    ) -> None:
        self.signs.append(f"no {event.emoji}")


def _teach() -> app_commands.Group:
    group = app_commands.Group(name="learn", description="How it learns")

    @group.command(name="try", description="Talk with a version")
    async def attempt(interaction: discord.Interaction, version: str) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        await interaction.followup.send(f"trying {version}", ephemeral=True)
        await interaction.edit_original_response(content=f"tried {version}")
        await interaction.followup.send("anything else?", ephemeral=True)

    @attempt.autocomplete("version")
    async def versions(
        interaction: discord.Interaction, typed: str
    ) -> list[app_commands.Choice[str]]:
        names = ["v1", "v2", "base"]
        return [app_commands.Choice(name=n, value=n) for n in names if typed in n]

    return group


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[DiscordServer]:
    async with DiscordServer(TOKEN) as fake:
        monkeypatch.setattr(Route, "BASE", fake.api_base)
        monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL(fake.gateway))
        yield fake
        assert fake.unknown_requests == []


@pytest.fixture
async def start(server: DiscordServer) -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def started(intents: discord.Intents | None = None) -> Listener:
            client = await stack.enter_async_context(Listener(intents))
            task = asyncio.create_task(client.start(TOKEN))
            stack.push_async_callback(asyncio.wait, [task])
            stack.push_async_callback(client.close)
            await server.ready()
            await asyncio.wait_for(client.is_up.wait(), 10)
            return client

        yield started


async def test_a_mention_is_heard_and_answered_with_a_reply(
    server: DiscordServer, start: Start
) -> None:
    guild = server.add_guild("Rabbits")
    channel = guild.add_channel("general", category=guild.add_category("Burrows"))
    ada = guild.add_member("ada")
    client = await start()
    assert [one.name for one in client.guilds] == ["Rabbits"]
    asked = await server.say(channel, ada, "hello <@BOT>")
    reply = await server.wait_for(lambda one: one.messages(channel)[1:])
    assert reply[0].content == "I heard hello @rapport"
    assert reply[0].reference is asked and reply[0].mentions == [ada]
    posted = [one for one in server.requests if one.method == "POST"]
    assert posted[0].body["message_reference"]["message_id"] == asked.id


async def test_a_direct_message_is_answered_and_a_guild_may_come_later(
    server: DiscordServer, start: Start
) -> None:
    client = await start()
    eve = server.add_user("eve")
    direct = server.open_dm(eve)
    await server.say(direct, eve, "psst", attachments=[("notes.txt", b"carrots", "text/plain")])
    await server.wait_for(lambda one: len(one.messages(direct)) == 2)
    guild = server.add_guild("Later")
    channel = guild.add_channel("general")
    await server.say(channel, guild.add_member("ada"), "<@BOT>!")
    await server.wait_for(lambda one: len(one.messages(channel)) == 2)
    assert client.heard[0] == "psst"
    cached = [message for message in client.cached_messages if message.attachments]
    assert await cached[0].attachments[0].read() == b"carrots"
    user = await client.fetch_user(eve.id)
    await user.send(file=discord.File(BytesIO(b"leek"), "leek.txt"))
    assert server.messages(direct)[-1].attachments[0].content == b"leek"
    hermit = await client.fetch_user(server.add_user("hermit", accepts_dms=False).id)
    with pytest.raises(discord.Forbidden) as refused:
        await hermit.send("anybody there?")
    assert refused.value.code == 50007


async def test_without_the_intent_content_comes_only_where_the_bot_is_addressed(
    server: DiscordServer, start: Start
) -> None:
    server.message_content = False
    guild = server.add_guild("Rabbits")
    channel, ada = guild.add_channel("general"), guild.add_member("ada")
    client = await start(discord.Intents(guilds=True, messages=True))
    await server.say(channel, ada, "among ourselves")
    await server.say(channel, ada, "<@BOT> and you?")
    await server.say(server.open_dm(ada), ada, "in private")
    await server.wait_for(lambda one: len(client.heard) == 3)
    assert client.heard[0] == ""
    assert client.heard[1].endswith("and you?") and client.heard[2] == "in private"


async def test_the_bot_edits_streams_and_reacts_and_hears_reactions(
    server: DiscordServer, start: Start
) -> None:
    guild = server.add_guild("Rabbits")
    place, ada = guild.add_channel("general"), guild.add_member("ada")
    client = await start()
    channel = _text_channel(client, place.id)
    async with channel.typing():
        said = await channel.send("one", nonce="n1")
    assert server.typing == [place]
    assert (await channel.send("one", nonce="n1")).id == said.id
    await said.edit(content="one two")
    message = server.messages(place)[0]
    assert message.versions == ["one", "one two"] and len(message.edits) == 1
    await said.add_reaction(UP)
    await server.react(message, ada, UP)
    await server.react(message, ada, "carrot:7", burst=True)
    await server.unreact(message, ada, UP)
    fetched = await channel.fetch_message(said.id)
    assert {str(one.emoji): one.count for one in fetched.reactions} == {UP: 1, "<:carrot:7>": 1}
    await server.react(message, ada, UP)
    fetched = await channel.fetch_message(said.id)
    givers = {user.id async for user in fetched.reactions[0].users()}
    assert givers == {client.application_id, ada.id}
    await said.remove_reaction(UP, client.user)  # type: ignore[arg-type] # logged in by now
    await server.clear_emoji(message, UP)
    await server.clear_reactions(message)
    await server.wait_for(lambda one: "none" in client.signs)
    assert client.signs == [
        f"+{UP}", f"+{UP}", "+<:carrot:7>", f"-{UP}", f"+{UP}", f"-{UP}", f"no {UP}", "none",
    ]
    with pytest.raises(discord.HTTPException) as refused:
        await channel.send("x" * 2001)
    assert refused.value.code == 50035 and "2000 or fewer" in refused.value.text
    for send, code in (
        (channel.send(" "), 50006), (channel.fetch_message(5), 10008),
        (said.edit(content=""), 50006), (client.fetch_channel(5), 10003),
    ):
        with pytest.raises(discord.HTTPException) as refused:
            await send
        assert refused.value.code == code
    others = channel.get_partial_message((await server.say(place, ada, "mine")).id)
    with pytest.raises(discord.Forbidden) as forbidden:
        await others.edit(content="yours")
    assert forbidden.value.code == 50005
    place.deny("send_messages")
    with pytest.raises(discord.Forbidden) as forbidden:
        await channel.send("let me")
    assert forbidden.value.code == 50013
    place.deny("view_channel")
    with pytest.raises(discord.Forbidden) as forbidden:
        await channel.fetch_message(said.id)
    assert forbidden.value.code == 50001


async def test_a_thread_is_opened_on_a_message_and_heard(
    server: DiscordServer, start: Start
) -> None:
    guild = server.add_guild("Rabbits")
    place, ada = guild.add_channel("general"), guild.add_member("ada")
    client = await start()
    asked = await server.say(place, ada, "what now?")
    await server.wait_for(lambda _: client.heard)
    partial = _text_channel(client, place.id).get_partial_message(asked.id)
    thread = await partial.create_thread(name="What now")
    await thread.send("this")
    opened = asked.thread
    assert opened is not None and [one.content for one in server.messages(opened)] == ["this"]
    await server.say(opened, ada, "and then?")
    await server.wait_for(lambda _: "and then?" in client.heard)
    known = client.get_channel(opened.id)
    assert isinstance(known, discord.Thread) and known.me is not None


async def test_a_command_is_put_completed_deferred_and_answered(
    server: DiscordServer, start: Start
) -> None:
    guild = server.add_guild("Rabbits")
    place, ada = guild.add_channel("general"), guild.add_member("ada")
    client = await start()
    await client.tree.sync()
    assert [command["name"] for command in server.commands] == ["learn"]
    choices = await server.autocomplete(place, ada, "learn try", {"version": "v"})
    assert [choice["value"] for choice in choices] == ["v1", "v2"]
    asked = await server.slash(place, ada, "learn try", {"version": "v2"})
    await server.wait_for(lambda _: asked.followups)
    assert asked.deferred and asked.ephemeral and len(asked.edits) == 2
    assert asked.texts == ["tried v2", "anything else?"]
    assert server.messages(place) == []
    with pytest.raises(LookupError, match="only try"):
        await server.slash(place, ada, "learn fly")
    with pytest.raises(ValueError, match="cannot be sent without version"):
        await server.slash(place, ada, "learn try")


async def test_a_button_is_pressed_and_its_message_changes(
    server: DiscordServer, start: Start
) -> None:
    guild = server.add_guild("Rabbits")
    place, ada = guild.add_channel("general"), guild.add_member("ada")
    client = await start()
    await _text_channel(client, place.id).send("how was it?", view=Pressed())
    message = server.messages(place)[0]
    pressed = await server.press(message, ada, "good")
    await server.wait_for(lambda _: pressed.responses)
    assert message.content == "thanks" and message.components == []


async def test_an_interaction_is_answered_once_and_in_time(
    server: DiscordServer, monkeypatch: pytest.MonkeyPatch, start: Start
) -> None:
    guild = server.add_guild("Rabbits")
    place, ada = guild.add_channel("general"), guild.add_member("ada")
    client = await start()
    got: asyncio.Queue[discord.Interaction] = asyncio.Queue()
    monkeypatch.setattr(client, "on_interaction", _put(got), raising=False)
    await _text_channel(client, place.id).send("?", view=_button("other"))
    message = server.messages(place)[0]
    await server.press(message, ada, "other")
    interaction = await got.get()
    await interaction.response.send_message("first")
    interaction.response._response_type = None
    with pytest.raises(discord.HTTPException) as refused:
        await interaction.response.send_message("second")
    assert refused.value.code == 40060
    late = await server.press(message, ada, "other")
    late.began -= 4
    interaction = await got.get()
    with pytest.raises(discord.NotFound) as unknown:
        await interaction.response.send_message("too late")
    assert unknown.value.code == 10062


async def test_what_was_missed_between_two_connections_comes_exactly_once(
    server: DiscordServer, start: Start
) -> None:
    guild = server.add_guild("Rabbits")
    place, ada = guild.add_channel("general"), guild.add_member("ada")
    client = await start()
    await server.say(place, ada, "before")
    await server.wait_for(lambda _: client.heard)
    await server.drop()
    await server.say(place, ada, "while away")
    await server.wait_for(lambda one: one.connection.resumes and len(client.heard) == 2)
    await server.drop(4000)
    await server.say(place, ada, "away again")
    await server.wait_for(lambda _: len(client.heard) == 3)
    await server.request_reconnect()
    await server.wait_for(lambda one: len(one.connection.resumes) == 3)
    await server.say(place, ada, "after")
    await server.wait_for(lambda _: "after" in client.heard)
    assert client.heard == ["before", "while away", "away again", "after"]
    assert len(server.connection.identifies) == 1 and client.ready_times == 1


async def test_an_invalid_session_begins_anew_and_what_was_missed_is_lost(
    server: DiscordServer, start: Start
) -> None:
    guild = server.add_guild("Rabbits")
    place, ada = guild.add_channel("general"), guild.add_member("ada")
    client = await start()
    client.is_up.clear()
    await server.invalidate_session()
    await server.wait_for(lambda one: len(one.connection.identifies) == 2)
    await asyncio.wait_for(client.is_up.wait(), 10)
    await server.drop(4009)
    await server.say(place, ada, "lost")
    await server.wait_for(lambda one: len(one.connection.identifies) == 3)
    await server.ready()
    await server.say(place, ada, "heard")
    await server.wait_for(lambda _: client.heard)
    assert client.heard == ["heard"]


async def test_events_come_late_reordered_and_twice_on_order(
    server: DiscordServer, start: Start
) -> None:
    guild = server.add_guild("Rabbits")
    place, ada = guild.add_channel("general"), guild.add_member("ada")
    client = await start()
    server.hold_events()
    await server.say(place, ada, "one")
    await server.say(place, ada, "two")
    await server.release_events(order="reversed")
    await server.duplicate_next_event()
    await server.say(place, ada, "three")
    await server.say(place, ada, "four")
    await server.wait_for(lambda _: "four" in client.heard)
    assert client.heard == ["two", "one", "three", "three", "four"]


def test_what_is_about_one_message_keeps_its_order_in_any_other() -> None:
    events = [
        Event(name, {"message_id": message}, None)
        for name in ("give", "take", "give again") for message in ("1", "2", "3")
    ]
    mixed = shuffled(events, random.Random(0))
    assert mixed != events
    for message in ("1", "2", "3"):
        told = [event.name for event in mixed if event.data["message_id"] == message]
        assert told == ["give", "take", "give again"]


async def test_failures_are_waited_for_and_an_answer_that_was_lost_is_not_said_twice(
    server: DiscordServer, start: Start
) -> None:
    guild = server.add_guild("Rabbits")
    place = guild.add_channel("general")
    channel = _text_channel(await start(), place.id)
    server.fail_next("POST", "/messages$", status=429, retry_after=0.02)
    await channel.send("taken in the end")
    assert server.rate_limited == 1
    server.fail_next("POST", "/messages$", status=502, taken=True)
    message = await channel.send("once", nonce="n2")
    assert [one.content for one in server.messages(place)] == ["taken in the end", "once"]
    server.edit_limit = (2, 0.2)
    for text in ("a", "b", "c"):
        await message.edit(content=text)
    assert server.messages(place)[-1].versions == ["once", "a", "b", "c"]
    server.fail_next("PATCH", "/messages/", status=403, code=50013)
    with pytest.raises(discord.Forbidden, match="Missing Permissions"):
        await message.edit(content="d")


async def test_reading_messages_unasked_for_ends_with_the_intent_that_is_missing(
    server: DiscordServer,
) -> None:
    server.message_content = False
    async with Listener() as client:
        with pytest.raises(discord.PrivilegedIntentsRequired):
            await client.start(TOKEN)


async def test_a_wrong_token_is_refused_at_the_login(server: DiscordServer) -> None:
    async with Listener() as client:
        with pytest.raises(discord.LoginFailure):
            await client.start("another")


async def test_a_session_that_missed_more_than_is_kept_cannot_be_resumed(
    server: DiscordServer, start: Start
) -> None:
    server.connection.kept = 2
    guild = server.add_guild("Rabbits")
    place, ada = guild.add_channel("general"), guild.add_member("ada")
    client = await start()
    await server.drop()
    for text in ("one", "two", "three"):
        await server.say(place, ada, text)
    await server.wait_for(lambda one: len(one.connection.identifies) == 2)
    assert client.heard == []


async def test_waiting_in_vain_tells_what_happened_instead(server: DiscordServer) -> None:
    with pytest.raises(TimeoutError, match="connected: False.*the last requests: none"):
        await server.wait_for(lambda one: one.requests, timeout=0.01)


def _text_channel(client: discord.Client, number: int) -> discord.TextChannel:
    channel = client.get_channel(number)
    assert isinstance(channel, discord.TextChannel)
    return channel


def _button(custom_id: str) -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    view.add_item(discord.ui.Button(label="?", custom_id=custom_id))
    return view


def _put(
    queue: asyncio.Queue[discord.Interaction],
) -> Callable[[discord.Interaction], Awaitable[None]]:
    async def put(interaction: discord.Interaction) -> None:
        await queue.put(interaction)

    return put
