"""What every method of the Web API shares: arguments, refusals, permissions and limits.

A method is a function from a `Call` to the fields of its answer; it refuses by raising
`Refused` with one of Slack's error codes. Tokens, HTTP and the order of checks are the
server's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.fakes.slack_world import JSON, PLURAL, Channel, Message, User, World

ENCODED = (
    "blocks", "attachments", "chunks", "files", "loading_messages", "metadata", "prompts", "view",
)
"""Arguments that are structures: JSON in JSON bodies, JSON text in forms and queries."""


class Refused(Exception):
    """The call is answered with ``ok: false``."""

    def __init__(self, error: str, status: int = 200, retry_after: int = 0, **more: Any) -> None:
        super().__init__(error)
        self.status = status
        self.headers = {"Retry-After": str(retry_after)} if status == 429 else {}
        self.answer: JSON = {"ok": False, "error": error, **more}


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a method with its decoded arguments."""

    world: World
    method: str
    args: JSON

    def text(self, name: str) -> str:
        """A string argument; empty where it is missing."""
        value = self.args.get(name)
        return "" if value is None else str(value)

    def flag(self, name: str) -> bool:
        """A boolean, which queries spell as a digit."""
        return self.args.get(name) in (True, 1, "1", "true")

    def number(self, name: str, default: int) -> int:
        """A whole number within the limits that Slack's pages have."""
        try:
            value = int(self.args.get(name) or default)
        except ValueError:
            raise invalid(f"{name} must be a number") from None
        if not 1 <= value <= 1000:
            raise Refused("invalid_limit")
        return value

    def allow(self, *scopes: str) -> None:
        """Refuse unless the app has been given one of these scopes."""
        if not self.world.scopes.intersection(scopes):
            provided = ",".join(sorted(self.world.scopes))
            raise Refused("missing_scope", needed=",".join(scopes), provided=provided)

    def channel(self, name: str = "channel", right: str = "", write: bool = False) -> Channel:
        """The conversation that an argument names, if the bot may see it.

        `right` is the scope to ask for, such as ``history``; `write` asks that the bot is in
        it. As with the real one, a private channel without the bot does not exist.
        """
        given = self.text(name)
        channel = self.world.channels.get(given)
        if channel is None and write and given in self.world.users:
            channel = self.world.open_dm(self.world.users[given])
        if channel is None and write:
            wanted = given.removeprefix("#")
            named = (c for c in self.world.channels.values() if c.name == wanted != "")
            channel = next(named, None)
        if channel is None or (channel.kind != "channel" and not channel.bot_is_member):
            raise Refused("channel_not_found")
        if right:
            self.allow(f"{PLURAL[channel.kind]}:{right}")
        if write and not channel.bot_is_member:
            raise Refused("not_in_channel")
        if write and channel.archived:
            raise Refused("is_archived")
        return channel

    def message(self, channel: Channel, name: str = "ts") -> Message:
        """The message of `channel` that an argument names."""
        message = channel.messages.get(self.text(name))
        if message is None:
            raise Refused("message_not_found")
        return message

    def user(self, name: str = "user") -> User:
        """The person that an argument names."""
        user = self.world.users.get(self.text(name))
        if user is None:
            raise Refused("user_not_found")
        return user


Function = Callable[[Call], JSON]


@dataclass(frozen=True, slots=True)
class Method:
    """A method, what it cannot do without, and which of the scopes it asks for."""

    function: Function
    needs: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    app_token: bool = False

    def __call__(self, call: Call) -> JSON:
        missing = [name for name in self.needs if call.args.get(name) in (None, "")]
        if missing:
            raise invalid(*(f"missing required field: {name}" for name in missing))
        if self.scopes:
            call.allow(*self.scopes)
        return self.function(call)


class Methods(dict[str, Method]):
    """Methods by name."""

    def add(
        self, name: str, *needs: str, scopes: tuple[str, ...] = (), app_token: bool = False
    ) -> Callable[[Function], Function]:
        """Make the decorated function the method `name`."""

        def keep(function: Function) -> Function:
            self[name] = Method(function, needs, scopes, app_token)
            return function

        return keep


def invalid(*messages: str) -> Refused:
    """The refusal of arguments that are missing or make no sense."""
    return Refused(
        "invalid_arguments", response_metadata={"messages": [f"[ERROR] {m}" for m in messages]}
    )


def decode(args: JSON) -> JSON:
    """`args` with its structures as structures, however they came."""
    decoded = dict(args)
    for name in ENCODED:
        if isinstance(value := decoded.get(name), str):
            try:
                decoded[name] = json.loads(value)
            except ValueError:
                error = Refused("invalid_blocks_format") if name == "blocks" else None
                raise error or invalid(f"{name} is not JSON") from None
    return decoded


def page(items: list[JSON], call: Call, default: int) -> tuple[list[JSON], JSON]:
    """The page of `items` that a call asks for, and where the next one begins."""
    try:
        start = int(call.text("cursor").removeprefix("from:") or 0)
    except ValueError:
        raise Refused("invalid_cursor") from None
    end = start + call.number("limit", default)
    following = f"from:{end}" if end < len(items) else ""
    return items[start:end], {"response_metadata": {"next_cursor": following}}
