"""A Slack that runs on this machine: Web API, Socket Mode, Events API, for real clients.

`SlackServer` is a workspace (`slack_world.World`) with a network around it. An unmodified
Bolt app talks to it through ``AsyncWebClient(base_url=server.api_base)``; the test speaks
for the people (`say`, `react`, `command`, `press`), looks at what became of it
(`messages`, `requests`, `views`, `acks`), and orders misbehaviour (`fail_next`,
`disconnect`, `drop`, `redeliver_next`, `hold_events`). It refuses what Slack refuses, with
Slack's error codes, and notes in `complaints` and `unknown_requests` what Slack would let
pass or has never heard of: a test of a good app finds both empty.

The methods are in ``slack_chat``, ``slack_reading`` and ``slack_surfaces``, and reached
through ``slack_web``; the events in ``slack_events``, what people do to the app itself in
``slack_interactions``; the transport in ``slack_socket`` and ``slack_poster``.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Self, TypeVar

from aiohttp import web

from tests.fakes import slack_events
from tests.fakes.gates import Gate
from tests.fakes.slack_calls import Refused
from tests.fakes.slack_interactions import Answer, Feedback, Interactions
from tests.fakes.slack_json import rich_text
from tests.fakes.slack_poster import Posted, Poster
from tests.fakes.slack_socket import Ack, Delivery, Order, Socket
from tests.fakes.slack_web import Failure, Request, WebApi
from tests.fakes.slack_world import (
    JSON,
    SCOPES,
    SUBSCRIPTIONS,
    Channel,
    File,
    Message,
    User,
    View,
    World,
)

Found = TypeVar("Found")


class SlackServer(World):
    """A workspace that serves on 127.0.0.1 while its context is open."""

    def __init__(
        self,
        bot_token: str,
        app_token: str,
        signing_secret: str = "signing-secret",
        scopes: Iterable[str] = SCOPES,
        subscriptions: Iterable[str] = SUBSCRIPTIONS,
    ) -> None:
        super().__init__(frozenset(scopes), frozenset(subscriptions))
        self.socket = Socket(self)
        self.poster = Poster(signing_secret)
        self.interactions = Interactions(self)
        self.request_url: str | None = None
        """Where events and interactions are posted; None means Socket Mode."""
        self.ack_timeout = 3.0
        """Seconds a person waits for an app to take a command or a click."""
        self.web_api = WebApi(self, self.interactions, bot_token, app_token, self._flush)
        self._posting: set[asyncio.Task[Posted]] = set()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/link/", self.socket.serve)
        self.web_api.add_routes(app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.base = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._posting:
            task.cancel()
        await asyncio.gather(*self._posting, return_exceptions=True)
        await self.socket.close(1001)
        await self._runner.cleanup()

    @property
    def api_base(self) -> str:
        """The ``base_url`` of the app's web client."""
        return f"{self.base}/api/"

    # What people do.

    async def say(
        self, channel: Channel, user: User, text: str, thread: Message | str | None = None,
        files: Sequence[JSON] = (),
    ) -> Message:
        """Somebody writes; ``<@BOT>`` mentions the bot. Files are made with `attach`."""
        text = text.replace("<@BOT>", f"<@{self.bot.id}>")
        shared = {"files": list(files), "subtype": "file_share"} if files else {}
        message = slack_events.post(self, channel, user, text, thread_ts=root(thread), **shared)
        await self._flush()
        return message

    def attach(self, name: str, content: bytes, kind: str) -> JSON:
        """A file that somebody has uploaded, as events tell of it."""
        file = File(self.id("F"), name, len(content), content, name, shared=True)
        self.files[file.id] = file
        place = f"{self.base}/files-pri/{self.team_id}-{file.id}"
        return {
            "id": file.id, "name": name, "title": name, "mimetype": kind, "mode": "hosted",
            "size": file.length, "url_private": f"{place}/{name}",
            "url_private_download": f"{place}/download/{name}",
        }

    async def edit(self, message: Message, text: str) -> None:
        """The author changes a message."""
        author = self.users[message.user]
        slack_events.change(self, message, author, text=text, blocks=rich_text(text))
        await self._flush()

    async def delete(self, message: Message) -> None:
        """The author deletes a message."""
        slack_events.remove(self, message)
        await self._flush()

    async def react(self, message: Message, user: User, name: str) -> None:
        """Somebody adds a reaction, such as ``+1`` or ``+1::skin-tone-3``."""
        slack_events.react(self, message, user, name)
        await self._flush()

    async def unreact(self, message: Message, user: User, name: str) -> None:
        """Somebody takes a reaction back."""
        slack_events.unreact(self, message, user, name)
        await self._flush()

    async def open_home(self, user: User) -> None:
        """Somebody opens the app's home tab."""
        slack_events.open_home(self, user)
        await self._flush()

    async def stop_stream(self, message: Message) -> None:
        """Somebody presses Stop under a streamed message."""
        if message.stream is None:
            raise LookupError("This message is not streamed, so there is nothing to stop.")
        message.stream.state = "stopped_by_user"
        self.news.tell()

    async def command(self, channel: Channel, user: User, name: str, text: str = "") -> Answer:
        """Somebody gives a slash command; returns once it is taken, or given up."""
        answer, url = self.interactions.begin(user, channel)
        payload = self.interactions.command(channel, user, name, text, url)
        await self._ask(answer, Delivery("slash_commands", payload))
        if answer.ack and (answer.ack.get("text") or answer.ack.get("blocks")):
            self.interactions.show(answer, answer.ack)
            await self._flush()
        return answer

    async def press(
        self, where: Message | View, user: User, action_id: str, value: str | None = None,
        feedback: Feedback | None = None,
    ) -> Answer:
        """Somebody presses a button, or one of the two of ``feedback_buttons``.

        The button's own value is sent unless another is given.
        """
        message = where if isinstance(where, Message) else None
        channel = message.channel if message else None
        answer, url = self.interactions.begin(user, channel, message)
        payload = self.interactions.press(where, user, action_id, value, feedback, url)
        await self._ask(answer, Delivery("interactive", payload))
        return answer

    async def submit(self, view: View, user: User, values: JSON) -> Answer:
        """Somebody sends a modal off; `values` are its state by block and action."""
        answer, _ = self.interactions.begin(user, None)
        payload = self.interactions.submit(view, user, values)
        await self._ask(answer, Delivery("interactive", payload))
        return answer

    # What can be seen afterwards.

    def messages(self, channel: Channel, thread: Message | str | None = None) -> list[Message]:
        """The messages of a channel as they are now; of a thread, its replies only."""
        parent = root(thread)
        return [
            message
            for message in channel.messages.values()
            if parent is None or (message.is_reply and message.thread_ts == parent)
        ]

    @property
    def requests(self) -> list[Request]:
        """Every call of the Web API, in the order in which they were answered."""
        return self.web_api.requests

    @property
    def downloads(self) -> list[str]:
        """The ids of the files that were asked for, with the token or without."""
        return self.web_api.downloads

    @property
    def unknown_requests(self) -> list[str]:
        """Methods and addresses that nobody has heard of here."""
        return self.web_api.unknown_requests

    @property
    def acks(self) -> list[Ack]:
        """Every acknowledgement, in the order in which they came."""
        return self.socket.acks

    @property
    def unacknowledged(self) -> list[Delivery]:
        """What was sent, or waits to be, and no acknowledgement came for yet."""
        return [delivery for delivery in self.socket.deliveries if not delivery.acks]

    def calls(self, method: str) -> list[Request]:
        """The requests for one method."""
        return [request for request in self.requests if request.method == method]

    async def wait_for(
        self,
        predicate: Callable[[SlackServer], Found],
        timeout: float = 10.0,  # noqa: ASYNC109 - a test that says it can be read
    ) -> Found:
        """The first truthy thing that `predicate` finds; looks again after every change."""
        try:
            return await self.news.wait_for(lambda: predicate(self), timeout)
        except TimeoutError:
            last = ", ".join(request.method for request in self.requests[-10:]) or "none"
            raise TimeoutError(
                f"nothing like it within {timeout:g} s; last requests: {last}; "
                f"{len(self.unacknowledged)} unacknowledged; complaints: {self.complaints}"
            ) from None

    async def ready(self, timeout: float = 10.0) -> None:  # noqa: ASYNC109 - as above
        """Return once an app is connected and greeted."""
        await self.wait_for(lambda server: server.socket.usable, timeout)

    # Misbehaviour, on order.

    def advance(self, seconds: float) -> None:
        """Move Slack's clock forward; streams, triggers and response URLs grow old."""
        self.ahead += seconds

    def fail_next(
        self, method: str, error: str = "ratelimited", status: int | None = None,
        retry_after: int = 1, times: int = 1,
    ) -> None:
        """Refuse the next calls of `method` (``*`` for any); 429 says when to come back."""
        if status is None:
            status = 429 if error == "ratelimited" else 200
        refusal = Refused(error, status, retry_after)
        self.web_api.failures.append(Failure(method, refusal, times))

    def lose_next(self, method: str) -> None:
        """Do what the next call of `method` asks for, and cut the line before saying so."""
        self.web_api.losses.append(method)

    def give_up(self) -> None:
        """Tell no more of what was not acknowledged until now."""
        self.socket.deliveries = [one for one in self.socket.deliveries if one.acks]

    def hold_requests(self, method: str) -> Gate:
        """Keep calls of methods that fit waiting."""
        self.web_api.gates.append(gate := Gate(method))
        return gate

    async def disconnect(self, reason: str = "refresh_requested") -> None:
        """Ask the app, politely, to connect anew."""
        await self.socket.disconnect(reason)

    async def close_sockets(self, code: int = 1000) -> None:
        """Close every connection with a close frame."""
        await self.socket.close(code)

    async def drop(self) -> None:
        """Cut every connection without a close frame."""
        await self.socket.drop()

    def redeliver_next(self, count: int = 1) -> None:
        """Send each of the next events twice, as Slack does when an answer gets lost."""
        self.socket.repeat += count

    async def redeliver(self) -> None:
        """Send every event that was not acknowledged again, on the connection there is."""
        await self.socket.again(lost_only=False)

    async def repeat_one(self, rng: random.Random) -> None:
        """Send any of the earlier events again, as if its acknowledgement had been lost."""
        await self.socket.repeat_one(rng)

    def hold_events(self) -> None:
        """Keep events back until `release_events`."""
        self.socket.hold()

    async def release_events(self, order: Order = "same") -> None:
        """Send the events that were kept back, in this order."""
        await self.socket.release(order)

    # The HTTP Events API.

    async def post_event(self, url: str, event: JSON, *, secret: str | None = None) -> Posted:
        """Post `event` to a request URL, signed, and again while it is not taken."""
        payload = slack_events.callback(self, event)
        return await self.poster.event(url, payload, secret=secret)

    async def verify_url(self, url: str) -> bool:
        """Whether an app proves by the challenge that it listens at `url`."""
        return await self.poster.verify(url)

    # The network.

    async def _flush(self) -> None:
        """Hand what has happened to the transport."""
        self.news.tell()
        while self.outbox:
            payload = self.outbox.pop(0)
            if self.request_url is None:
                await self.socket.event(payload)
                continue
            task = asyncio.create_task(self.poster.event(self.request_url, payload))
            self._posting.add(task)
            task.add_done_callback(self._posted)

    def _posted(self, task: asyncio.Task[Posted]) -> None:
        self._posting.discard(task)
        self.news.tell()

    async def _ask(self, answer: Answer, delivery: Delivery) -> None:
        if self.request_url is None:
            try:
                answer.ack = (await self.socket.ask(delivery, self.ack_timeout)).payload
            except ConnectionError:
                answer.failed = "dispatch_failed"
            except TimeoutError:
                answer.failed = "operation_timeout"
            return
        commands = delivery.kind == "slash_commands"
        fields = delivery.payload if commands else {"payload": json.dumps(delivery.payload)}
        posted = await self.poster.form(self.request_url, fields)
        answer.ack = posted.payload if posted.ok else None
        answer.failed = None if posted.ok else "dispatch_failed"


def root(thread: Message | str | None) -> str | None:
    """The `ts` of the message that began a thread, given any message of it."""
    if isinstance(thread, Message):
        return thread.thread_ts or thread.ts
    return thread
