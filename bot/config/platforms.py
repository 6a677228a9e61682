"""The keys of Discord and Slack, and of which reactions are votes.

Only keys and what people read about them; no token stands here.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bot.config.sections import Count, Section


class VotesConfig(Section):
    """Which reactions are votes."""

    up: tuple[str, ...] = ("👍", "❤️")
    """Reactions that say a reply was good; skin tones make no difference."""
    down: tuple[str, ...] = ("👎",)
    """Reactions that say a reply was bad."""


class DiscordConfig(Section):
    """Where and how the bot talks on Discord."""

    message_content: bool = True
    """Whether the bot may read messages that do not mention it (the privileged "message content"
    intent of the developer portal); without it mentions and direct messages still work."""
    always: tuple[str, ...] = ()
    """Channels (or categories) where the bot answers every message, not only mentions."""
    thread_per_mention: bool = False
    """Whether a mention in a channel opens a thread for the answer."""
    buttons: bool = False
    """Whether replies carry 👍 and 👎 buttons; reactions work either way."""
    ping: bool = False
    """Whether an answer pings the person who asked."""
    receipt: bool = False
    """Whether a question that has to wait behind another gets a 👀 until its answer begins."""
    edit_seconds: Annotated[float, Field(ge=0.2)] = 1.2
    """Seconds between two edits of an answer that is being written; below 1 Discord slows it
    down."""
    attachment_characters: Count = 2000
    """How much of attached text files is read with a message, in characters."""
    api_base: str = ""
    """Another server that speaks Discord's API, such as "http://127.0.0.1:8000/api/v10"."""


class SlackConfig(Section):
    """Where and how the bot talks on Slack."""

    mode: Literal["socket", "http"] = "socket"
    """How Slack's events arrive: "socket" needs no public address, "http" serves Slack's requests
    (and needs SLACK_SIGNING_SECRET)."""
    http_host: str = "127.0.0.1"
    """Where requests are served in the mode "http"; put what ends TLS in front of it."""
    http_port: Annotated[int, Field(ge=0, le=65535)] = 3000
    """The port they are served on, under /slack/events; 0 takes one that is free."""
    always: tuple[str, ...] = ()
    """Channels where the bot answers every message, not only mentions."""
    thread_replies: bool = True
    """Whether a mention in a channel is answered in a thread of its own."""
    agent_view: bool = False
    """Whether Slack shows the bot as an agent, where each direct question opens a thread; `rapport
    slack-manifest` then describes such an app."""
    stream: bool = False
    """Whether answers in threads grow by Slack's own streaming instead of by edits; where Slack
    does not allow it, by edits all the same."""
    feedback_buttons: bool = True
    """Whether replies carry 👍 and 👎 buttons; reactions work either way."""
    receipt: bool = False
    """Whether a question that has to wait behind another gets a 👀 until its answer begins."""
    edit_seconds: Annotated[float, Field(ge=0.2)] = 1.2
    """Seconds between two edits of an answer that is being written; below 1 Slack slows it
    down."""
    attachment_characters: Count = 2000
    """How much of attached text files is read with a message, in characters."""
    api_base: str = ""
    """Another server that speaks Slack's Web API, such as "http://127.0.0.1:8000/api/"."""
