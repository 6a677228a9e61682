"""What people write on Slack, as Rapport's own values.

A thread is a conversation of its own, and its key says where it is: the channel, and after
a colon the message that began the thread. Nothing here asks Slack, answers or stores;
whether the person may be answered is admission's to say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bot.config import SlackConfig
from bot.store.conversations import Spot
from bot.types import ChannelKey, Message

NAME = "slack"
Event = dict[str, Any]
"""An event as Slack tells it."""

_SPOKEN = (None, "file_share", "me_message", "thread_broadcast")
"""Subtypes of messages that a person says; the others tell of edits, joins and the like."""
_MARK = re.compile(r"<([@#!]?)([^<>|\n]+)(?:\|([^<>\n]*))?>")
_PERSON = re.compile(r"<@(\w+)(?:\|[^<>\n]*)?>")


def channel_key(team: str, channel: str, thread: str | None = None) -> ChannelKey:
    """The key of a channel or a direct conversation, or of a thread in it."""
    return ChannelKey(NAME, team, f"{channel}:{thread}" if thread else channel)


def place_of(key: ChannelKey) -> tuple[str, str | None]:
    """The channel of a key, and the message that began the thread if it is a thread's."""
    channel, _, thread = key.channel.partition(":")
    return channel, thread or None


def thread_of(message: Mapping[str, Any]) -> str | None:
    """The thread that a message is a reply in; one that began a thread is in none."""
    thread = message.get("thread_ts")
    return thread if thread and thread != message.get("ts") else None


def key_of(event: Event, team: str, config: SlackConfig) -> ChannelKey:
    """Where a message is to be answered."""
    channel = event["channel"]
    thread = thread_of(event)
    if is_direct(channel):
        opens = config.agent_view
    else:
        opens = config.thread_replies and channel not in config.always
    return channel_key(team, channel, thread or (event["ts"] if opens else None))


def spots(channel: str, message: Mapping[str, Any], team: str) -> tuple[Spot, ...]:
    """Where a message may be on record: in its thread, or in one of its own or the channel."""
    ts, thread = message["ts"], thread_of(message)
    places = (thread,) if thread else (ts, None)
    return tuple((channel_key(team, channel, place), ts) for place in places)


def is_direct(channel: str) -> bool:
    """Whether a conversation is one with the bot alone."""
    return channel.startswith("D")


def is_spoken(event: Event) -> bool:
    """Whether a person said it: not a bot, and not Slack about something that happened."""
    return (
        event.get("subtype") in _SPOKEN
        and not event.get("bot_id")
        and event.get("user", "USLACKBOT") != "USLACKBOT"
    )


def edited(event: Event) -> Event | None:
    """The message whose words a person has changed by what this event tells."""
    message = event.get("message") or {}
    if event.get("subtype") != "message_changed" or not is_spoken(message):
        return None
    # Previews and replies change a message as well, but not what was said in it.
    return {**message, "channel": event["channel"]} if message.get("edited") else None


def deleted(event: Event) -> Mapping[str, Any] | None:
    """The message that was deleted by what this event tells.

    One that began a thread is not taken away: another stands in its place.
    """
    before = event.get("previous_message") or {}
    if event.get("subtype") == "message_deleted":
        return {**before, "ts": event["deleted_ts"]}
    left = event.get("message") or {}
    if event.get("subtype") == "message_changed" and left.get("subtype") == "tombstone":
        return {**before, "ts": left["ts"]}
    return None


def mentioned(event: Event) -> set[str]:
    """The ids of the people whom a message mentions."""
    return set(_PERSON.findall(event.get("text") or ""))


def as_message(
    event: Event, key: ChannelKey, text: str, names: Mapping[str, str], *, private: bool
) -> Message:
    """A Slack message that says `text`, as Rapport's own, to be answered in `key`."""
    return Message(
        channel=key,
        author=event["user"],
        text=text,
        platform_id=event["ts"],
        time=datetime.fromtimestamp(float(event["ts"]), UTC),
        author_name=names.get(event["user"], ""),
        private=private,
        within=(event["channel"],),
    )


def whole_text(event: Event, me: str, names: Mapping[str, str], files: Sequence[str]) -> str:
    """What was said, with the files as they are to stand below it."""
    return "\n".join([spoken_text(event.get("text") or "", me, names), *files]).strip()


def spoken_text(text: str, me: str, names: Mapping[str, str]) -> str:
    """What was said, without the mention of the bot, and with names instead of ids."""

    def shown(mark: re.Match[str]) -> str:
        kind, target, label = mark[1], mark[2], mark[3] or ""
        if kind == "@":
            return "" if target == me else f"@{label or names.get(target, target)}"
        if kind == "#":
            return f"#{label or target}"
        if kind == "!":
            return label or f"@{target}"
        return f"{label} ({target})" if label and label not in target else label or target

    text = _MARK.sub(shown, text)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").strip()
