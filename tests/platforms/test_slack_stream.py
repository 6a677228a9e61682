"""Answers that grow by Slack's own streaming, and what becomes of them where it ends."""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from bot.app import App
from bot.engine.base import Delta, Request
from bot.platforms.live import Stopped
from bot.platforms.slack import stream
from bot.platforms.slack.feedback import ACTION
from bot.platforms.slack.manifest import EVENTS, SCOPES
from bot.platforms.slack.outgoing import Reply
from bot.platforms.slack.stream import UNSEEN, Stream, harmless
from bot.types import ChannelKey, Exchange
from tests.fakes.slack_chat import CALLS
from tests.fakes.slack_server import SlackServer
from tests.fakes.slack_world import Channel, Message, User
from tests.platforms.conftest import Running, config_of, running, until
from tests.platforms.test_text import FENCE, random_text

BOT, APP = "xoxb-secret", "xapp-secret"
ENVIRONMENT = {"SLACK_BOT_TOKEN": BOT, "SLACK_APP_TOKEN": APP}
STREAMING = ("chat.startStream", "chat.appendStream", "chat.stopStream")
DANGERS = ["<!channel>", "<!here|x>", "<@U1>", "<#C1>", "@here", "@channel", "@Everyone", "<",
           "!", "@", "her", "e ", "<\\!channel>", "<&#33;here>", "tea ", "\n"]


@pytest.fixture
async def server() -> AsyncIterator[SlackServer]:
    async with SlackServer(BOT, APP, scopes=SCOPES, subscriptions=EVENTS) as server:
        yield server
        assert server.unknown_requests == server.complaints == []


@pytest.fixture
def channel(server: SlackServer) -> Channel:
    return server.add_channel("general")


@pytest.fixture
def ada(server: SlackServer, channel: Channel) -> User:
    return server.add_user("ada")


def replies(server: SlackServer, channel: Channel) -> list[Message]:
    return [one for one in server.messages(channel) if one.bot_id]


def has_buttons(message: Message) -> bool:
    return any(block["type"] == "context_actions" for block in message.blocks)


def bot(
    server: SlackServer, data: Path, **slack: object
) -> AbstractAsyncContextManager[Running]:
    options = {"api_base": server.api_base, "edit_seconds": 0.2, "stream": True, **slack}
    return running(config_of(slack=options), data, ENVIRONMENT)


async def last(app: App, key: ChannelKey) -> Exchange:
    exchange = await app.store.last_exchange(key)
    assert exchange is not None
    return exchange


async def answered(server: SlackServer, channel: Channel) -> Message:
    def whole(_: SlackServer) -> list[Message]:
        return [one for one in replies(server, channel) if has_buttons(one)]

    return (await server.wait_for(whole))[0]


async def test_an_answer_in_a_thread_is_streamed_to_its_asker_and_its_buttons_vote(
    server: SlackServer, tmp_path: Path, channel: Channel, ada: User
) -> None:
    async with bot(server, tmp_path) as here:
        await server.ready()
        question = await server.say(channel, ada, "<@BOT> hello there")
        answer = await answered(server, channel)
        assert answer.streaming == "completed"
        exchange = await last(here.app, ChannelKey("slack", server.team_id,
                                                   f"{channel.id}:{question.ts}"))
        assert answer.text == exchange.reply
        assert exchange.platform_ids == (answer.ts,)
        (begun,) = server.calls("chat.startStream")
        assert begun.arguments["recipient_user_id"] == ada.id
        assert begun.arguments["recipient_team_id"] == server.team_id
        assert server.calls("chat.postMessage") == server.calls("chat.update") == []

        await server.press(answer, ada, ACTION, feedback="negative")

        async def voted() -> bool:
            return [one.value for one in await here.app.store.votes_of(exchange.id)] == [-1]

        await until(voted)


async def test_where_there_is_no_thread_answers_are_edited_as_ever(
    server: SlackServer, tmp_path: Path, ada: User
) -> None:
    direct = server.open_dm(ada)
    async with bot(server, tmp_path):
        await server.ready()
        await server.say(direct, ada, "hello")
        answer = await answered(server, direct)
        assert answer.streaming is None
        assert server.calls("chat.startStream") == []


