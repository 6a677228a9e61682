"""How a workspace's things look in Slack's JSON: users, channels, messages and views.

The shapes that an event, a payload and an answer of the Web API have in common. Nothing
here changes anything.
"""

from __future__ import annotations

import re

from tests.fakes.slack_world import JSON, Channel, Message, User, View, World

MENTION = re.compile(r"(<@\w+>)")


def user_json(world: World, user: User) -> JSON:
    """A user as ``users.info`` has it."""
    return {
        "id": user.id, "team_id": world.team_id, "name": user.name, "deleted": False,
        "color": "9f69e7", "real_name": user.name.title(), "tz": "Europe/Brussels",
        "tz_label": "Central European Time", "tz_offset": 3600,
        "profile": {
            "real_name": user.name.title(), "display_name": user.name,
            "real_name_normalized": user.name.title(), "display_name_normalized": user.name,
            "team": world.team_id, **({"bot_id": world.bot_id} if user.is_bot else {}),
        },
        "is_admin": user.is_admin, "is_owner": user.is_owner, "is_primary_owner": False,
        "is_restricted": False, "is_ultra_restricted": False, "is_bot": user.is_bot,
        "is_app_user": False, "updated": 1700000000, "is_email_confirmed": True,
    }


def channel_json(world: World, channel: Channel) -> JSON:
    """A conversation as ``conversations.info`` has it."""
    shared: JSON = {
        "id": channel.id, "created": 1700000000, "is_archived": channel.archived,
        "is_im": channel.kind == "im", "is_mpim": channel.kind == "mpim",
        "is_org_shared": False, "context_team_id": world.team_id, "updated": 1700000000000,
    }
    if channel.kind == "im":
        person = next(member for member in channel.members if member != world.bot.id)
        return {**shared, "user": person, "is_user_deleted": False, "priority": 0}
    return {
        **shared, "name": channel.name, "name_normalized": channel.name,
        "is_channel": channel.kind == "channel", "is_group": channel.kind == "group",
        "is_private": channel.kind != "channel", "is_general": False, "unlinked": 0,
        "is_shared": False, "is_ext_shared": False, "is_pending_ext_shared": False,
        "pending_shared": [], "creator": world.bot.id, "is_member": channel.bot_is_member,
        "topic": {"value": "", "creator": "", "last_set": 0},
        "purpose": {"value": "", "creator": "", "last_set": 0}, "previous_names": [],
        "num_members": len(channel.members),
    }


def bot_json(world: World) -> JSON:
    """The app's bot as it stands beside its messages."""
    return {
        "id": world.bot_id, "deleted": False, "name": world.bot.name, "updated": 1700000000,
        "app_id": world.app_id, "icons": {}, "team_id": world.team_id,
    }


def rich_text(text: str) -> list[JSON]:
    """The block that Slack's own clients send along with what was typed."""
    elements = [
        {"type": "user", "user_id": part[2:-1]} if MENTION.fullmatch(part)
        else {"type": "text", "text": part}
        for part in MENTION.split(text)
        if part
    ]
    section = {"type": "rich_text_section", "elements": elements}
    return [{"type": "rich_text", "block_id": "typed", "elements": [section]}]


def message_json(world: World, message: Message) -> JSON:
    """A message without its channel, as it is in a history and inside of events."""
    shown: JSON = {
        "user": message.user, "type": "message", "ts": message.ts, "text": message.text,
        "team": world.team_id,
    }
    if message.subtype:
        shown["subtype"] = message.subtype
    if message.bot_id:
        shown |= {
            "bot_id": message.bot_id, "app_id": world.app_id, "bot_profile": bot_json(world)
        }
    else:
        shown["client_msg_id"] = f"client-{message.ts}"
    for name in ("blocks", "attachments", "metadata", "files", "edited"):
        if value := getattr(message, name):
            shown[name] = value
    if message.stream:
        shown["streaming_state"] = message.stream.state
    if message.is_reply:
        parent = message.channel.messages.get(message.thread_ts or "")
        shown["thread_ts"] = message.thread_ts
        if parent:
            shown["parent_user_id"] = parent.user
    elif replies := list(world.thread(message)):
        writers = list(dict.fromkeys(reply.user for reply in replies))
        shown |= {
            "thread_ts": message.ts, "reply_count": len(replies), "reply_users": writers,
            "reply_users_count": len(writers), "latest_reply": replies[-1].ts,
            "is_locked": False, "subscribed": False,
        }
    if message.reactions:
        shown["reactions"] = [
            {"name": name, "users": list(users), "count": len(users)}
            for name, users in message.reactions.items()
        ]
    return shown


def view_json(world: World, view: View) -> JSON:
    """A view as the answers of ``views.*`` and the payloads about it have it."""
    return {
        "private_metadata": "", "callback_id": "", "state": {"values": {}}, "title": None,
        "close": None, "submit": None, "clear_on_close": False, "notify_on_close": False,
        **view.content,
        "id": view.id, "team_id": world.team_id, "hash": view.hash, "app_id": world.app_id,
        "bot_id": world.bot_id, "app_installed_team_id": world.team_id, "root_view_id": view.id,
        "previous_view_id": None, "external_id": view.content.get("external_id", ""),
    }
