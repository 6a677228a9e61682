"""The server's end of Socket Mode: tickets, connections, envelopes and acknowledgements.

Events travel at least once: one that was not acknowledged on a connection that is gone
comes again on the next, in a new envelope with the same ``event_id``. Slash commands and
interactions come once or not at all, since a person is waiting for them. What the payloads
say is decided elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import dataclass, field
from typing import Literal

from aiohttp import WSMsgType, web

from tests.fakes.slack_world import JSON, World

Order = Literal["same", "reversed"] | random.Random
"""In which order events are sent that were kept back; a source of chance shuffles them."""
MOST_CONNECTIONS = 10


@dataclass(eq=False, slots=True)
class Connection:
    """One WebSocket of the app."""

    ws: web.WebSocketResponse
    request: web.Request
    leaving: bool = False
    """Told to go: nothing more is sent over it."""

    @property
    def usable(self) -> bool:
        """Whether envelopes may be sent over it."""
        return not self.leaving and not self.ws.closed


@dataclass(frozen=True, slots=True)
class Ack:
    """An acknowledgement as it came."""

    envelope_id: str
    delay: float
    """Seconds since the envelope was sent."""
    payload: JSON | None

    @property
    def late(self) -> bool:
        """Whether Slack would have given up waiting."""
        return self.delay > 3.0


@dataclass(eq=False, slots=True)
class Delivery:
    """A payload on its way to the app, in one envelope or in several, one after another."""

    kind: Literal["events_api", "slash_commands", "interactive"]
    payload: JSON
    sent: dict[str, float] = field(default_factory=dict)
    """When each of its envelopes was sent, by the envelope's id."""
    connection: Connection | None = None
    acks: list[Ack] = field(default_factory=list)

    @property
    def attempt(self) -> int:
        """How many times it has been sent."""
        return len(self.sent)


