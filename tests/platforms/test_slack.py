"""Rapport on Slack: the unmodified library against a server that speaks the protocol.

The app has the scopes and the subscriptions of its own manifest and no others, so that
every test here also says that they are enough.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from bot.admission import EMPTY_ANSWER
from bot.app import App, run_platforms
from bot.config import Config, SlackConfig
from bot.errors import ConfigError
from bot.platforms.slack import SlackPlatform, commands, socket_mode
from bot.platforms.slack.feedback import ACTION
from bot.platforms.slack.manifest import COMMAND, EVENTS, SCOPES
from bot.platforms.slack.outgoing import Reply
from bot.platforms.slack.platform import Secrets
from bot.types import ChannelKey, Exchange
from bot.types import Message as Said
from tests.fakes.slack_interactions import Answer
from tests.fakes.slack_server import SlackServer
from tests.fakes.slack_world import Channel, Message, User
from tests.platforms.conftest import config_of, running, until

BOT, APP, SECRET = "xoxb-secret", "xapp-secret", "signing-secret"
ENVIRONMENT = {"SLACK_BOT_TOKEN": BOT, "SLACK_APP_TOKEN": APP}
Start = Callable[..., AbstractAsyncContextManager[App]]


@pytest.fixture
async def server() -> AsyncIterator[SlackServer]:
    async with SlackServer(BOT, APP, SECRET, SCOPES, EVENTS) as server:
        yield server
        assert server.unknown_requests == []
        assert server.complaints == []


@pytest.fixture
def start(server: SlackServer, tmp_path: Path) -> Start:
    """Starts the bot on the same data each time, as after a restart."""

    @asynccontextmanager
    async def begin(
        *, learning: dict[str, object] | None = None, **slack: object
    ) -> AsyncIterator[App]:
        options = {"api_base": server.api_base, "edit_seconds": 0.2, **slack}
        secrets = ENVIRONMENT | {"SLACK_SIGNING_SECRET": SECRET}
        config = config_of(slack=options, learning=learning or {})
        async with running(config, tmp_path / "data", secrets) as bot:
            yield bot.app

    return begin


@pytest.fixture
def channel(server: SlackServer) -> Channel:
    return server.add_channel("general")


@pytest.fixture
def ada(server: SlackServer, channel: Channel) -> User:
    return server.add_user("ada")


def key_of(server: SlackServer, channel: Channel, thread: Message | None = None) -> ChannelKey:
    place = f"{channel.id}:{thread.thread_ts or thread.ts}" if thread else channel.id
    return ChannelKey("slack", server.team_id, place)


def replies(server: SlackServer, channel: Channel, thread: Message | None = None) -> list[Message]:
    found = server.messages(channel, thread=thread)
    return [message for message in found if message.bot_id == server.bot_id]


def is_finished(answer: Message) -> bool:
    return any(block["type"] == "context_actions" for block in answer.blocks)


async def answered(server: SlackServer, channel: Channel, thread: Message | None = None,
                   number: int = 1) -> Message:
    """The latest reply, once there are so many and the last is whole and has its buttons."""

    def found(_: SlackServer) -> list[Message]:
        there = replies(server, channel, thread)
        return there if len(there) == number and is_finished(there[-1]) else []

    return (await server.wait_for(found))[-1]


async def ask(
    server: SlackServer, channel: Channel, person: User, text: str
) -> tuple[Message, Message]:
    """A mention in a channel, and the answer in its thread."""
    question = await server.say(channel, person, f"<@BOT> {text}")
    return question, await answered(server, channel, question)


async def last(app: App, key: ChannelKey) -> Exchange:
    exchange = await app.conversation.last(key)
    assert exchange is not None
    return exchange


async def text_of(server: SlackServer, answer: Answer) -> str:
    """What a command or a press was answered with, to the person alone."""
    responses = await server.wait_for(lambda _: answer.responses)
    assert {response.kind for response in responses} == {"ephemeral"}
    return responses[0].text


async def voted(app: App, key: ChannelKey, values: list[int]) -> None:
    """Wait until the votes on the last reply are these."""
    exchange = await last(app, key)

    async def holds() -> bool:
        return [vote.value for vote in await app.store.votes_of(exchange.id)] == values

    await until(holds)


async def test_a_mention_that_comes_twice_is_answered_once_in_its_thread(
    server: SlackServer, start: Start, channel: Channel, ada: User
) -> None:
    async with start() as app:
        await server.ready()
        question, answer = await ask(server, channel, ada, "hello there")
        exchange = await last(app, key_of(server, channel, question))
        assert exchange.prompt[-1].content == "hello there"
        assert (answer.text, answer.thread_ts) == (exchange.reply, question.ts)
        assert not exchange.private
        kinds = [one.payload["event"]["type"] for one in server.socket.deliveries[:2]]
        assert kinds == ["app_mention", "message"]
        assert not server.unacknowledged
        assert len(replies(server, channel)) == await app.store.count_exchanges() == 1
        assert (channel.id, question.ts) not in server.statuses
        assert server.calls("assistant.threads.setStatus")


async def test_what_is_said_instead_of_an_answer_is_said_once_though_the_mention_comes_twice(
    server: SlackServer, tmp_path: Path, channel: Channel, ada: User
) -> None:
    bob = server.add_user("bob")
    config = config_of(slack={"api_base": server.api_base}, limits={"user_per_minute": 2})
    async with running(config, tmp_path / "data", ENVIRONMENT):
        await server.ready()
        texts: list[Message] = []
        for text in ("<@BOT>", "<@BOT> hello", "<@BOT> hello?"):
            question = await server.say(channel, ada, text)
            texts.append(question)
            await server.wait_for(lambda _: replies(server, channel, texts[-1]))
            await server.wait_for(lambda s: not s.unacknowledged)
        await ask(server, channel, bob, "hello")
        nothing, hello, quick = (
            [reply.text for reply in replies(server, channel, question)] for question in texts
        )
        assert nothing == [EMPTY_ANSWER]
        assert len(hello) == len(quick) == 1
        assert quick[0].startswith("You are quick!")


async def test_a_direct_message_is_answered_beside_it_and_is_private(
    server: SlackServer, start: Start, ada: User
) -> None:
    dm = server.open_dm(ada)
    async with start() as app:
        await server.ready()
        await server.say(dm, ada, "psst &lt;b&gt;")
        answer = await answered(server, dm)
        assert answer.thread_ts is None
        exchange = await last(app, key_of(server, dm))
        assert exchange.private
        assert exchange.prompt[-1].content == "psst <b>"


async def test_in_the_agent_view_a_direct_question_opens_a_thread(
    server: SlackServer, start: Start, ada: User
) -> None:
    dm = server.open_dm(ada)
    server.scopes |= {"assistant:write"}
    async with start(agent_view=True) as app:
        await server.ready()
        question = await server.say(dm, ada, "psst")
        answer = await answered(server, dm, question)
        assert answer.thread_ts == question.ts
        assert (await last(app, key_of(server, dm, question))).private


async def test_a_mention_in_a_private_channel_is_private_though_the_event_does_not_say_so(
    server: SlackServer, start: Start, ada: User
) -> None:
    closed = server.add_channel("closed", private=True)
    server.subscriptions = frozenset({"app_mention"})
    async with start() as app:
        await server.ready()
        question, _ = await ask(server, closed, ada, "hello")
        assert (await last(app, key_of(server, closed, question))).private


async def test_a_thread_goes_on_without_a_mention_and_others_are_left_alone(
    server: SlackServer, start: Start, channel: Channel, ada: User
) -> None:
    async with start() as app:
        await server.ready()
        question, _ = await ask(server, channel, ada, "hello")
        chatter = await server.say(channel, ada, "who is for lunch?")
        await server.say(channel, ada, "me", thread=chatter)
        await server.say(channel, ada, "how are you?", thread=question)
        await answered(server, channel, question, number=2)
        exchange = await last(app, key_of(server, channel, question))
        said = [turn.content for turn in exchange.prompt if turn.role == "user"]
        assert said == ["hello", "how are you?"]
        assert not replies(server, channel, chatter)
        assert len(replies(server, channel)) == 2


async def test_two_channels_and_two_threads_do_not_see_each_other(
    server: SlackServer, start: Start, channel: Channel, ada: User
) -> None:
    other, bob = server.add_channel("games"), server.add_user("bob")
    places = [(channel, ada, "one"), (other, bob, "two"), (channel, bob, "three")]
    async with start() as app:
        await server.ready()
        asked = await asyncio.gather(*(ask(server, *place) for place in places))
        for (place, _, text), (question, _) in zip(places, asked, strict=True):
            exchange = await last(app, key_of(server, place, question))
            assert [turn.content for turn in exchange.prompt if turn.role == "user"] == [text]


async def test_the_bot_answers_in_channels_it_is_told_to_and_without_threads_where_told(
    server: SlackServer, start: Start, channel: Channel, ada: User
) -> None:
    always = server.add_channel("always")
    async with start(always=[always.id], thread_replies=False) as app:
        await server.ready()
        await server.say(always, ada, "hello")
        await server.say(channel, ada, "<@BOT> hello")
        for place in (always, channel):
            assert (await answered(server, place)).thread_ts is None
            assert (await last(app, key_of(server, place))).asker == ada.id


async def test_edits_deletions_and_other_bots_get_no_answer(
    server: SlackServer, start: Start, channel: Channel, ada: User
) -> None:
    robot = server.add_user("robot")
    async with start() as app:
        await server.ready()
        question, _ = await ask(server, channel, ada, "hello")
        await server.edit(question, f"<@{server.bot.id}> hello again")
        await server.delete(question)
        event = {"type": "message", "user": robot.id, "bot_id": "B7", "text": "<@BOT> hi"}
        await server.socket.event({
            "team_id": server.team_id, "type": "event_callback", "event_id": "Ev0",
            "event": {**event, "channel": channel.id, "ts": server.ts(),
                      "channel_type": "channel"},
        })  # fmt: skip
        await ask(server, channel, ada, "are you there?")
        assert await app.store.count_exchanges() == 2


async def test_people_and_channels_have_names_in_what_the_model_reads(
    server: SlackServer, start: Start, channel: Channel, ada: User
) -> None:
    bob = server.add_user("bob")
    async with start() as app:
        await server.ready()
        text = f"ask <@{bob.id}> in <#C9|games> about <https://x.org/a|the page>"
        question, _ = await ask(server, channel, ada, text)
        exchange = await last(app, key_of(server, channel, question))
        assert exchange.prompt[-1].content == (
            "ask @bob in #games about the page (https://x.org/a)"
        )


async def test_a_reaction_is_a_vote_also_changed_withdrawn_and_after_a_restart(
    server: SlackServer, start: Start, channel: Channel, ada: User
) -> None:
    async with start() as app:
        await server.ready()
        question, answer = await ask(server, channel, ada, "hello")
        key = key_of(server, channel, question)
        await server.react(answer, ada, "thumbsup::skin-tone-3")
        await voted(app, key, [1])
        await server.react(answer, ada, "-1")
        await voted(app, key, [1, -1])
        await server.react(answer, ada, "tada")
        await server.unreact(answer, ada, "-1")
        await voted(app, key, [1, -1, 0, 1])  # the first sign still stands there
        await server.react(question, ada, "-1")
        given = [one.payload for one in server.socket.deliveries if one.payload["event"]["type"]
                 == "reaction_added"]
        await server.socket.event(given[1])
        await server.react(answer, server.add_user("zoe"), "-1")
        await voted(app, key, [1, -1, 0, 1, -1])
    async with start() as app:
        await server.ready()
        await server.react(answer, server.add_user("bob"), "+1")
        await voted(app, key, [1, -1, 0, 1, -1, 1])


async def test_what_people_signed_while_the_bot_was_away_counts_after_its_start(
    server: SlackServer, start: Start, channel: Channel, ada: User
) -> None:
    async with start() as app:
        await server.ready()
        question, answer = await ask(server, channel, ada, "hello")
        await server.react(answer, ada, "+1")
        await voted(app, key_of(server, channel, question), [1])
    answer.reactions = {"-1": [server.add_user("bob").id]}
    async with start() as app:
        key = key_of(server, channel, question)
        exchange = await last(app, key)

        async def settled() -> bool:
            votes = await app.store.current_votes_on(exchange.id)
            return {vote.value for vote in votes if vote.value} == {-1}

        await until(settled)


async def test_the_buttons_under_a_reply_vote_for_it_and_for_none_of_another_channel(
    server: SlackServer, start: Start, channel: Channel, ada: User
) -> None:
    async with start() as app:
        await server.ready()
        question, answer = await ask(server, channel, ada, "hello")
        elsewhere, other = await ask(server, server.add_channel("games"), ada, "hello")
        key = key_of(server, channel, question)
        exchange = await last(app, key)
        await server.press(answer, ada, ACTION, feedback="positive")
        await voted(app, key, [1])
        await server.press(answer, ada, ACTION, feedback="negative")
        await voted(app, key, [1, -1])
        forged = await server.press(other, ada, ACTION, f"up:{exchange.id}", feedback="positive")
        told = await text_of(server, forged)
        assert told == f"There is no reply {exchange.id} in this channel"
        await voted(app, key, [1, -1])
        await voted(app, key_of(server, other.channel, elsewhere), [])


async def test_commands_are_answered_to_the_asker_alone_with_the_powers_they_have(
    server: SlackServer, start: Start, channel: Channel, ada: User
) -> None:
    owner = server.add_user("olga", is_owner=True)

    async def run(person: User, text: str) -> str:
        answer = await server.command(channel, person, COMMAND, text)
        return await text_of(server, answer)

    async with start() as app:
        await server.ready()
        assert "*serving*: base" in await run(ada, "status")
        assert await run(ada, "learn retrain") == "Only the bot's operators can do that."
        assert "votes since" in await run(owner, "learn status")
        assert await run(ada, "persona Be a pirate.") == (
            "Only those who look after this server can change who I am here."
        )
        assert "who I am here" in await run(owner, "persona Be a pirate.")
        assert "Did you mean" in await run(ada, "statsu")
        for asked in ("", "help"):
            shown = await run(ada, asked)
            assert "*/rapport why*" in shown and "/rapport learn" not in shown
        question, _ = await ask(server, channel, ada, "hello")
        assert (await last(app, key_of(server, channel, question))).prompt[0].content == (
            "Be a pirate."
        )
        assert "👍 on reply 1" in await run(ada, "up")
        await voted(app, key_of(server, channel, question), [1])
        assert "What the model saw" in await run(ada, "why")


async def test_an_answer_that_is_too_long_for_a_command_ends_with_a_word_about_it(
    server: SlackServer, start: Start, channel: Channel, ada: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(commands, "LIMIT", 128)
    async with start():
        await server.ready()
        answer = await server.command(channel, ada, COMMAND, "help")
        responses = await server.wait_for(
            lambda _: answer.responses if len(answer.responses) == 5 else []
        )
        assert responses[-1].text.endswith("[… and more than Slack lets me say]")


async def test_those_named_in_the_configuration_own_the_bot_and_nobody_else(
    server: SlackServer, tmp_path: Path, channel: Channel, ada: User
) -> None:
    owner = server.add_user("olga", is_owner=True)
    config = config_of(
        slack={"api_base": server.api_base}, permissions={"users": {"admin_ids": [ada.id]}}
    )
    async with running(config, tmp_path / "data", ENVIRONMENT):
        await server.ready()
        for person, allowed in ((ada, True), (owner, False)):
            answer = await server.command(channel, person, COMMAND, "learn status")
            assert ("votes since" in await text_of(server, answer)) is allowed


async def test_the_home_tab_welcomes_everybody_and_shows_owners_the_status(
    server: SlackServer, start: Start, ada: User
) -> None:
    owner = server.add_user("olga", is_owner=True)
    async with start():
        await server.ready()
        for person in (ada, owner):
            await server.open_home(person)
        await server.wait_for(lambda s: len(s.views) == 2)
        views = {view.user: str(view.blocks) for view in server.views}
        for person, shown in ((ada, False), (owner, True)):
            assert ("serving" in views[person.id]) is shown
            assert "*Rapport*" in views[person.id]


async def test_a_reply_that_names_everybody_pings_nobody(
    server: SlackServer, channel: Channel
) -> None:
    client = AsyncWebClient(BOT, base_url=server.api_base)
    reply = Reply(client, channel.id, None)
    for text in ("<!channel> & <@U123> <!here|x> [a](https://x.org/<@U1>) `<!everyone>`",
                 "<" * 3800, "&" * 3800):
        message = await reply.post("first")
        await reply.edit(message, text)
        await reply.offer(7)
        posted = channel.messages[message]
        shown = [posted.text, *(b["text"]["text"] for b in posted.blocks if "text" in b)]
        assert len(shown) > 1
        for part in shown:
            assert re.findall(r"<(?!https?://)", part) == []
        assert all(b["text"]["verbatim"] for b in posted.blocks if "text" in b)
    for request in server.calls("chat.postMessage") + server.calls("chat.update"):
        assert request.ok, request.answer
        assert (request.arguments["parse"], request.arguments["link_names"]) == ("none", False)
    assert all(not request.arguments["unfurl_links"] for request in
               server.calls("chat.postMessage"))


async def test_a_redelivered_event_and_a_new_connection_bring_no_second_answer(
    server: SlackServer, start: Start, channel: Channel, ada: User
) -> None:
    async with start() as app:
        await server.ready()
        server.redeliver_next(2)
        question, answer = await ask(server, channel, ada, "hello")
        await server.disconnect()
        await server.wait_for(lambda s: s.socket.hellos == 2 and s.socket.usable)
        server.redeliver_next(1)
        await server.react(answer, ada, "+1")
        await voted(app, key_of(server, channel, question), [1])
        event = server.socket.deliveries[0].payload
        await server.socket.event(event)
        await ask(server, channel, ada, "are you there?")
        await server.wait_for(lambda s: not s.unacknowledged)
        assert await app.store.count_exchanges() == len(replies(server, channel)) == 2
    async with start() as app:
        await server.ready()
        await server.socket.event(event)
        await ask(server, channel, ada, "and now?")
        assert await app.store.count_exchanges() == len(replies(server, channel)) == 3


async def test_what_was_asked_before_a_restart_is_answered_after_it_unless_long_ago(
    server: SlackServer, start: Start, channel: Channel, ada: User
) -> None:
    async with start() as app:
        await server.ready()
        question, _ = await ask(server, channel, ada, "hello")
        key = key_of(server, channel, question)
        server.hold_events()
        for thread, age in ((question, 0), (None, 3600)):
            message = await server.say(channel, ada, "still there?", thread=thread)
            time = datetime.now(UTC) - timedelta(seconds=age)
            place = key_of(server, channel, thread)
            said = Said(place, ada.id, "still there?", message.ts, time)
            assert await app.conversation.hear(said) is not None
    async with start() as app:
        await answered(server, channel, question, number=2)
        assert (await last(app, key)).prompt[-1].content == "still there?"
        assert await app.conversation.unanswered("slack") == []
        assert len(replies(server, channel)) == 2


async def test_a_limit_of_slack_is_waited_for_and_a_refusal_is_logged_with_what_to_do(
    server: SlackServer, start: Start, channel: Channel, ada: User,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with start() as app:
        await server.ready()
        server.fail_next("chat.postMessage", "ratelimited")
        question, _ = await ask(server, channel, ada, "hello")
        server.fail_next("chat.postMessage", "restricted_action", times=2)
        await server.say(channel, ada, "and now?", thread=question)
        await server.wait_for(lambda s: sum(not r.ok for r in s.calls("chat.postMessage")) == 3)

        async def logged() -> bool:
            return "an admin keeps apps from writing there" in caplog.text

        await until(logged)
        await server.say(channel, ada, "go on", thread=question)
        await answered(server, channel, question, number=2)
        assert await app.store.count_exchanges() == 3


async def refusal(server: SlackServer, bot: str = BOT, app: str = APP) -> str:
    """How a platform ends that was given these tokens; it comes to no conversation."""
    nobody = cast(Any, SimpleNamespace(ratings=None, changes=None))
    with pytest.raises(ConfigError) as caught:
        config = Config(slack=SlackConfig(api_base=server.api_base))
        async with asyncio.timeout(10):
            await SlackPlatform(Secrets(bot, app), config, nobody, nobody, nobody).run()
    assert not re.search(r"x(oxb|app)-\w", str(caught.value))
    return str(caught.value)


async def test_a_wrong_or_missing_token_says_where_the_right_one_is(server: SlackServer) -> None:
    wrong = await refusal(server, bot="xoxb-other")
    assert "SLACK_BOT_TOKEN (invalid_auth)" in wrong and "https://api.slack.com/apps" in wrong
    wrong = await refusal(server, app="xapp-other")
    assert "SLACK_APP_TOKEN (invalid_auth)" in wrong and "connections:write" in wrong
    assert "SLACK_APP_TOKEN (not_allowed_token_type)" in await refusal(server, app=BOT)
    assert "SLACK_APP_TOKEN is not set" in await refusal(server, app="")


async def test_missing_scopes_are_named_with_the_page_that_adds_them() -> None:
    scopes = SCOPES - {"users:read", "reactions:read"}
    async with SlackServer(BOT, APP, SECRET, scopes) as server:
        told = await refusal(server)
    assert "scopes reactions:read, users:read" in told and "rapport slack-manifest" in told


async def test_the_whole_bot_ends_with_the_error_of_its_platform(
    server: SlackServer, tmp_path: Path
) -> None:
    config = config_of(slack={"api_base": server.api_base})
    with pytest.raises(ConfigError, match=r"SLACK_BOT_TOKEN \(invalid_auth\)"):
        await run_platforms(config, tmp_path, ENVIRONMENT | {"SLACK_BOT_TOKEN": "xoxb-other"})


async def test_a_socket_that_cannot_be_opened_is_tried_at_another_address(
    server: SlackServer, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FirstIsSpent(set[str]):
        given = 0

        def add(self, ticket: str) -> None:
            self.given += 1
            if self.given > 1:
                super().add(ticket)

    monkeypatch.setattr(socket_mode, "LOOK_AGAIN", 0.1)
    server.tickets = FirstIsSpent()
    async with start():
        await server.ready()
        assert len(server.calls("apps.connections.open")) == 2


async def test_a_network_that_comes_back_is_waited_for(
    server: SlackServer, start: Start, channel: Channel, ada: User
) -> None:
    server.fail_next("auth.test", "service_unavailable", status=503)
    async with start():
        await server.ready()
        await ask(server, channel, ada, "hello")


async def test_over_http_signed_requests_are_served_and_others_are_not(
    server: SlackServer, start: Start, channel: Channel, ada: User,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "bot.platforms.slack")
    async with start(mode="http", http_port=0) as app:

        async def listening() -> bool:
            return "listening on" in caplog.text

        await until(listening)
        found = re.search(r"listening on (\S+)", caplog.text)
        assert found is not None
        server.request_url = found[1]
        assert await server.verify_url(found[1])
        question, answer = await ask(server, channel, ada, "hello")
        await server.react(answer, ada, "+1")
        await voted(app, key_of(server, channel, question), [1])
        await server.press(answer, ada, ACTION, feedback="negative")
        await voted(app, key_of(server, channel, question), [1, -1])
        told = await server.command(channel, ada, COMMAND, "status")
        assert "serving" in await text_of(server, told)
        server.poster.delays = ()
        event = {"type": "message", "channel": channel.id, "channel_type": "channel",
                 "user": ada.id, "ts": server.ts(), "text": f"<@{server.bot.id}> hi"}
        forged = await server.post_event(found[1], event, secret="another")
        assert forged.status == 401
        assert await app.store.count_exchanges() == 1


async def test_the_first_vote_asks_once_and_in_private_and_mydata_hands_everything_out(
    server: SlackServer, start: Start, channel: Channel, ada: User
) -> None:
    async with start(learning={"platform_terms_acknowledged": True}) as app:
        await server.ready()
        for number in (1, 2):
            question, answer = await ask(server, channel, ada, f"my word is xyzzy {number}")
            await server.react(answer, ada, "+1")
            await voted(app, key_of(server, channel, question), [1])
        await server.wait_for(lambda _: server.ephemerals)
        assert len(server.ephemerals) == 1
        assert "/rapport mydata consent yes" in server.ephemerals[0].text

        agreed = await server.command(channel, ada, COMMAND, "mydata consent yes")
        await text_of(server, agreed)
        assert await app.store.consent_of("slack", ada.id)
        await text_of(server, await server.command(channel, ada, COMMAND, "mydata get"))
        await server.wait_for(lambda _: any(file.content for file in server.files.values()))
        (file,) = server.files.values()
        assert file.content is not None
        assert b"xyzzy 2" in file.content
