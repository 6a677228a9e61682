"""The Slack app, described for Slack: what it listens to, what it calls, what that takes.

The lists of events and methods stand here once. The listeners are registered from the one,
a test holds the calls in the code equal to the other, and the scopes follow from both, so
that the app asks for what it uses and for nothing else.
"""

from __future__ import annotations

from typing import Any

NAME = "Rapport"
DESCRIPTION = "A chatbot that learns from the reactions it gets"
COMMAND = "/rapport"

EVENTS: dict[str, tuple[str, ...]] = {
    "app_home_opened": (),
    "app_mention": ("app_mentions:read",),
    "message.channels": ("channels:history",),
    "message.groups": ("groups:history",),
    "message.im": ("im:history",),
    "message.mpim": ("mpim:history",),
    "reaction_added": ("reactions:read",),
    "reaction_removed": ("reactions:read",),
}
"""The events the app subscribes to, and the scopes each takes."""

_READ = ("channels:history", "groups:history", "im:history", "mpim:history")

METHODS: dict[str, tuple[str, ...]] = {
    "apps.connections.open": (),  # with the app token, which has the scope connections:write
    "assistant.threads.setStatus": ("chat:write",),
    "auth.test": (),
    "chat.postEphemeral": ("chat:write",),
    "chat.postMessage": ("chat:write",),
    "chat.stopStream": ("chat:write",),
    # The client's name for chat.startStream and what follows it.
    "chat.stream": ("chat:write",),
    "chat.update": ("chat:write",),
    "conversations.history": _READ,
    "conversations.info": ("channels:read", "groups:read", "mpim:read"),
    "conversations.open": ("im:write",),
    "conversations.replies": _READ,
    # The client's name for files.getUploadURLExternal and what completes it.
    "files.upload.v2": ("files:write",),
    "reactions.add": ("reactions:write",),
    "reactions.get": ("reactions:read",),
    "reactions.remove": ("reactions:write",),
    "users.info": ("users:read",),
    "views.publish": (),
}
"""The methods of the Web API the app calls, and the scopes each takes."""

# Commands have a scope without a method, and so do the files under messages.
SCOPES = frozenset(
    {"commands", "files:read"}.union(*EVENTS.values(), *METHODS.values())
)
"""What the bot token has to be allowed."""
AGENT = frozenset({"assistant:write"})
"""What it has to be allowed besides where Slack shows the bot as an agent."""
PROMPTS = ("What can you do?", "Tell me a joke.", "I had a long day.")
"""What Slack suggests to somebody who opens the agent."""


def listened() -> frozenset[str]:
    """The types of the events; all kinds of messages have one type."""
    return frozenset(event.partition(".")[0] for event in EVENTS)


def manifest(url: str = "", *, agent: bool = False) -> dict[str, Any]:
    """The app's manifest: for Socket Mode, or for requests to an address of one's own.

    With `agent` Slack shows the bot in its agent view.
    """
    address = {"request_url": url} if url else {}
    command: dict[str, Any] = {
        "command": COMMAND,
        "description": "What the bot can do, who it is here, and how it learns",
        "usage_hint": "help | status | why | reset | persona | up | down | undo | mydata | learn",
        "should_escape": False,
    }
    view = {
        "agent_description": DESCRIPTION,
        "suggested_prompts": [{"title": text, "message": text} for text in PROMPTS],
    }
    return {
        "display_information": {"name": NAME, "description": DESCRIPTION},
        "features": {
            **({"agent_view": view} if agent else {}),
            "app_home": {
                "home_tab_enabled": True,
                "messages_tab_enabled": True,
                "messages_tab_read_only_enabled": False,
            },
            "bot_user": {"display_name": NAME, "always_online": True},
            "slash_commands": [command | ({"url": url} if url else {})],
        },
        "oauth_config": {"scopes": {"bot": sorted(SCOPES | AGENT if agent else SCOPES)}},
        "settings": {
            "event_subscriptions": {**address, "bot_events": sorted(EVENTS)},
            "interactivity": {"is_enabled": True, **address},
            "org_deploy_enabled": False,
            "socket_mode_enabled": not url,
            "token_rotation_enabled": False,
        },
    }