@pytest.mark.parametrize("method", STREAMING)
async def test_where_slack_refuses_a_stream_the_answer_is_edited_and_votes_find_it(
    server: SlackServer, tmp_path: Path, channel: Channel, ada: User, method: str
) -> None:
    async with bot(server, tmp_path) as here:
        await server.ready()
        error = "message_not_in_streaming_state" if method != STREAMING[0] else "channel_type"
        server.fail_next(method, error)
        question = await server.say(channel, ada, "<@BOT> hello there")
        answer = await answered(server, channel)
        exchange = await last(here.app, ChannelKey("slack", server.team_id,
                                                   f"{channel.id}:{question.ts}"))
        assert answer.text == exchange.reply
        assert exchange.platform_ids == (answer.ts,)
        assert replies(server, channel) == [answer]
        assert answer.streaming in ("completed", None)


async def test_an_answer_that_is_stopped_ends_there_and_can_be_voted_on(
    server: SlackServer, tmp_path: Path, channel: Channel, ada: User,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "bot.platforms.slack")
    async with bot(server, tmp_path) as here:
        await server.ready()
        words, real = asyncio.Semaphore(0), here.app.engine.stream

        async def slow(request: Request) -> AsyncGenerator[Delta, None]:
            """The engine, each of whose words waits until it is asked for."""
            async with aclosing(real(request)) as deltas:
                async for delta in deltas:
                    yield delta
                    await words.acquire()

        monkeypatch.setattr(here.app.engine, "stream", slow)
        question = await server.say(channel, ada, "<@BOT> tell me about the rain")
        (answer,) = await server.wait_for(lambda s: replies(s, channel))
        await server.stop_stream(answer)

        for _ in range(2):
            words.release()

        async def noticed() -> bool:
            return "stopped_by_user" in caplog.text

        await until(noticed)
        for _ in range(30):
            words.release()
        await answered(server, channel)
        exchange = await last(here.app, ChannelKey("slack", server.team_id,
                                                   f"{channel.id}:{question.ts}"))
        assert exchange.finish == "cancelled"
        assert exchange.platform_ids == (answer.ts,)
        assert exchange.reply.startswith(answer.text)
        assert replies(server, channel) == [answer]


def test_what_is_streamed_calls_nobody_however_it_is_cut() -> None:
    for seed in range(2000):
        rng = random.Random(seed)
        text = "".join(rng.choice(DANGERS) for _ in range(rng.randint(1, 12)))
        whole = harmless(text)
        assert not CALLS.search(whole), (seed, whole)
        assert not re.search(r"<[\\&]", whole), (seed, whole)
        assert whole.replace(UNSEEN, "") == text, seed
        for place in range(len(text)):
            assert whole.startswith(harmless(text[:place])), (seed, place)


@dataclass
class Desk:
    """A stream in a thread of its own, without the bot around it."""

    server: SlackServer
    channel: Channel
    now: float = 0.0
    ids: list[str] = field(default_factory=list)

    async def begin(self, ada: User) -> Stream:
        question = await self.server.say(self.channel, ada, "go on")
        place = self.channel.id, question.ts
        client = AsyncWebClient(BOT, base_url=self.server.api_base)
        asker = self.server.team_id, ada.id
        return Stream(
            client, place, asker, Reply(client, *place), self.ids.append, lambda: self.now
        )

    def texts(self, shown: Stream) -> list[str]:
        return [self.channel.messages[ts].text for ts in shown.ids]


def bare(text: str) -> str:
    """The words alone, whether they were streamed or written in Slack's own notation."""
    for escape, sign in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"), (UNSEEN, "")):
        text = text.replace(escape, sign)
    text = re.sub(r"^```\w*$", "", text, flags=re.MULTILINE)
    return re.sub(r"[<>\s]", "", text)


def grown(rng: random.Random, text: str) -> list[str]:
    """Longer and longer beginnings of a text."""
    places = sorted(rng.randrange(len(text)) for _ in range(12))
    return [text[:place] for place in places] + [text]


