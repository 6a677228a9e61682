"""``apps``, ``auth``, ``conversations``, ``users``, ``team``, ``bots`` and ``reactions``."""

from __future__ import annotations

from tests.fakes import slack_events as events
from tests.fakes.slack_calls import Call, Methods, Refused, page
from tests.fakes.slack_json import bot_json, channel_json, message_json, user_json
from tests.fakes.slack_world import JSON, PLURAL, Kind, Message

methods = Methods()
TYPES: dict[str, Kind] = {
    "public_channel": "channel", "private_channel": "group", "im": "im", "mpim": "mpim",
}


@methods.add("apps.connections.open", app_token=True)
def connections_open(call: Call) -> JSON:
    """The address of a WebSocket, good for one connection."""
    world = call.world
    ticket = world.id("ticket")
    world.tickets.add(ticket)
    address = world.base.replace("http", "ws", 1)
    return {"url": f"{address}/link/?ticket={ticket}&app_id={world.app_id}"}


@methods.add("auth.test")
def auth_test(call: Call) -> JSON:
    """Who the token belongs to."""
    world = call.world
    return {
        "url": f"https://{world.domain}.slack.com/", "team": world.team_name,
        "user": world.bot.name, "team_id": world.team_id, "user_id": world.bot.id,
        "bot_id": world.bot_id, "is_enterprise_install": False,
    }


@methods.add("team.info", scopes=("team:read",))
def team_info(call: Call) -> JSON:
    """The workspace."""
    world = call.world
    if call.text("team") not in ("", world.team_id):
        raise Refused("team_not_found")
    team = {"id": world.team_id, "name": world.team_name, "domain": world.domain, "icon": {},
            "url": f"https://{world.domain}.slack.com/", "email_domain": ""}
    return {"team": team}


@methods.add("bots.info", scopes=("users:read",))
def bots_info(call: Call) -> JSON:
    """The bot, by its bot id."""
    if call.text("bot") not in ("", call.world.bot_id):
        raise Refused("bot_not_found")
    return {"bot": {**bot_json(call.world), "user_id": call.world.bot.id}}


@methods.add("users.info", "user", scopes=("users:read",))
def users_info(call: Call) -> JSON:
    """One person."""
    return {"user": user_json(call.world, call.user())}


@methods.add("users.list", scopes=("users:read",))
def users_list(call: Call) -> JSON:
    """Everybody."""
    members = [user_json(call.world, user) for user in call.world.users.values()]
    shown, cursor = page(members, call, 1000)
    return {"members": shown, "cache_ts": int(call.world.now()), **cursor}


def _conversations(call: Call, only_mine: bool) -> JSON:
    world = call.world
    asked = (call.text("types") or "public_channel").split(",")
    if not all(kind in TYPES for kind in asked):
        raise Refused("invalid_types")
    kinds = {TYPES[kind] for kind in asked}
    call.allow(*(f"{PLURAL[kind]}:read" for kind in kinds))
    person = call.text("user") or world.bot.id
    channels = [
        channel_json(world, channel)
        for channel in world.channels.values()
        if channel.kind in kinds
        and (channel.bot_is_member or channel.kind == "channel")
        and (not only_mine or person in channel.members)
        and not (call.flag("exclude_archived") and channel.archived)
    ]
    shown, cursor = page(channels, call, 100)
    return {"channels": shown, **cursor}


@methods.add("conversations.list")
def conversations_list(call: Call) -> JSON:
    """The conversations that the bot can see."""
    return _conversations(call, only_mine=False)


@methods.add("users.conversations")
def users_conversations(call: Call) -> JSON:
    """The conversations that somebody is in, the bot unless told otherwise."""
    return _conversations(call, only_mine=True)


@methods.add("conversations.info", "channel")
def conversations_info(call: Call) -> JSON:
    """One conversation."""
    return {"channel": channel_json(call.world, call.channel(right="read"))}


@methods.add("conversations.members", "channel")
def conversations_members(call: Call) -> JSON:
    """Who is in a conversation."""
    channel = call.channel(right="read")
    shown, cursor = page([{"id": member} for member in channel.members], call, 100)
    return {"members": [member["id"] for member in shown], **cursor}


