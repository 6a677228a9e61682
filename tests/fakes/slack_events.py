"""What people and the bot do in a workspace, and the events that tell the app of it.

Each function changes the world and leaves in its outbox what the Events API would send:
only what the app has subscribed to, only from conversations that the bot is in, and the
bot's own doings as well, which Bolt is there to drop. Nothing here knows how an event
travels.
"""

from __future__ import annotations

from typing import Any

from tests.fakes.slack_json import message_json, rich_text, view_json
from tests.fakes.slack_world import JSON, PLURAL, Channel, Message, Stream, User, World

ALIASES = {"thumbsup": "+1", "thumbsdown": "-1"}
"""Names that Slack itself replaces, whoever gives them."""


def callback(world: World, event: JSON) -> JSON:
    """The Events API's frame around `event`, with an id of its own."""
    return {
        "token": "verification-token", "team_id": world.team_id,
        "context_team_id": world.team_id, "context_enterprise_id": None,
        "api_app_id": world.app_id, "event": event, "type": "event_callback",
        "event_id": world.id("Ev"), "event_time": int(world.now()),
        "authorizations": [{
            "enterprise_id": None, "team_id": world.team_id, "user_id": world.bot.id,
            "is_bot": True, "is_enterprise_install": False,
        }],
        "is_ext_shared_channel": False, "event_context": f"4-{world.app_id}",
    }


def emit(world: World, channel: Channel, event: JSON) -> None:
    """Tell the app, if it asked to hear of this and the bot is there to see it."""
    about = event["type"]
    subscription = f"message.{PLURAL[channel.kind]}" if about == "message" else about
    if channel.bot_is_member and subscription in world.subscriptions:
        world.outbox.append(callback(world, event))


def post(
    world: World, channel: Channel, user: User, text: str, *, thread_ts: str | None = None,
    **more: Any,
) -> Message:
    """Somebody writes. A mention in a channel is told twice: as such, and as a message."""
    message = Message(channel, world.ts(), user.id, text, thread_ts=thread_ts, **more)
    if user is world.bot:
        message.bot_id = world.bot_id
        if thread_ts:
            world.statuses.pop((channel.id, thread_ts), None)
    elif not message.blocks:
        message.blocks = rich_text(text)
    channel.messages[message.ts] = message
    if thread_ts and thread_ts in channel.messages:
        channel.messages[thread_ts].thread_ts = thread_ts
    event = {**message_json(world, message), "channel": channel.id, "event_ts": message.ts}
    if f"<@{world.bot.id}>" in text and user is not world.bot and channel.kind != "im":
        emit(world, channel, {**event, "type": "app_mention"})
    emit(world, channel, {**event, "channel_type": channel.kind})
    return message


def stream(world: World, channel: Channel, thread_ts: str, text: str) -> Message:
    """The bot begins a streamed message."""
    begun = Stream(world.now())
    return post(world, channel, world.bot, text, thread_ts=thread_ts, stream=begun)


def change(world: World, message: Message, by: User, **fields: Any) -> None:
    """A message gets other contents, and says that it was edited."""
    before = message_json(world, message)
    for name, value in fields.items():
        setattr(message, name, value)
    message.edits += 1
    ts = world.ts()
    message.edited = {"user": by.id, "ts": ts}
    _changed(world, message, before, ts)


def finish(world: World, message: Message, blocks: list[JSON]) -> None:
    """A stream ends; that is a change, but not an edit."""
    before = message_json(world, message)
    assert message.stream is not None
    message.stream.state = "completed"
    message.blocks = blocks
    _changed(world, message, before, world.ts())


def _changed(world: World, message: Message, before: JSON, ts: str) -> None:
    emit(world, message.channel, {
        "type": "message", "subtype": "message_changed", "hidden": True,
        "message": message_json(world, message), "previous_message": before,
        "channel": message.channel.id, "channel_type": message.channel.kind,
        "ts": ts, "event_ts": ts,
    })


def remove(world: World, message: Message) -> None:
    """A message goes. One with replies leaves a tombstone, so that its thread can stay."""
    before = message_json(world, message)
    if any(world.thread(message)):
        message.subtype, message.text = "tombstone", "This message was deleted."
        message.user, message.bot_id, message.blocks = "USLACKBOT", None, []
        _changed(world, message, before, world.ts())
        return
    message.deleted = True
    message.channel.messages.pop(message.ts, None)
    ts = world.ts()
    emit(world, message.channel, {
        "type": "message", "subtype": "message_deleted", "hidden": True,
        "previous_message": before, "deleted_ts": message.ts, "channel": message.channel.id,
        "channel_type": message.channel.kind, "ts": ts, "event_ts": ts,
    })


def react(world: World, message: Message, user: User, name: str) -> bool:
    """Add a reaction; False where this person has it there already."""
    name = ALIASES.get(name, name)
    users = message.reactions.setdefault(name, [])
    if user.id in users:
        return False
    users.append(user.id)
    _reaction(world, message, user, name, "reaction_added")
    return True


def unreact(world: World, message: Message, user: User, name: str) -> bool:
    """Take a reaction back; False where there is none of this person."""
    name = ALIASES.get(name, name)
    users = message.reactions.get(name, [])
    if user.id not in users:
        return False
    users.remove(user.id)
    if not users:
        del message.reactions[name]
    _reaction(world, message, user, name, "reaction_removed")
    return True


def _reaction(world: World, message: Message, user: User, name: str, about: str) -> None:
    emit(world, message.channel, {
        "type": about, "user": user.id, "reaction": name, "item_user": message.user,
        "item": {"type": "message", "channel": message.channel.id, "ts": message.ts},
        "event_ts": world.ts(),
    })


def open_home(world: World, user: User) -> None:
    """Somebody looks at the app's home tab."""
    dm = world.open_dm(user)
    event: JSON = {
        "type": "app_home_opened", "user": user.id, "channel": dm.id, "tab": "home",
        "event_ts": world.ts(),
    }
    published = [view for view in world.views if view.user == user.id]
    if published:
        event["view"] = view_json(world, published[-1])
    emit(world, dm, event)
