"""A Discord to test bots against: REST API v10 and gateway v10 on a port of its own.

A test plays the people: it says things, reacts, presses buttons. The bot is a real client
on the far side of real sockets. What the bot does is found in `messages`, `requests` and
`commands`; what the real Discord refuses is refused here with the same words; and what goes
wrong out there (cut connections, late events, rate limits) goes wrong on order.

    async with DiscordServer(token="secret") as server:
        channel = server.add_guild("Rabbits").add_channel("general")
        ...point the client at server.api_base and server.gateway, and start it...
        await server.ready()
        await server.say(channel, ada, "hello <@BOT>")
        await server.wait_for(lambda server: server.messages(channel)[1:])
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self, TypeVar

from aiohttp import WSCloseCode, web

from tests.fakes.discord_bits import Intent
from tests.fakes.discord_commands import command_data
from tests.fakes.discord_gateway import INVALID, RECONNECT, Gateway, Order
from tests.fakes.discord_http import PREFIX, Failure, Front, Request
from tests.fakes.discord_interactions import (
    AUTOCOMPLETE,
    COMMAND,
    COMPONENT,
    Interaction,
    Interactions,
)
from tests.fakes.discord_messages import Message, Messages
from tests.fakes.discord_routes import Routes
from tests.fakes.discord_rules import ERRORS, walk
from tests.fakes.discord_world import Channel, Event, Guild, Json, Snowflakes, User
from tests.fakes.gates import Gate

Found = TypeVar("Found")
File = tuple[str, bytes, str]
"""Name, content and content type."""
LOOK_AGAIN = 0.02
"""Seconds after which a predicate is asked again though nothing changed on the server."""


class DiscordServer:
    """One application with its bot, and everybody it can meet."""

    def __init__(
        self, token: str = "secret-token", *, name: str = "rapport",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` times the three seconds of interactions."""
        self._ids = Snowflakes()
        self._change = asyncio.Event()
        self.bot = User(self._ids(), name, bot=True)
        self.owner = User(self._ids(), "owner")
        self._messages = Messages(self.bot, self._ids, self._emit)
        self._messages.users[self.owner.id] = self.owner
        self.front = Front(token, self._changed)
        self.connection = Gateway(token, self.bot, self._messages.guilds, self._changed)
        """The gateway: sessions, identifies, resumes, and its own switches."""
        self._routes = Routes(self._messages, self._ids, self.owner)
        self._interactions = Interactions(self._messages, self._routes, self._ids, clock)
        self._routes.serve(self.front)
        self._interactions.serve(self.front)
        self._runner: web.AppRunner | None = None
        self.api_base = ""
        self.gateway = ""

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=32 * 1024 * 1024)
        app.router.add_get("/gateway", self.connection.handle)
        app.router.add_get("/attachments/{channel}/{attachment}/{name}", self._attachment)
        app.router.add_route("*", PREFIX + "/{path:.*}", self.front.handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.api_base = f"http://{host}:{port}{PREFIX}"
        self.gateway = f"ws://{host}:{port}/gateway"
        self._routes.base = f"http://{host}:{port}"
        self._routes.gateway = self.connection.url = self.gateway
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._runner is not None
        await self.connection.close(WSCloseCode.GOING_AWAY)
        await self._runner.cleanup()

    # Who and what there is

    def add_guild(self, name: str) -> Guild:
        """A guild that the bot is on."""
        guild = Guild(name, self.bot, self.owner, self._ids, self._emit)
        self._messages.guilds[guild.id] = guild
        self._emit(Event("GUILD_CREATE", guild.as_created(), Intent.GUILDS, guild.id))
        return guild

    def add_user(self, name: str, *, bot: bool = False, accepts_dms: bool = True) -> User:
        """Somebody who is on no guild yet."""
        user = User(self._ids(), name, bot, accepts_dms)
        self._messages.users[user.id] = user
        return user

    def open_dm(self, user: User) -> Channel:
        """The direct conversation of somebody and the bot."""
        return self._messages.open_dm(user)

    def start_thread(
        self, channel: Channel, owner: User, name: str, start: Message | None = None, *,
        private: bool = False, with_bot: bool = False,
    ) -> Channel:
        """Somebody opens a thread, on a message or free; the bot may be in it."""
        members = (self.bot,) if with_bot else ()
        return self._messages.start_thread(
            channel, owner, name, start, private=private, members=members
        )

    # What people do

    async def say(
        self, channel: Channel, author: User, content: str, *, reply_to: Message | None = None,
        attachments: Sequence[File] = (), ping: bool = True, kind: int = 0,
    ) -> Message:
        """Somebody writes; ``<@BOT>`` mentions the bot, `ping` whom they reply to.

        Raises:
            PermissionError: they may not write there.
        """
        if not channel.allowed(author):
            raise PermissionError(f"{author.name} does not see #{channel.name}")
        text = content.replace("<@BOT>", self.bot.mention)
        message = Message(self._ids(), channel, author, text, 19 if reply_to else kind)
        message.reference = reply_to
        if not ping:
            message.allowed_mentions = {"parse": ["users", "roles", "everyone"]}
        message.attachments = [self._routes.attachment(channel, *file) for file in attachments]
        return self._messages.post(message)

    async def edit(self, message: Message, content: str) -> None:
        """The author changes what they said."""
        self._messages.edit(message, content.replace("<@BOT>", self.bot.mention))

    async def delete(self, message: Message) -> None:
        """Somebody deletes a message."""
        self._messages.delete(message)

    async def delete_many(self, *messages: Message) -> None:
        """A moderator deletes messages of one channel at once."""
        self._messages.delete_many(messages)

    async def react(
        self, message: Message, user: User, emoji: str, *, burst: bool = False
    ) -> None:
        """Somebody reacts; a custom emoji is written ``name:id``."""
        self._messages.react(message, user, emoji, burst=burst)

    async def unreact(self, message: Message, user: User, emoji: str) -> None:
        """Somebody takes a reaction back."""
        self._messages.unreact(message, user, emoji)

    async def clear_reactions(self, message: Message) -> None:
        """A moderator takes all reactions away."""
        self._messages.clear(message, None)

    async def clear_emoji(self, message: Message, emoji: str) -> None:
        """A moderator takes all reactions of one kind away."""
        self._messages.clear(message, emoji)

    async def type(self, channel: Channel, user: User) -> None:
        """Somebody types."""
        self._messages.typing(channel, user)

    async def slash(
        self, channel: Channel, user: User, command: str,
        options: Mapping[str, object] | None = None,
    ) -> Interaction:
        """Somebody gives a command, such as ``learn retrain``.

        Raises:
            LookupError: the bot has put no such command, or it has no such option.
            ValueError: an option is missing or does not fit.
        """
        data = command_data(self._available(channel), command, options or {})
        return self._ask(self._interactions.begin(COMMAND, channel, user), data)

    async def press(self, message: Message, user: User, custom_id: str) -> Interaction:
        """Somebody presses a button.

        Raises:
            LookupError: the message has no such button, or it is disabled.
        """
        found = {part.get("custom_id"): part for _, part in walk(message.components)}
        button = found.get(custom_id)
        if button is None or button.get("disabled"):
            raise LookupError(f"no button {custom_id!r} to press, only {list(found)}")
        data = {"custom_id": custom_id, "component_type": button["type"], "id": 1}
        asked = self._interactions.begin(COMPONENT, message.channel, user, message)
        return self._ask(asked, data)

    async def autocomplete(
        self, channel: Channel, user: User, command: str, options: Mapping[str, object],
        *, timeout: float = 3.0,  # noqa: ASYNC109 - a test's own words
    ) -> list[Json]:
        """What is offered to somebody who is typing the last of the options."""
        focused = list(options)[-1]
        data = command_data(self._available(channel), command, options, focused=focused)
        asked = self._ask(self._interactions.begin(AUTOCOMPLETE, channel, user), data)
        await self.wait_for(lambda _: asked.responses, timeout=timeout)
        choices: list[Json] = asked.responses[0].data.get("choices") or []
        return choices

    # What the bot did

    def messages(self, channel: Channel) -> list[Message]:
        """What stands in a channel for everybody, in order, as it is now."""
        return self._messages.of(channel)

    @property
    def requests(self) -> list[Request]:
        """Every REST request, in the order of their answers."""
        return self.front.requests

    @property
    def unknown_requests(self) -> list[Request]:
        """Requests that this server has no route for."""
        return self.front.unknown

    @property
    def rate_limited(self) -> int:
        """How many requests were answered with 429."""
        return self.front.rate_limited

    @property
    def typing(self) -> list[Channel]:
        """Where the bot typed, each time it said so."""
        return self._routes.typing

    @property
    def commands(self) -> list[Json]:
        """The global commands that the bot put."""
        return self._interactions.commands

    @property
    def interactions(self) -> list[Interaction]:
        """All that was asked by command or button."""
        return list(self._interactions.all.values())

    async def wait_for(
        self, predicate: Callable[[DiscordServer], Found],
        timeout: float = 10.0,  # noqa: ASYNC109 - its error says what happened instead
    ) -> Found:
        """What `predicate` returns, as soon as that is true, here or in the client.

        Raises:
            TimeoutError: it never was; the message tells what happened instead.
        """
        try:
            async with asyncio.timeout(timeout):
                while not (found := predicate(self)):
                    # Looked at again without a change here: it may be about the client.
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._change.wait(), LOOK_AGAIN)
        except TimeoutError:
            raise TimeoutError(f"not within {timeout} s; {self._summary()}") from None
        return found

    async def ready(self, timeout: float = 10.0) -> None:  # noqa: ASYNC109 - as `wait_for`
        """Wait until a client is connected and has heard of its guilds."""
        await self.wait_for(lambda server: server.connection.is_ready(), timeout)

    # What goes wrong

    def fail_next(
        self, method: str, path: str, *, status: int = 500, times: int = 1,
        retry_after: float = 0.05, scope: str = "user", everywhere: bool = False,
        code: int = 0, message: str = "", taken: bool = False,
    ) -> None:
        """Answer the next requests whose path matches with a failure.

        `everywhere` makes a 429 a global one; status 0 cuts the connection; with `taken`
        the request takes effect, and only the answer is lost.
        """
        text = message or ERRORS.get(code, (status, f"{status}: as ordered"))[1]
        self.front.failures.append(Failure(
            method, re.compile(path), status, times, retry_after, scope, everywhere, code, text,
            taken,
        ))

    def hold_requests(self, request: str) -> Gate:
        """Keep requests waiting whose method and path fit, such as ``GET .*/messages``."""
        self.front.gates.append(gate := Gate(request))
        return gate

    @property
    def edit_limit(self) -> tuple[int, float] | None:
        """How many edits a channel takes in how many seconds; None for any."""
        return self.front.edit_limit

    @edit_limit.setter
    def edit_limit(self, limit: tuple[int, float] | None) -> None:
        self.front.edit_limit = limit

    @property
    def message_content(self) -> bool:
        """Whether the application may ask for the content of messages."""
        return self.connection.message_content

    @message_content.setter
    def message_content(self, allowed: bool) -> None:
        self.connection.message_content = allowed

    @property
    def silent_heartbeat(self) -> bool:
        """Whether heartbeats go unanswered."""
        return self.connection.silent_heartbeat

    @silent_heartbeat.setter
    def silent_heartbeat(self, silent: bool) -> None:
        self.connection.silent_heartbeat = silent

    async def drop(self, code: int = 1006) -> None:
        """End every connection with a code; 1006 is a cable pulled out."""
        await self.connection.close(code)

    async def request_reconnect(self) -> None:
        """Ask every client to connect anew and resume (op 7)."""
        self.connection.say(RECONNECT, None)

    async def invalidate_session(self, *, resumable: bool = False) -> None:
        """Declare every session over, or only in need of a resume (op 9)."""
        if not resumable:
            self.connection.sessions.clear()
        self.connection.say(INVALID, resumable)

    async def duplicate_next_event(self, times: int = 1) -> None:
        """Send the next event so many times more than once."""
        self.connection.copies_of_next = 1 + times

    def hold_events(self) -> None:
        """Keep events back from now on."""
        self.connection.held = []

    async def release_events(self, order: Order = "same") -> None:
        """Send what was kept back, and from now on all at once again.

        Given a source of chance, in its order, except that what is about one message keeps
        its own: the gateway tells nothing from which another order could be known.
        """
        self.connection.release(order)

    # Within

    def _ask(self, interaction: Interaction, data: Json) -> Interaction:
        payload = self._interactions.payload(interaction, data)
        guild = interaction.channel.guild
        self.connection.emit(Event(
            "INTERACTION_CREATE", payload, None, guild.id if guild else None
        ))
        return interaction

    def _available(self, channel: Channel) -> list[Json]:
        local = self._interactions.guild_commands.get(channel.guild.id, []) if channel.guild else []
        return [*local, *self.commands]

    def _emit(self, event: Event) -> None:
        self.connection.emit(event)
        self._changed()

    def _changed(self) -> None:
        change, self._change = self._change, asyncio.Event()
        change.set()

    def _summary(self) -> str:
        last = [f"{one.method} {one.path} -> {one.status}" for one in self.requests[-8:]]
        said = [
            f"{message.author.name}: {message.content[:60]!r}"
            for message in list(self._messages.all.values())[-6:] if not message.deleted
        ]
        return (
            f"connected: {self.connection.is_ready()}, closed with {self.connection.closed_with}; "
            f"the last requests: {last or 'none'}; the last messages: {said or 'none'}; "
            f"unknown requests: {len(self.unknown_requests)}"
        )

    async def _attachment(self, request: web.Request) -> web.Response:
        await self.front.held(request)
        for message in self._messages.all.values():
            for file in message.attachments:
                if str(file.id) == request.match_info["attachment"] and not message.deleted:
                    kind = {"Content-Type": file.content_type}
                    return web.Response(body=file.content, headers=kind)
        return web.Response(status=404)