async def test_a_long_answer_goes_on_in_further_messages_each_sound_by_itself(
    server: SlackServer, channel: Channel, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "LONGEST", 300)
    desk = Desk(server, channel)
    for seed in range(20):
        rng = random.Random(seed)
        text, shown = random_text(rng), await desk.begin(ada)
        for part in grown(rng, text):
            await shown.show(part)
        await shown.offer(7)
        texts = desk.texts(shown)
        assert bare("\n".join(texts)) == bare(text), seed
        assert all(len(one.replace(UNSEEN, "")) <= 340 for one in texts), seed
        assert all(len(FENCE.findall(one)) % 2 == 0 for one in texts[:-1]), seed
        assert [has_buttons(channel.messages[ts]) for ts in shown.ids][-2:].count(True) == 1
    assert server.calls("chat.update") == server.calls("chat.postMessage") == []
    assert desk.ids == [one.ts for one in replies(server, channel)]


async def test_a_message_that_grows_old_is_ended_at_a_word_before_slack_ends_it(
    server: SlackServer, channel: Channel, ada: User
) -> None:
    desk = Desk(server, channel)
    shown = await desk.begin(ada)
    for text in ("one", "one tw", "one two thr", "one two three four"):
        await shown.show(text)
        desk.now += 90.0
        server.advance(90.0)
    await shown.offer(7)
    assert desk.texts(shown) == ["one two three", "four"]
    assert all(request.ok for request in server.requests)


async def test_whatever_slack_refuses_or_loses_nothing_is_lost_and_nothing_said_twice(
    server: SlackServer, channel: Channel, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "LONGEST", 300)
    monkeypatch.setattr(stream, "LIMIT", 500)
    desk = Desk(server, channel)
    for seed in range(40):
        rng = random.Random(seed)
        text, shown = random_text(rng), await desk.begin(ada)
        before = len(replies(server, channel))
        parts = grown(rng, text)
        fault = rng.randrange(len(parts))
        for place, part in enumerate(parts):
            if place == fault:
                match rng.randrange(4):
                    case 0:
                        server.advance(server.stream_lifetime)
                    case 1:
                        server.lose_next(rng.choice(STREAMING[1:]))
                    case 2:
                        server.fail_next(rng.choice(STREAMING[:1]), "internal_error")
                    case _:
                        server.fail_next(rng.choice(STREAMING[1:]), "internal_error")
            await shown.show(part)
        await shown.offer(7)
        server.web_api.losses.clear()
        server.web_api.failures.clear()
        posted = replies(server, channel)[before:]
        assert [one.ts for one in posted] == list(shown.ids), seed
        assert bare("\n".join(one.text for one in posted)) == bare(text), seed
        assert [has_buttons(one) for one in posted][-1], seed
        assert all(one.streaming != "in_progress" for one in posted), seed


async def test_what_is_said_instead_of_an_answer_leaves_nothing_of_it(
    server: SlackServer, channel: Channel, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "LONGEST", 100)
    desk = Desk(server, channel)
    shown = await desk.begin(ada)
    await shown.show("secret words " * 30)
    assert len(shown.ids) > 2
    await shown.show("I would rather not say.")
    await shown.close()
    said = [channel.messages[ts].text for ts in desk.ids]
    assert said == ["I would rather not say.", *["…"] * (len(desk.ids) - 1)]


async def test_after_a_stop_nothing_more_is_shown(
    server: SlackServer, channel: Channel, ada: User
) -> None:
    desk = Desk(server, channel)
    shown = await desk.begin(ada)
    await shown.show("one")
    await server.stop_stream(channel.messages[desk.ids[0]])
    with pytest.raises(Stopped):
        await shown.show("one two")
    await shown.offer(7)
    assert desk.texts(shown) == ["one"]
    assert has_buttons(channel.messages[desk.ids[0]])


async def test_a_message_is_not_left_open_when_an_answer_breaks_off(
    server: SlackServer, channel: Channel, ada: User
) -> None:
    desk = Desk(server, channel)
    shown = await desk.begin(ada)
    await shown.show("one")
    await shown.close()
    assert channel.messages[desk.ids[0]].streaming == "completed"
