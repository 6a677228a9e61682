"""What people write on Slack, as Rapport's own values.

A thread is a conversation of its own, and its key says where it is: the channel, and after
a colon the message that began the thread. Nothing here asks Slack, answers or stores;
whether the person may be answered is admission's to say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bot.config import SlackConfig
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
    opens = config.thread_replies and not is_direct(channel) and channel not in config.always
    return channel_key(team, channel, thread or (event["ts"] if opens else None))


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


def mentioned(event: Event) -> set[str]:
    """The ids of the people whom a message mentions."""
    return set(_PERSON.findall(event.get("text") or ""))


def as_message(
    event: Event, key: ChannelKey, me: str, names: Mapping[str, str], *, private: bool
) -> Message:
    """A Slack message as Rapport's own, to be answered in `key`."""
    text = spoken_text(event.get("text") or "", me, names)
    files = "".join(f"\n[attached file {file.get('name', '')}]" for file in event.get("files", ()))
    return Message(
        channel=key,
        author=event["user"],
        text=f"{text}{files}".strip(),
        platform_id=event["ts"],
        time=datetime.fromtimestamp(float(event["ts"]), UTC),
        author_name=names.get(event["user"], ""),
        private=private,
        within=(event["channel"],),
    )


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