class Socket:
    """All connections of the app, and everything sent over them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._held: list[Delivery] | None = None
        self._envelopes: dict[str, Delivery] = {}
        self.connections: list[Connection] = []
        self.hellos = 0
        self.deliveries: list[Delivery] = []
        self.acks: list[Ack] = []
        self.repeat = 0
        """How many of the next events are sent twice."""

    @property
    def usable(self) -> list[Connection]:
        """The connections that envelopes may be sent over."""
        return [connection for connection in self.connections if connection.usable]

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Hold one connection for as long as it lasts."""
        ticket = request.query.get("ticket", "")
        if ticket not in self._world.tickets:
            raise web.HTTPUnauthorized(text="This address has been used, or never was given.")
        self._world.tickets.remove(ticket)
        ws = web.WebSocketResponse(timeout=1.0)
        await ws.prepare(request)
        connection = Connection(ws, request)
        if len(self.usable) >= MOST_CONNECTIONS:
            await ws.send_json({"type": "disconnect", "reason": "too_many_websockets"})
            await ws.close()
            return ws
        await self._hello(connection)
        try:
            await self.again()
            async for frame in ws:
                if frame.type is WSMsgType.TEXT:
                    self._take(frame.data)
                elif frame.type is WSMsgType.BINARY:
                    self._world.complaints.append("socket: a frame of bytes")
        finally:
            self.connections.remove(connection)
            self._world.news.tell()
        await self.again()
        return ws

    async def _hello(self, connection: Connection) -> None:
        await connection.ws.send_json({
            "type": "hello", "num_connections": len(self.usable) + 1,
            "debug_info": {"host": "applink-1", "build_number": 1,
                           "approximate_connection_time": 18060},
            "connection_info": {"app_id": self._world.app_id},
        })
        await connection.ws.ping(b"Ping from applink-1")
        self.connections.append(connection)
        self.hellos += 1
        self._world.news.tell()

    async def again(self, lost_only: bool = True) -> None:
        """Send every event that waits for a connection, or was lost with an earlier one.

        Or, with ``lost_only=False``, all that were not acknowledged.
        """
        for delivery in list(self.deliveries):
            lost = delivery.connection not in self.connections
            held = delivery in (self._held or ())
            if not delivery.acks and not held and (lost or not lost_only):
                await self._send(delivery)

    def _take(self, text: str) -> None:
        """An acknowledgement, or a mistake of the app."""
        try:
            frame = json.loads(text)
            envelope_id = str(frame["envelope_id"])
        except (ValueError, TypeError, KeyError):
            self._world.complaints.append("socket: a frame that is no acknowledgement")
            return
        delivery, payload = self._envelopes.get(envelope_id), frame.get("payload")
        if delivery is None:
            self._world.complaints.append("socket: an acknowledgement of no envelope")
            return
        if payload is not None and delivery.kind == "events_api":
            self._world.complaints.append("socket: an event was answered with a payload")
        ack = Ack(envelope_id, time.monotonic() - delivery.sent[envelope_id], payload)
        delivery.acks.append(ack)
        self.acks.append(ack)
        self._world.news.tell()

    async def event(self, payload: JSON) -> None:
        """Send an event, now or when it can be sent."""
        delivery = Delivery("events_api", payload)
        self.deliveries.append(delivery)
        if self._held is not None:
            self._held.append(delivery)
            return
        await self._send(delivery)
        if self.repeat and delivery.attempt:
            self.repeat -= 1
            await self._send(delivery)

    async def ask(self, delivery: Delivery, seconds: float) -> Ack:
        """Send something that a person waits for; its acknowledgement.

        Raises `ConnectionError` where no app is connected and `TimeoutError` for silence.
        """
        if not self.usable:
            raise ConnectionError("no app is connected")
        self.deliveries.append(delivery)
        await self._send(delivery)
        acks = await self._world.news.wait_for(lambda: delivery.acks, seconds)
        return acks[0]

    async def _send(self, delivery: Delivery) -> None:
        if not self.usable or (delivery.attempt and delivery.kind != "events_api"):
            return
        connection = self.usable[-1]
        envelope: JSON = {
            "envelope_id": self._world.id("envelope-"), "type": delivery.kind,
            "payload": delivery.payload,
            "accepts_response_payload": delivery.kind != "events_api",
        }
        if delivery.kind == "events_api":
            envelope["retry_attempt"] = delivery.attempt
            envelope["retry_reason"] = "timeout" if delivery.attempt else ""
        delivery.connection = connection
        delivery.sent[envelope["envelope_id"]] = time.monotonic()
        self._envelopes[envelope["envelope_id"]] = delivery
        try:
            await connection.ws.send_json(envelope)
        except ConnectionError:
            # It died in this moment; the end of its `serve` sends the event again.
            connection.leaving = True

    def hold(self) -> None:
        """Keep events back from now on."""
        self._held = self._held or []

    async def release(self, order: Order) -> None:
        """Send what was kept back."""
        held, self._held = self._held or [], None
        if order == "reversed":
            held.reverse()
        elif isinstance(order, random.Random):
            order.shuffle(held)
        for delivery in held:
            await self._send(delivery)

    async def repeat_one(self, rng: random.Random) -> None:
        """Send one of the events again that were acknowledged."""
        taken = [one for one in self.deliveries if one.acks and one.kind == "events_api"]
        if taken:
            await self._send(rng.choice(taken))

    async def disconnect(self, reason: str) -> None:
        """Ask the app to connect anew; after a mere warning events still come this way."""
        for connection in self.usable:
            connection.leaving = reason != "warning"
            host = {"host": "applink-1"}
            frame = {"type": "disconnect", "reason": reason, "debug_info": host}
            await connection.ws.send_json(frame)

    async def close(self, code: int) -> None:
        """End every connection with a close frame."""
        for connection in list(self.connections):
            connection.leaving = True
            await connection.ws.close(code=code)

    async def drop(self) -> None:
        """End every connection without a word, as a network does."""
        gone = list(self.connections)
        for connection in gone:
            connection.leaving = True
            if isinstance(transport := connection.request.transport, asyncio.Transport):
                transport.abort()
        await self._world.news.wait_for(
            lambda: not any(connection in self.connections for connection in gone), 10
        )