@methods.add("conversations.open")
def conversations_open(call: Call) -> JSON:
    """The DM with a person, or with a few."""
    world = call.world
    known = call.text("channel") in world.channels
    if call.text("channel"):
        channel = call.channel(right="write")
    else:
        names = [name for name in call.text("users").split(",") if name]
        if not names:
            raise Refused("users_list_not_supplied")
        call.allow("im:write" if len(names) == 1 else "mpim:write")
        if not all(name in world.users and name != world.bot.id for name in names):
            raise Refused("user_not_found")
        before = len(world.channels)
        channel = world.open_dm(*(world.users[name] for name in names))
        known = len(world.channels) == before
    shown = channel_json(world, channel) if call.flag("return_im") else {"id": channel.id}
    already = {"no_op": True, "already_open": True} if known else {}
    return {"channel": shown, **already}


def _window(call: Call, messages: list[Message]) -> list[Message]:
    """The messages between ``oldest`` and ``latest``."""
    oldest, latest = call.text("oldest") or "0", call.text("latest") or "9999999999.000000"
    edge = call.flag("inclusive")
    return [
        message
        for message in messages
        if _time(oldest) < _time(message.ts) < _time(latest)
        or (edge and message.ts in (oldest, latest))
    ]


def _time(ts: str) -> tuple[int, int]:
    seconds, _, rest = ts.partition(".")
    try:
        return int(seconds or 0), int(rest.ljust(6, "0") or 0)
    except ValueError:
        raise Refused("invalid_ts_oldest") from None


def _messages(call: Call, messages: list[Message]) -> JSON:
    shown, cursor = page([message_json(call.world, message) for message in messages], call, 100)
    more = bool(cursor["response_metadata"]["next_cursor"])
    return {"messages": shown, "has_more": more, **(cursor if more else {})}


@methods.add("conversations.history", "channel")
def conversations_history(call: Call) -> JSON:
    """What a conversation shows, the newest first, without the replies in threads."""
    channel = call.channel(right="history")
    if not channel.bot_is_member:
        raise Refused("not_in_channel")
    top = [m for m in channel.messages.values() if not m.is_reply or m.broadcast]
    return {**_messages(call, _window(call, top)[::-1]), "pin_count": 0}


@methods.add("conversations.replies", "channel", "ts")
def conversations_replies(call: Call) -> JSON:
    """A thread: its parent and then its replies, the oldest first."""
    channel = call.channel(right="history")
    if not channel.bot_is_member:
        raise Refused("not_in_channel")
    parent = channel.messages.get(call.text("ts"))
    if parent is None:
        raise Refused("thread_not_found")
    if parent.is_reply:
        return _messages(call, [parent])
    return _messages(call, [parent, *_window(call, list(call.world.thread(parent)))])


def _reaction(call: Call) -> tuple[Message, str]:
    name = call.text("name")
    if not all(c.isalnum() or c in "+-_'" for c in name.replace("::skin-tone-", "")):
        raise Refused("invalid_name")
    if not call.text("timestamp"):
        raise Refused("no_item_specified")
    return call.message(call.channel(write=True), "timestamp"), name


@methods.add("reactions.add", "channel", "name", "timestamp", scopes=("reactions:write",))
def reactions_add(call: Call) -> JSON:
    """The bot reacts."""
    message, name = _reaction(call)
    if not events.react(call.world, message, call.world.bot, name):
        raise Refused("already_reacted")
    return {}


@methods.add("reactions.remove", "name", scopes=("reactions:write",))
def reactions_remove(call: Call) -> JSON:
    """The bot takes its reaction back."""
    message, name = _reaction(call)
    if not events.unreact(call.world, message, call.world.bot, name):
        raise Refused("no_reaction")
    return {}


@methods.add("reactions.get", "channel", "timestamp", scopes=("reactions:read",))
def reactions_get(call: Call) -> JSON:
    """A message with its reactions."""
    channel = call.channel()
    message = message_json(call.world, call.message(channel, "timestamp"))
    return {"type": "message", "channel": channel.id, "message": message}
