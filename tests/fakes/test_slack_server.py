"""A real Bolt app, or a real web client, against the Slack of these tests."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest
from aiohttp import web
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from tests.fakes.slack_server import SlackServer

BOT, APP, SECRET = "xoxb-secret", "xapp-secret", "signing-secret"
Event = dict[str, Any]


@pytest.fixture
async def server() -> AsyncIterator[SlackServer]:
    async with SlackServer(BOT, APP, SECRET) as running:
        yield running
        assert running.unknown_requests == []
        assert running.complaints == []


@pytest.fixture
def client(server: SlackServer) -> AsyncWebClient:
    return AsyncWebClient(BOT, base_url=server.api_base)


@pytest.fixture
def app(client: AsyncWebClient) -> AsyncApp:
    return AsyncApp(client=client, signing_secret=SECRET, process_before_response=True)


@pytest.fixture
async def socket(
    app: AsyncApp, server: SlackServer
) -> AsyncIterator[AsyncSocketModeHandler]:
    # The client looks after its connection once in this many seconds.
    handler = AsyncSocketModeHandler(app, APP, ping_interval=1)
    await handler.connect_async()  # type: ignore[no-untyped-call]
    await server.ready()
    yield handler
    await handler.close_async()  # type: ignore[no-untyped-call]


def collect(app: AsyncApp, *kinds: str) -> list[Event]:
    """The bodies of these events as the app gets them."""
    seen: list[Event] = []

    async def keep(body: Event) -> None:
        seen.append(body)

    for kind in kinds:
        app.event(kind)(keep)
    return seen


async def refusal(call: Awaitable[Any]) -> str:
    with pytest.raises(SlackApiError) as caught:
        await call
    return str(caught.value.response["error"])


@pytest.mark.usefixtures("socket")
async def test_a_mention_is_answered_in_its_thread(app: AsyncApp, server: SlackServer) -> None:
    mentions: list[Event] = []

    @app.event("app_mention")
    async def answer(body: Event, say: Any) -> None:
        mentions.append(body)
        await say(text="Hello!", thread_ts=body["event"]["ts"])

    others = collect(app, "message")
    channel, ada = server.add_channel("general"), server.add_user("ada")
    message = await server.say(channel, ada, "<@BOT> hello")
    [reply] = await server.wait_for(lambda s: s.messages(channel, thread=message))
    assert (reply.text, reply.user, reply.bot_id) == ("Hello!", server.bot.id, server.bot_id)

    await server.wait_for(lambda s: not s.unacknowledged)
    assert mentions[0]["event"]["ts"] == others[0]["event"]["ts"] == message.ts
    assert mentions[0]["event_id"] != others[0]["event_id"]
    assert len(others) == 1, "the bot's own reply was sent as well, and Bolt drops it"
    [own] = [d.payload for d in server.socket.deliveries if d.payload["event"].get("bot_id")]
    assert own["event"]["user"] == server.bot.id
    assert not any(ack.late for ack in server.acks)


@pytest.mark.usefixtures("socket")
async def test_dms_edits_and_deletions_arrive(app: AsyncApp, server: SlackServer) -> None:
    seen = collect(app, "message", "app_mention")
    ada = server.add_user("ada")
    message = await server.say(server.open_dm(ada), ada, "<@BOT> psst")
    await server.edit(message, "never mind")
    await server.delete(message)
    await server.wait_for(lambda s: len(s.acks) == 3)
    events = [body["event"] for body in seen]
    assert [event.get("subtype") for event in events] == [
        None, "message_changed", "message_deleted",
    ]
    assert {event["channel_type"] for event in events} == {"im"}
    assert events[1]["message"]["text"] == "never mind"


@pytest.mark.usefixtures("socket")
async def test_reactions_go_both_ways(
    app: AsyncApp, server: SlackServer, client: AsyncWebClient
) -> None:
    seen = collect(app, "reaction_added", "reaction_removed", "message")
    channel, ada = server.add_channel("general"), server.add_user("ada")
    message = await server.say(channel, ada, "hello")
    where: dict[str, Any] = {"channel": channel.id, "timestamp": message.ts}
    await server.react(message, ada, "thumbsup")
    await server.unreact(message, ada, "+1")
    await client.reactions_add(name="eyes", **where)
    assert await refusal(client.reactions_add(name="eyes", **where)) == "already_reacted"
    shown = await client.reactions_get(**where)
    assert shown["message"]["reactions"] == [
        {"name": "eyes", "users": [server.bot.id], "count": 1}
    ]
    await client.reactions_remove(name="eyes", **where)
    assert await refusal(client.reactions_remove(name="eyes", **where)) == "no_reaction"
    await server.wait_for(lambda s: not s.unacknowledged)
    events = [body["event"] for body in seen if body["event"]["type"] != "message"]
    assert [(event["type"], event["reaction"]) for event in events] == [
        ("reaction_added", "+1"), ("reaction_removed", "+1"),
    ]


@pytest.mark.usefixtures("socket")
async def test_a_command_is_acknowledged_and_answered_later(
    app: AsyncApp, server: SlackServer
) -> None:
    statuses: list[int] = []

    @app.command("/rapport")
    async def status(ack: Any, respond: Any, command: Event) -> None:
        await ack(text=f"looking at {command['text']}")
        for number in range(6):
            kind = "in_channel" if number == 0 else "ephemeral"
            answer = await respond(text=f"answer {number}", response_type=kind)
            statuses.append(answer.status_code)

    channel, ada = server.add_channel("general"), server.add_user("ada")
    answer = await server.command(channel, ada, "/rapport", "status")
    await server.wait_for(lambda _: len(statuses) == 6)
    assert answer.ack == {"text": "looking at status"}
    assert [response.kind for response in answer.responses[:2]] == ["in_channel", "ephemeral"]
    assert statuses == [200] * 5 + [404]
    assert [message.text for message in server.messages(channel)] == ["answer 0"]
    assert server.ephemerals[0].ephemeral_to == ada.id


@pytest.mark.usefixtures("socket")
async def test_feedback_buttons_and_the_home_tab(
    app: AsyncApp, server: SlackServer, client: AsyncWebClient
) -> None:
    votes: list[str] = []

    @app.action("vote")
    async def vote(ack: Any, action: Event, respond: Any) -> None:
        await ack()
        votes.append(action["value"])
        await respond(text="Thanks!", replace_original=False)

    @app.event("app_home_opened")
    async def home(event: Event) -> None:
        view = {"type": "home", "blocks": [{"type": "divider"}]}
        await client.views_publish(user_id=event["user"], view=view)

    def button(value: str) -> Event:
        return {"text": {"type": "plain_text", "text": value}, "value": f"7:{value}"}

    feedback = {
        "type": "feedback_buttons", "action_id": "vote",
        "positive_button": button("good"), "negative_button": button("bad"),
    }
    channel, ada = server.add_channel("general"), server.add_user("ada")
    blocks = [{"type": "context_actions", "elements": [feedback]}]
    await client.chat_postMessage(channel=channel.id, text="A reply.", blocks=blocks)
    [message] = server.messages(channel)
    answer = await server.press(message, ada, "vote", feedback="negative")
    await server.wait_for(lambda _: answer.responses)
    assert votes == ["7:bad"]
    await server.open_home(ada)
    [view] = await server.wait_for(lambda s: s.views)
    assert view.user == ada.id


@pytest.mark.parametrize("how", ["refresh_requested", "closed", "dropped"])
@pytest.mark.usefixtures("socket")
async def test_the_app_connects_anew(app: AsyncApp, server: SlackServer, how: str) -> None:
    seen = collect(app, "message")
    channel, ada = server.add_channel("general"), server.add_user("ada")
    if how == "dropped":
        await server.drop()
    elif how == "closed":
        await server.close_sockets()
    else:
        await server.disconnect(how)
    await server.say(channel, ada, "still there?")
    await server.wait_for(lambda s: s.acks)
    assert server.socket.hellos == 2
    assert [body["event"]["text"] for body in seen] == ["still there?"]


@pytest.mark.parametrize("how", ["on a new connection", "on the same"])
@pytest.mark.usefixtures("socket")
async def test_an_event_that_was_not_acknowledged_comes_again(
    app: AsyncApp, server: SlackServer, how: str
) -> None:
    tries: list[tuple[str, Any]] = []
    first = asyncio.Event()

    @app.event("message")
    async def work(body: Event, request: AsyncBoltRequest) -> None:
        tries.append((body["event_id"], request.headers.get("x-slack-retry-num")))
        first.set()
        if len(tries) == 1:
            raise RuntimeError("not now")

    channel, ada = server.add_channel("general"), server.add_user("ada")
    await server.say(channel, ada, "hello")
    await first.wait()
    assert len(server.unacknowledged) == 1
    if how == "on the same":
        await server.redeliver()
    else:
        await server.disconnect()
    await server.wait_for(lambda s: not s.unacknowledged)
    assert tries[0][0] == tries[1][0]
    assert [number for _, number in tries] == [["0"], ["1"]]


@pytest.mark.usefixtures("socket")
async def test_events_come_twice_and_in_another_order_when_told_to(
    app: AsyncApp, server: SlackServer
) -> None:
    seen = collect(app, "message")
    channel, ada = server.add_channel("general"), server.add_user("ada")
    server.redeliver_next()
    await server.say(channel, ada, "twice")
    await server.wait_for(lambda s: len(s.acks) == 2)
    assert seen[0] == seen[1]
    server.hold_events()
    await server.say(channel, ada, "one")
    await server.say(channel, ada, "two")
    await server.release_events(order="reversed")
    await server.wait_for(lambda s: len(s.acks) == 4)
    assert [body["event"]["text"] for body in seen[2:]] == ["two", "one"]
    await server.repeat_one(random.Random(0))
    await server.wait_for(lambda s: len(s.acks) == 5)
    assert seen[4] in seen[:4]


@pytest.mark.usefixtures("socket")
async def test_a_modal_is_opened_in_time_and_sent_off(
    app: AsyncApp, server: SlackServer, client: AsyncWebClient
) -> None:
    late: list[str] = []
    view = {"type": "modal", "title": {"type": "plain_text", "text": "Consent"},
            "callback_id": "consent", "blocks": [{"type": "divider"}]}

    @app.command("/rapport")
    async def ask(ack: Any, command: Event) -> None:
        await client.views_open(trigger_id=command["trigger_id"], view=view)
        again = client.views_open(trigger_id=command["trigger_id"], view=view)
        late.append(await refusal(again))
        await ack()

    @app.view("consent")
    async def close(ack: Any) -> None:
        await ack(response_action="clear")

    channel, ada = server.add_channel("general"), server.add_user("ada")
    await server.command(channel, ada, "/rapport")
    [modal] = server.modals
    answer = await server.submit(modal, ada, {})
    assert answer.ack == {"response_action": "clear"}
    assert late == ["invalid_trigger_id"]


async def test_a_command_that_nobody_hears_fails_at_once(server: SlackServer) -> None:
    channel, ada = server.add_channel("general"), server.add_user("ada")
    answer = await server.command(channel, ada, "/rapport", "status")
    assert answer.failed == "dispatch_failed"


async def test_http_events_are_signed_and_repeated(app: AsyncApp, server: SlackServer) -> None:
    tries: list[Any] = []

    @app.event("message")
    async def work(request: AsyncBoltRequest) -> None:
        tries.append(request.headers.get("x-slack-retry-num"))
        if len(tries) == 1:
            raise RuntimeError("not now")

    listening = app.server(port=0, path="/slack/events").web_app
    runner = web.AppRunner(listening, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"
    try:
        server.poster.delays = (0.0,)
        channel, ada = server.add_channel("general"), server.add_user("ada")
        assert await server.verify_url(url)
        event = {"type": "message", "user": ada.id, "channel": channel.id, "text": "hello"}
        posted = await server.post_event(url, event)
        assert (posted.status, tries) == (200, [None, ["1"]])
        forged = await server.post_event(url, event, secret="another")
        assert (forged.status, len(tries)) == (401, 2)
        server.request_url = url
        await server.say(channel, ada, "hello again")
        await server.wait_for(lambda _: len(tries) == 3)
    finally:
        await runner.cleanup()
