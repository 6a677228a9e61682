"""``chat.*``: messages, ephemeral messages, and streams."""

from __future__ import annotations

import re

from tests.fakes import slack_events as events
from tests.fakes.slack_calls import Call, Methods, Refused
from tests.fakes.slack_json import message_json
from tests.fakes.slack_limits import UPDATED_TEXT, check_blocks, check_content, named, streamed
from tests.fakes.slack_world import JSON, Channel, Message, Shape

methods = Methods()
TIMESTAMP = re.compile(r"\d+\.\d{6}")
WRITE = ("chat:write",)
CALLS = re.compile(r"<[!@#]|@(?:here|channel|everyone)", re.IGNORECASE)
"""What may call people where text is not escaped, as in streams."""


def thread_of(call: Call, channel: Channel) -> str | None:
    """The parent that ``thread_ts`` means; a reply there is a mistake that Slack allows."""
    ts = call.text("thread_ts")
    if not ts:
        return None
    if not TIMESTAMP.fullmatch(ts):
        raise Refused("invalid_thread_ts")
    parent = channel.messages.get(ts)
    if parent is None:
        raise Refused("thread_not_found")
    if parent.is_reply:
        call.world.complaints.append(f"{call.method}: thread_ts is the ts of a reply")
        return parent.thread_ts
    return ts


@methods.add("chat.postMessage", "channel", scopes=WRITE)
def post_message(call: Call) -> JSON:
    """Write a message, at most about one a second in a channel."""
    world, channel = call.world, call.channel(write=True)
    check_content(call)
    thread = thread_of(call, channel)
    since = world.now() - world.last_post.get(channel.id, 0.0)
    if since < 1.0:
        world.too_fast += 1
        if world.strict_rates:
            raise Refused("ratelimited", status=429, retry_after=1)
    world.last_post[channel.id] = world.now()
    message = events.post(
        world, channel, world.bot, call.text("text") or call.text("markdown_text"),
        thread_ts=thread, blocks=named(world, call.args.get("blocks")),
        attachments=call.args.get("attachments") or [], metadata=call.args.get("metadata"),
        broadcast=call.flag("reply_broadcast"),
        subtype="thread_broadcast" if call.flag("reply_broadcast") else None,
    )
    return {"channel": channel.id, "ts": message.ts, "message": message_json(world, message)}


@methods.add("chat.update", "channel", "ts", scopes=WRITE)
def update(call: Call) -> JSON:
    """Change one of the bot's own messages that is not streaming now."""
    world, channel = call.world, call.channel(write=True)
    message = call.message(channel)
    if message.bot_id != world.bot_id:
        raise Refused("cant_update_message")
    if message.stream:
        _expire(call, message)
        if message.stream.state == "in_progress":
            raise Refused("streaming_state_conflict")
    check_content(call, longest=UPDATED_TEXT)
    fields: JSON = {"text": call.text("text") or call.text("markdown_text")}
    if "blocks" in call.args or "markdown_text" in call.args:
        fields["blocks"] = named(world, call.args.get("blocks"))
    for name in ("attachments", "metadata"):
        if name in call.args:
            fields[name] = call.args[name]
    events.change(world, message, world.bot, **fields)
    return {
        "channel": channel.id, "ts": message.ts, "text": message.text,
        "message": message_json(world, message),
    }


@methods.add("chat.delete", "channel", "ts", scopes=WRITE)
def delete(call: Call) -> JSON:
    """Delete one of the bot's own messages."""
    channel = call.channel(write=True)
    message = call.message(channel)
    if message.bot_id != call.world.bot_id:
        raise Refused("cant_delete_message")
    events.remove(call.world, message)
    return {"channel": channel.id, "ts": message.ts}


@methods.add("chat.postEphemeral", "channel", "user", scopes=WRITE)
def post_ephemeral(call: Call) -> JSON:
    """Show something to one person; it is in no history and makes no event."""
    world, channel = call.world, call.channel(write=True)
    if call.text("user") not in channel.members:
        raise Refused("user_not_in_channel")
    check_content(call)
    message = Message(
        channel, world.ts(), world.bot.id, call.text("text") or call.text("markdown_text"),
        bot_id=world.bot_id, thread_ts=thread_of(call, channel),
        blocks=named(world, call.args.get("blocks")), ephemeral_to=call.text("user"),
    )
    world.ephemerals.append(message)
    return {"message_ts": message.ts}


@methods.add("chat.startStream", "channel", "thread_ts", scopes=WRITE)
def start_stream(call: Call) -> JSON:
    """Begin a streamed message in a thread; outside of DMs it is for somebody."""
    world, channel = call.world, call.channel(write=True)
    thread = thread_of(call, channel)
    assert thread is not None
    if channel.kind != "im":
        if not call.text("recipient_user_id"):
            raise Refused("missing_recipient_user_id")
        if not call.text("recipient_team_id"):
            raise Refused("missing_recipient_team_id")
    if call.text("recipient_user_id"):
        call.user("recipient_user_id")
    if call.text("recipient_team_id") not in ("", world.team_id):
        raise Refused("team_not_found")
    text, chunks = streamed(call)
    message = events.stream(world, channel, thread, text)
    _append(call, message, "", chunks)
    return {"channel": channel.id, "ts": message.ts}


@methods.add("chat.appendStream", "channel", "ts", scopes=WRITE)
def append_stream(call: Call) -> JSON:
    """Add to a stream that is open."""
    message = _open_stream(call)
    text, chunks = streamed(call)
    if not text and not chunks:
        raise Refused("no_text")
    _append(call, message, text, chunks)
    assert message.stream is not None
    message.stream.appends += 1
    return {"channel": message.channel.id, "ts": message.ts}


@methods.add("chat.stopStream", "channel", "ts", scopes=WRITE)
def stop_stream(call: Call) -> JSON:
    """End a stream, with last words and with blocks below it."""
    world, message = call.world, _open_stream(call)
    text, chunks = streamed(call)
    blocks = call.args.get("blocks")
    if blocks is not None:
        check_blocks(blocks)
    _append(call, message, text, chunks)
    message.metadata = call.args.get("metadata")
    events.finish(world, message, named(world, blocks))
    return {
        "channel": message.channel.id, "ts": message.ts, "message": message_json(world, message)
    }


def _open_stream(call: Call) -> Message:
    message = call.message(call.channel(write=True))
    if message.bot_id != call.world.bot_id:
        raise Refused("message_not_owned_by_app")
    _expire(call, message)
    state = message.streaming
    if state == "stopped_by_user":
        raise Refused("stopped_by_user")
    if state != "in_progress":
        raise Refused("message_not_in_streaming_state")
    return message


def _expire(call: Call, message: Message) -> None:
    """A stream dies some minutes after it began, however busy it is."""
    stream = message.stream
    old = stream and call.world.now() - stream.started >= call.world.stream_lifetime
    if stream and old and stream.state == "in_progress":
        stream.state = "errored"


def _append(call: Call, message: Message, text: str, chunks: list[JSON]) -> None:
    """Write on. A stream opened with text takes only text, one with chunks only chunks."""
    stream = message.stream
    assert stream is not None
    if call.args.get("chunks") or call.text("markdown_text"):
        shape: Shape = "chunks" if call.args.get("chunks") else "text"
        if stream.shape not in (None, shape):
            raise Refused("streaming_mode_mismatch")
        stream.shape = shape
    message.text += text
    if CALLS.search(message.text):
        call.world.complaints.append(f"{call.method}: what is streamed calls people")
    stream.chunks += chunks
