"""The Web API of the tests' Slack, asked by a real web client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler
from slack_sdk.web.async_client import AsyncWebClient

from tests.fakes.slack_server import SlackServer

BOT, APP = "xoxb-secret", "xapp-secret"


@pytest.fixture
async def server() -> AsyncIterator[SlackServer]:
    async with SlackServer(BOT, APP) as running:
        yield running
        assert running.unknown_requests == []
        assert running.complaints == []


@pytest.fixture
def client(server: SlackServer) -> AsyncWebClient:
    return AsyncWebClient(BOT, base_url=server.api_base)


async def refusal(call: Awaitable[Any]) -> str:
    with pytest.raises(SlackApiError) as caught:
        await call
    return str(caught.value.response["error"])


async def test_a_stream_is_started_appended_to_and_stopped(
    server: SlackServer, client: AsyncWebClient
) -> None:
    channel, ada = server.add_channel("general"), server.add_user("ada")
    message = await server.say(channel, ada, "<@BOT> tell me")
    place: dict[str, Any] = {"channel": channel.id, "thread_ts": message.ts}
    assert await refusal(client.chat_startStream(**place)) == "missing_recipient_user_id"
    stream = await client.chat_stream(
        **place, recipient_user_id=ada.id, recipient_team_id=server.team_id, buffer_size=1
    )
    for word in ("Once ", "upon ", "a time"):
        await stream.append(markdown_text=word)
    [reply] = server.messages(channel, thread=message)
    assert (reply.text, reply.streaming) == ("Once upon a time", "in_progress")
    edit = client.chat_update(channel=channel.id, ts=reply.ts, text="no")
    assert await refusal(edit) == "streaming_state_conflict"
    await stream.stop(markdown_text=".", blocks=[{"type": "divider"}])
    assert (reply.text, reply.streaming) == ("Once upon a time.", "completed")
    assert [block["type"] for block in reply.blocks] == ["divider"]


async def test_a_person_stops_a_stream(server: SlackServer, client: AsyncWebClient) -> None:
    ada = server.add_user("ada")
    dm = server.open_dm(ada)
    message = await server.say(dm, ada, "tell me everything")
    stream = await client.chat_stream(channel=dm.id, thread_ts=message.ts, buffer_size=1)
    await stream.append(markdown_text="Well,")
    [reply] = server.messages(dm, thread=message)
    await server.stop_stream(reply)
    assert await refusal(stream.append(markdown_text=" first")) == "stopped_by_user"
    assert reply.text == "Well,"


async def test_a_stream_dies_of_age_and_is_updated_instead(
    server: SlackServer, client: AsyncWebClient
) -> None:
    ada = server.add_user("ada")
    dm = server.open_dm(ada)
    message = await server.say(dm, ada, "tell me")
    stream = await client.chat_stream(channel=dm.id, thread_ts=message.ts, buffer_size=1)
    await stream.append(markdown_text="Once")
    server.advance(server.stream_lifetime)
    late = stream.append(markdown_text=" upon")
    assert await refusal(late) == "message_not_in_streaming_state"
    assert stream.ts is not None
    await client.chat_update(channel=dm.id, ts=stream.ts, text="Once upon")
    [reply] = server.messages(dm, thread=message)
    assert (reply.text, reply.streaming) == ("Once upon", "errored")


async def test_a_rate_limit_is_waited_for(server: SlackServer, client: AsyncWebClient) -> None:
    client.retry_handlers.append(AsyncRateLimitErrorRetryHandler(max_retry_count=1))
    channel = server.add_channel("general")
    server.fail_next("chat.postMessage", retry_after=1)
    await client.chat_postMessage(channel=channel.id, text="patience")
    refused, granted = server.calls("chat.postMessage")
    assert (refused.status, granted.status) == (429, 200)
    assert granted.time - refused.time >= 1


async def test_a_second_message_within_a_second_is_counted_or_refused(
    server: SlackServer, client: AsyncWebClient
) -> None:
    channel = server.add_channel("general")
    for text in ("one", "two"):
        await client.chat_postMessage(channel=channel.id, text=text)
    assert server.too_fast == 1
    server.strict_rates = True
    more = client.chat_postMessage(channel=channel.id, text="three")
    assert await refusal(more) == "ratelimited"
    server.advance(1)
    await client.chat_postMessage(channel=channel.id, text="three")
    assert len(server.messages(channel)) == 3


async def test_tokens_are_checked_and_not_kept(server: SlackServer) -> None:
    wrong = AsyncWebClient("xoxb-wrong", base_url=server.api_base)
    none = AsyncWebClient(base_url=server.api_base)
    right = AsyncWebClient(BOT, base_url=server.api_base)
    assert await refusal(wrong.auth_test()) == "invalid_auth"
    assert await refusal(none.auth_test()) == "not_authed"
    opening = right.apps_connections_open(app_token=BOT)
    assert await refusal(opening) == "not_allowed_token_type"
    assert (await right.auth_test())["user_id"] == server.bot.id
    assert BOT not in repr(server.requests)


async def test_what_slack_refuses_is_refused(server: SlackServer, client: AsyncWebClient) -> None:
    channel, ada = server.add_channel("general"), server.add_user("ada")
    secret = server.add_channel("secret", private=True, bot_is_member=False)
    outside = server.add_channel("outside", bot_is_member=False)
    message = await server.say(channel, ada, "hello")
    theirs: dict[str, Any] = {"channel": channel.id, "ts": message.ts}

    async def post(to: str = channel.id, text: str = "x", **more: Any) -> str:
        return await refusal(client.chat_postMessage(channel=to, text=text, **more))

    section = {"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3001}}
    assert await post(secret.id) == "channel_not_found"
    assert await post(outside.id) == "not_in_channel"
    assert await post(text="x" * 40_001) == "msg_too_long"
    assert await post(blocks=[section]) == "invalid_blocks"
    assert await post(blocks=[{"type": "markdown", "text": "x" * 12_001}]) == "invalid_blocks"
    assert await post(blocks=[{"type": "divider"}] * 51) == "invalid_blocks"
    assert await post(thread_ts="1.000001") == "thread_not_found"
    assert await refusal(client.chat_update(text="x", **theirs)) == "cant_update_message"
    assert await refusal(client.chat_delete(**theirs)) == "cant_delete_message"
    gone = client.chat_update(channel=channel.id, ts="1.000001", text="x")
    assert await refusal(gone) == "message_not_found"
    assert await refusal(client.api_call("chat.delete", params={})) == "invalid_arguments"
    assert await refusal(client.api_call("chat.sing")) == "unknown_method"
    assert server.unknown_requests == ["chat.sing"]
    server.unknown_requests.clear()


async def test_mistakes_that_slack_lets_pass_are_noted(
    server: SlackServer, client: AsyncWebClient
) -> None:
    channel, ada = server.add_channel("general"), server.add_user("ada")
    message = await server.say(channel, ada, "hello")
    reply = await server.say(channel, ada, "anybody?", thread=message)
    await client.chat_postMessage(channel=channel.id, text="x" * 4001, thread_ts=reply.ts)
    assert len(server.messages(channel, thread=message)) == 2
    assert server.complaints == [
        "chat.postMessage: over 4000 characters are split up",
        "chat.postMessage: thread_ts is the ts of a reply",
    ]
    server.complaints.clear()


async def test_histories_and_threads_are_read_page_by_page(
    server: SlackServer, client: AsyncWebClient
) -> None:
    channel, ada = server.add_channel("general"), server.add_user("ada")
    said = [await server.say(channel, ada, str(number)) for number in range(5)]
    await server.say(channel, ada, "a reply", thread=said[4])
    texts: list[str] = []
    async for answer in await client.conversations_history(channel=channel.id, limit=2):
        texts += [message["text"] for message in answer["messages"]]
    assert texts == ["4", "3", "2", "1", "0"]
    thread = await client.conversations_replies(channel=channel.id, ts=said[4].ts)
    assert [message["text"] for message in thread["messages"]] == ["4", "a reply"]
    assert thread["messages"][0]["reply_count"] == 1
    people = await client.conversations_members(channel=channel.id)
    assert people["members"] == [server.bot.id, ada.id]
    assert (await client.users_info(user=ada.id))["user"]["name"] == "ada"
    opened = await client.conversations_open(users=ada.id)
    assert server.channels[opened["channel"]["id"]].kind == "im"
    listed = await client.conversations_list(types="public_channel,im")
    assert len(listed["channels"]) == 2


async def test_a_file_is_uploaded_and_shared(server: SlackServer, client: AsyncWebClient) -> None:
    channel = server.add_channel("general")
    await client.files_upload_v2(
        channel=channel.id, filename="notes.txt", content="carrots", initial_comment="Look:"
    )
    [message] = server.messages(channel)
    assert (message.text, message.files[0]["name"]) == ("Look:", "notes.txt")
    [file] = server.files.values()
    assert file.content == b"carrots"


async def test_an_app_can_only_do_what_its_scopes_allow() -> None:
    scopes = ("chat:write", "channels:history")
    async with SlackServer(BOT, APP, scopes=scopes, subscriptions=()) as server:
        client = AsyncWebClient(BOT, base_url=server.api_base)
        channel, ada = server.add_channel("general"), server.add_user("ada")
        private = server.add_channel("private", private=True)
        message = await server.say(channel, ada, "<@BOT> hello")
        assert server.unacknowledged == [], "it has subscribed to nothing"
        with pytest.raises(SlackApiError) as caught:
            await client.reactions_add(channel=channel.id, name="eyes", timestamp=message.ts)
        assert caught.value.response["needed"] == "reactions:write"
        history = client.conversations_history(channel=private.id)
        assert await refusal(history) == "missing_scope"
        assert (await client.conversations_history(channel=channel.id))["ok"]
