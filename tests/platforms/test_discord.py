"""Rapport on Discord: the unmodified library against a server that speaks the protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.app import App
from bot.errors import ConfigError
from bot.types import BASE, ChannelKey, Exchange, Sampling, Timings, Turn, Vote, VoteValue
from bot.types import Message as Said
from tests.fakes.discord_messages import Message
from tests.fakes.discord_server import DiscordServer
from tests.fakes.discord_world import Channel, Guild, User
from tests.platforms.conftest import Running, config_of, running, until

TOKEN = "secret-token"
EPHEMERAL = 64
"""The flag of a message that only one person sees."""
Start = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture
async def server() -> AsyncIterator[DiscordServer]:
    async with DiscordServer(TOKEN) as server:
        yield server
        assert server.unknown_requests == []


@pytest.fixture
def start(server: DiscordServer, tmp_path: Path) -> Start:
    """Starts the bot on the same data each time, as after a restart."""

    def begin(
        token: str = TOKEN, *, learning: dict[str, object] | None = None, **discord: object
    ) -> AbstractAsyncContextManager[Running]:
        options = {"api_base": server.api_base, "edit_seconds": 0.2, **discord}
        config = config_of(discord=options, learning=learning or {})
        return running(config, tmp_path / "data", {"DISCORD_BOT_TOKEN": token})

    return begin


@pytest.fixture
def guild(server: DiscordServer) -> Guild:
    return server.add_guild("Rabbits")


@pytest.fixture
def channel(guild: Guild) -> Channel:
    return guild.add_channel("general")


@pytest.fixture
def ada(guild: Guild) -> User:
    return guild.add_member("ada")


def replies(server: DiscordServer, channel: Channel) -> list[Message]:
    return [one for one in server.messages(channel) if one.author == server.bot]


def key_of(channel: Channel, guild: Guild | None) -> ChannelKey:
    return ChannelKey("discord", str(guild.id) if guild else "direct", str(channel.id))


async def ask(
    server: DiscordServer, app: App, channel: Channel, person: User, text: str
) -> Message:
    """Say something, and wait until the answer is posted and on record."""
    before = len(replies(server, channel))
    await server.say(channel, person, text)
    await server.wait_for(lambda _: len(replies(server, channel)) > before)
    answer = replies(server, channel)[-1]
    guild = channel.guild.id if channel.guild else "direct"
    key = ChannelKey("discord", str(guild), str(channel.id))
    await until(lambda: app.store.exchange_of(key, str(answer.id)))
    return answer


def read_again(server: DiscordServer) -> int:
    """How often the bot has read what was said in channels."""
    return sum(
        one.method == "GET" and one.path.partition("?")[0].endswith("/messages")
        for one in server.requests
    )


async def ended(bot: AbstractAsyncContextManager[Running]) -> None:
    """Let the bot run until it ends by itself."""
    async with bot as here:
        await asyncio.wait([here.task], timeout=20)


async def votes_on(app: App, guild: Guild, answer: Message) -> list[int]:
    key = key_of(answer.channel, guild)
    exchange = await app.store.exchange_of(key, str(answer.id))
    assert exchange is not None
    return [vote.value for vote in await app.store.votes_of(exchange)]


async def voted(app: App, guild: Guild, answer: Message, values: list[int]) -> None:
    """Wait until the votes on a reply are these."""
    async def holds() -> bool:
        return await votes_on(app, guild, answer) == values

    await until(holds)


async def test_people_in_two_servers_talk_at_once_and_each_channel_has_its_own_history(
    server: DiscordServer, start: Start, guild: Guild, channel: Channel, ada: User
) -> None:
    other = server.add_guild("Hares")
    bob = other.add_member("bob")
    places = [(channel, ada), (guild.add_channel("games"), ada), (other.add_channel("x"), bob)]
    async with start() as here:
        app = here.app
        await server.ready()
        for text in ("<@BOT> hello there", "<@BOT> how are you?"):
            await asyncio.gather(
                *(ask(server, app, place, person, text) for place, person in places)
            )
        for place, _ in places:
            last = await app.store.last_exchange(key_of(place, place.guild))
            assert last is not None
            said = [turn.content for turn in last.prompt if turn.role == "user"]
            assert said == ["hello there", "how are you?"]
            first, second = replies(server, place)
            assert (first.content, second.content) == (last.prompt[2].content, last.reply)
    assert server.typing


async def test_the_bot_answers_mentions_direct_messages_replies_and_channels_it_is_told_to(
    server: DiscordServer, start: Start, guild: Guild, channel: Channel, ada: User
) -> None:
    quiet, open_to_all = guild.add_channel("quiet"), guild.add_channel("always")
    direct = server.open_dm(ada)
    machine = guild.add_member(server.add_user("machine", bot=True))
    async with start(always=[str(open_to_all.id)]) as here:
        app = here.app
        await server.ready()
        first = await ask(server, app, channel, ada, "<@BOT> hello")
        await ask(server, app, direct, ada, "hello")
        await ask(server, app, open_to_all, ada, "hello everybody")
        await server.say(quiet, ada, "nobody is asked here")
        await server.say(channel, machine, "<@BOT> hello from a machine")
        await server.say(channel, ada, "and then?", reply_to=first)
        await server.wait_for(lambda _: len(replies(server, channel)) == 2)
        assert replies(server, quiet) == []


async def test_a_thread_the_bot_is_in_goes_on_without_a_mention(
    server: DiscordServer, start: Start, guild: Guild, channel: Channel, ada: User
) -> None:
    async with start(thread_per_mention=True) as here:
        app = here.app
        await server.ready()
        question = await server.say(channel, ada, "<@BOT> what do you like?")
        await server.wait_for(lambda _: question.thread)
        assert question.thread is not None
        thread = question.thread
        assert thread.name == "what do you like?"
        await server.wait_for(lambda _: replies(server, thread))
        await ask(server, app, thread, ada, "and why?")
        assert replies(server, channel) == []


async def test_a_vote_is_given_changed_and_taken_back(
    server: DiscordServer, start: Start, guild: Guild, channel: Channel, ada: User
) -> None:
    bob = guild.add_member("bob")
    async with start() as here:
        app = here.app
        await server.ready()
        answer = await ask(server, app, channel, ada, "<@BOT> hello")
        await server.react(answer, ada, "👍🏽")
        await voted(app, guild, answer, [1])
        await server.react(answer, ada, "👎", burst=True)
        await voted(app, guild, answer, [1, -1])
        await server.unreact(answer, ada, "👍🏽")
        await server.unreact(answer, ada, "👎")
        await voted(app, guild, answer, [1, -1, 0])
        await server.react(answer, bob, "🎉")
        await server.react(answer, bob, "❤️")
        await voted(app, guild, answer, [1, -1, 0, 1])
        await server.clear_reactions(answer)
        await voted(app, guild, answer, [1, -1, 0, 1, 0])


async def test_a_reaction_to_a_reply_that_is_still_being_written_is_not_lost(
    server: DiscordServer, start: Start, guild: Guild, channel: Channel, ada: User
) -> None:
    async with start() as here:
        app = here.app
        await server.ready()
        await server.say(channel, ada, "<@BOT> hello")
        await server.wait_for(lambda _: replies(server, channel))
        answer = replies(server, channel)[0]
        await server.react(answer, ada, "👍")
        await until(app.store.current_votes)
        assert await votes_on(app, guild, answer) == [1]


async def test_buttons_vote_and_go_on_working_after_a_restart(
    server: DiscordServer, start: Start, guild: Guild, channel: Channel, ada: User
) -> None:
    async with start(buttons=True) as here:
        app = here.app
        await server.ready()
        answer = await ask(server, app, channel, ada, "<@BOT> hello")
        await server.wait_for(lambda _: answer.components)
        asked = await server.press(answer, ada, "rapport:up:1")
        await server.wait_for(lambda _: asked.followups)
        assert await votes_on(app, guild, answer) == [1]
        assert asked.followups[0].flags & EPHEMERAL
    async with start(buttons=True) as here:
        app = here.app
        await server.ready()
        await server.press(answer, ada, "rapport:down:1")
        await voted(app, guild, answer, [1, -1])


async def test_nothing_the_model_says_can_ping(
    server: DiscordServer, start: Start, channel: Channel, ada: User
) -> None:
    async with start() as here:
        app = here.app
        await server.ready()
        answer = await ask(server, app, channel, ada, "<@BOT> say @everyone and <@&1> loud")
        sent = answer.allowed_mentions
        assert sent is not None
        assert sent["parse"] == []
        assert not sent.get("replied_user")


async def test_a_text_file_is_read_with_the_message_and_another_is_named(
    server: DiscordServer, start: Start, guild: Guild, channel: Channel, ada: User
) -> None:
    files = [
        ("notes.txt", b"The fox is red." * 400, "text/plain"),
        ("cat.png", b"\x89PNG", "image/png"),
    ]
    async with start(attachment_characters=40) as here:
        app = here.app
        await server.ready()
        await server.say(channel, ada, "<@BOT> look", attachments=files)
        await server.wait_for(lambda _: replies(server, channel))
        (turn,) = await app.store.history(key_of(channel, guild), 1, before=2)
        assert turn.content.startswith("look\n[attached file notes.txt:\nThe fox is red.")
        assert turn.content.endswith("[…]]\n[attached file cat.png]")
        assert len(turn.content) < 120


async def test_a_command_is_answered_to_the_asker_alone_and_learn_is_for_operators(
    server: DiscordServer, start: Start, channel: Channel, ada: User
) -> None:
    async with start():
        await server.ready()
        status = await server.slash(channel, ada, "status")
        refused = await server.slash(channel, ada, "learn retrain")
        owners = await server.slash(channel, server.owner, "learn retrain")
        for asked in (status, refused, owners):
            await server.wait_for(lambda _, asked=asked: asked.texts)
            assert asked.ephemeral
    assert "rapport-tiny" in status.texts[0]
    assert refused.texts == ["Only the bot's operators can do that."]
    assert "not enough to learn from" in owners.texts[0]


async def test_only_those_who_look_after_a_server_change_who_the_bot_is_there(
    server: DiscordServer, start: Start, guild: Guild, channel: Channel, ada: User
) -> None:
    keeper = guild.add_member("keeper", permissions=("manage_guild",))
    async with start() as here:
        app = here.app
        await server.ready()
        for person in (ada, keeper):
            asked = await server.slash(channel, person, "persona", {"text": f"I am {person.name}"})
            await server.wait_for(lambda _, asked=asked: asked.texts)
        assert await app.store.persona(key_of(channel, guild)) == "I am keeper"


async def test_after_a_lost_connection_nothing_is_answered_twice_and_no_vote_is_missed(
    server: DiscordServer, start: Start, guild: Guild, channel: Channel, ada: User
) -> None:
    async with start() as here:
        app = here.app
        await server.ready()
        answer = await ask(server, app, channel, ada, "<@BOT> hello")
        await server.duplicate_next_event(2)
        await ask(server, app, channel, ada, "<@BOT> twice?")
        await server.drop(4000)
        await server.say(channel, ada, "<@BOT> while you were away")
        await server.wait_for(lambda _: len(replies(server, channel)) == 3)
        await server.drop(4009)
        await server.react(answer, ada, "👍")
        await voted(app, guild, answer, [1])
        assert len(replies(server, channel)) == 3


async def test_no_vote_is_missed_under_a_reply_that_grows_while_the_connection_is_lost(
    server: DiscordServer, start: Start, guild: Guild, channel: Channel, ada: User
) -> None:
    await server.say(channel, ada, "anybody here?")
    async with start() as here:
        await server.ready()
        await server.wait_for(lambda _: read_again(server))
        edits = server.hold_requests("PATCH")
        await server.say(channel, ada, "<@BOT> tell me a long story about the sea")
        await edits.reached.wait()
        answer = replies(server, channel)[-1]
        looked = read_again(server)
        await server.invalidate_session()
        await server.react(answer, ada, "👍")
        await server.wait_for(lambda _: read_again(server) > looked)
        edits.open()
        await until(here.app.store.current_votes)
        assert await votes_on(here.app, guild, answer) == [1]


async def test_what_was_asked_before_a_restart_is_answered_after_it(
    server: DiscordServer, start: Start, guild: Guild, channel: Channel, ada: User
) -> None:
    async with start() as here:
        app = here.app
        await server.ready()
        await ask(server, app, channel, ada, "<@BOT> hello")
        message = await server.say(channel, ada, "still there?")
        said = Said(
            key_of(channel, guild), str(ada.id), "still there?", str(message.id), datetime.now(UTC)
        )
        assert await app.conversation.hear(said) is not None
    async with start() as here:
        app = here.app
        await server.wait_for(lambda _: len(replies(server, channel)) == 2)
        answer = replies(server, channel)[-1]
        await until(lambda: app.store.exchange_of(key_of(channel, guild), str(answer.id)))
        last = await app.store.last_exchange(key_of(channel, guild))
        assert last is not None
        assert last.prompt[-1].content == "still there?"


async def test_a_bot_that_was_stopped_while_it_connected_does_nothing_afterwards(
    server: DiscordServer, start: Start, channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    def late() -> list[asyncio.Task[object]]:
        return [task for task in asyncio.all_tasks() if "_delay_ready" in repr(task)]

    async def connecting() -> bool:
        return bool(late())

    async with start():
        await until(connecting)
        saying_ready = late()
    await asyncio.wait(saying_ready)
    events = [task for task in asyncio.all_tasks() if "on_ready" in repr(task)]
    if events:
        await asyncio.wait(events)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_wrong_token_and_a_missing_intent_say_which_switch_to_turn(
    server: DiscordServer, start: Start
) -> None:
    with pytest.raises(ConfigError, match=r"Reset Token"):
        await ended(start("another-token"))
    server.message_content = False
    with pytest.raises(ConfigError, match=r"Message Content Intent"):
        await ended(start())


async def test_without_permission_to_write_the_log_names_the_switch_and_the_bot_goes_on(
    server: DiscordServer, start: Start, guild: Guild, channel: Channel, ada: User,
    caplog: pytest.LogCaptureFixture,
) -> None:
    closed = guild.add_channel("closed")
    closed.deny("send_messages", who=server.bot)
    async with start() as here:
        app = here.app
        await server.ready()
        await server.say(closed, ada, "<@BOT> hello")
        await ask(server, app, channel, ada, "<@BOT> hello")
    assert "does not let the bot write in #closed" in caplog.text
    assert TOKEN not in caplog.text


async def test_the_first_vote_asks_once_and_in_private_and_what_is_kept_is_theirs_to_delete(
    server: DiscordServer, start: Start, guild: Guild, channel: Channel, ada: User
) -> None:
    direct = server.open_dm(ada)
    learning = {"platform_terms_acknowledged": True}
    async with start(learning=learning) as here:
        app = here.app
        await server.ready()
        for text in ("<@BOT> my word is xyzzy", "<@BOT> and you?"):
            answer = await ask(server, app, channel, ada, text)
            await server.react(answer, ada, "👍")
            await voted(app, guild, answer, [1])
        await server.wait_for(lambda _: replies(server, direct))
        (question,) = replies(server, direct)
        assert "May I learn from what you say" in question.content

        agreed = await server.slash(channel, ada, "mydata consent", {"agree": True})
        kept = await server.slash(channel, ada, "mydata get")
        await server.wait_for(lambda _: agreed.texts and len(kept.followups) == 1)
        assert kept.ephemeral
        assert b"xyzzy" in kept.followups[0].attachments[0].content
        assert await app.store.consent_of("discord", str(ada.id))

        gone = await server.slash(channel, ada, "mydata forget", {"sure": True})
        await server.wait_for(lambda _: gone.texts)
        assert await app.store.history(key_of(channel, guild)) == []
        assert await app.store.current_votes() == []
    async with start(learning=learning) as here:
        # What was forgotten still stands on Discord; a start does not hear it again.
        await server.wait_for(lambda _: read_again(server) > 0)
        await ask(server, here.app, channel, ada, "<@BOT> hello")
        turns = await here.app.store.history(key_of(channel, guild))
        assert [turn.content for turn in turns if turn.role == "user"] == ["hello"]


async def rate_many(app: App, guild: Guild, channel: Channel, person: User) -> None:
    """Put rated exchanges on record: short answers liked, long ones not."""
    template, ends = app.engine.template, app.engine.info.end_ids
    for number in range(48):
        prompt = (Turn("user", f"what do you think about the number {number}?"),)
        reply = "I like it." if number % 3 else "It is a number that many people have heard of."
        ids = (*template.encode(reply), ends[0])
        given = Exchange(
            key_of(channel, guild), str(person.id), (str(person.id),), prompt,
            tuple(template.encode(template.render(prompt))), tuple(ids), reply, "stop", BASE,
            app.engine.info.fingerprint, Sampling(), Timings(), datetime.now(UTC),
        )  # fmt: skip
        row = await app.store.add_exchange(given)
        value: VoteValue = 1 if number % 3 else -1
        await app.store.add_vote(Vote(row, str(person.id), value, "reaction", given.time))


@pytest.mark.slow
async def test_a_run_an_operator_asks_for_is_reported_to_the_verdict_while_others_talk_on(
    server: DiscordServer, start: Start, guild: Guild, channel: Channel, ada: User
) -> None:
    elsewhere = guild.add_channel("elsewhere")
    learning = {
        "platform_terms_acknowledged": True, "consent": "granted",
        "sft": {"epochs": 1, "gauge": 4}, "gate": {"canaries": 2, "anchors": 4},
    }
    async with start(learning=learning) as here:
        app = here.app
        await server.ready()
        await rate_many(app, guild, channel, ada)
        asked = await server.slash(channel, server.owner, "learn retrain")
        await server.wait_for(lambda _: asked.texts)
        assert asked.texts == ["Run 1 starts now."]
        await ask(server, app, elsewhere, ada, "<@BOT> are you still there?")

        def verdict(_: DiscordServer) -> list[str]:
            said = [one.content for one in replies(server, channel)]
            return [text for text in said if "⚖️" in text]

        (report,) = await server.wait_for(verdict, timeout=120)
        judged = await app.store.verdict("v0001")
        assert judged is not None
        assert judged["sentence"] in report
