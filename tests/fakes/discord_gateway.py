"""The gateway v10: sessions that outlive their connections, and what can go wrong on them.

A session numbers its events and keeps the newest of them, so that a client that comes back
hears exactly what it missed. The gateway knows what events are about only as far as the
intents and the shard go; it is told of them through `emit`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import secrets
import time
import zlib
from collections import deque
from collections.abc import Callable
from typing import Literal

from aiohttp import WSCloseCode, WSMsgType, web

from tests.fakes.discord_bits import Intent
from tests.fakes.discord_world import Event, Guild, Json, User, shuffled

DISPATCH, HEARTBEAT, IDENTIFY, PRESENCE, VOICE, RESUME = 0, 1, 2, 3, 4, 6
RECONNECT, MEMBERS, INVALID, HELLO, ACK = 7, 8, 9, 10, 11
HARD = 1006
"""The code of a connection that ended without a word."""
UNKNOWN_OP, UNDECODABLE, NOT_IDENTIFIED, WRONG_TOKEN, TWICE = 4001, 4002, 4003, 4004, 4005
WRONG_SEQ, TOO_FAST, TIMED_OUT, WRONG_SHARD, WRONG_VERSION = 4007, 4008, 4009, 4010, 4012
WRONG_INTENTS, NOT_ALLOWED = 4013, 4014
ENDS_SESSION = {WRONG_TOKEN, WRONG_SEQ, TIMED_OUT, WRONG_SHARD, 4011, WRONG_VERSION,
                WRONG_INTENTS, NOT_ALLOWED}
LARGEST = 4096
"""Bytes of one frame that a client may send."""
Order = Literal["same", "reversed"] | random.Random
"""In which order events are told that were held back."""


class Connection:
    """One websocket; what is sent goes out in order, and compressed where asked for."""

    def __init__(self, ws: web.WebSocketResponse, request: web.Request) -> None:
        self._ws = ws
        self._request = request
        compressed = request.query.get("compress") == "zlib-stream"
        self._zlib = zlib.compressobj() if compressed else None
        self._queue: asyncio.Queue[tuple[str, Callable[[], None] | None]] = asyncio.Queue()
        self._writer = asyncio.create_task(self._write())
        self._frames: deque[float] = deque(maxlen=120)
        self.session: Session | None = None
        self.last_beat = time.monotonic()

    def send(self, frame: str, sent: Callable[[], None] | None = None) -> None:
        """Send a frame after those before it; `sent` is called when it is on its way."""
        self._queue.put_nowait((frame, sent))

    def say(self, op: int, data: object) -> None:
        """Send something that is not an event."""
        self.send(json.dumps({"op": op, "d": data, "s": None, "t": None}))

    def too_fast(self) -> bool:
        """Count a received frame; True for more than 120 in a minute."""
        moment = time.monotonic()
        full = len(self._frames) == 120 and moment - self._frames[0] < 60
        self._frames.append(moment)
        return full

    async def close(self, code: int) -> None:
        """End it after what was to be sent, or at once and without a word for 1006."""
        if self.session is not None:
            self.session.connection = None
            self.session = None
        if code == HARD:
            await self.stop()
            if self._request.transport is not None:
                self._request.transport.abort()
            return
        if not self._writer.done():
            await self._queue.join()
        await self.stop()
        await self._ws.close(code=code)

    async def stop(self) -> None:
        """Send nothing more."""
        self._writer.cancel()
        await asyncio.wait([self._writer])

    async def _write(self) -> None:
        while True:
            frame, sent = await self._queue.get()
            try:
                await self._put(frame)
                if sent is not None:
                    sent()
            except ConnectionError:
                pass  # the client has gone; a session keeps what it did not get
            finally:
                self._queue.task_done()

    async def _put(self, frame: str) -> None:
        if self._zlib is None:
            await self._ws.send_str(frame)
            return
        data = self._zlib.compress(frame.encode()) + self._zlib.flush(zlib.Z_SYNC_FLUSH)
        await self._ws.send_bytes(data)


class Session:
    """What one shard of a client was told, connected or not."""

    def __init__(self, intents: Intent, shard: tuple[int, int], kept: int) -> None:
        self.id = secrets.token_hex(16)
        self.intents = intents
        self.shard = shard
        self.seq = 0
        self.log: deque[tuple[int, str]] = deque(maxlen=kept)
        """The newest events with their numbers."""
        self.connection: Connection | None = None
        self.ready_at = 0
        """The number of the last event that a new session begins with."""
        self.sent = 0

    def wants(self, event: Event) -> bool:
        """Whether the event is of this shard and was asked for."""
        number, count = self.shard
        mine = 0 if event.guild_id is None else (event.guild_id >> 22) % count
        asked = event.intent is None or bool(event.intent & self.intents)
        return mine == number and asked

    def push(self, name: str, data: Json, copies: int = 1) -> None:
        """Tell of something now, or when the client has come back."""
        self.seq += 1
        frame = json.dumps({"op": DISPATCH, "t": name, "s": self.seq, "d": data})
        self.log.append((self.seq, frame))
        for _ in range(copies):
            self._forward(self.seq, frame)

    def replay(self, seq: int) -> None:
        """Send again all that came after `seq`."""
        for number, frame in self.log:
            if number > seq:
                self._forward(number, frame)

    def remembers(self, seq: int) -> bool:
        """Whether nothing after `seq` has been forgotten."""
        return not self.log or self.log[0][0] <= seq + 1

    def _forward(self, seq: int, frame: str) -> None:
        def sent() -> None:
            self.sent = max(self.sent, seq)

        if self.connection is not None:
            self.connection.send(frame, sent)


class Gateway:
    """Every session and every connection of the one bot."""

    def __init__(
        self, token: str, bot: User, guilds: dict[int, Guild], changed: Callable[[], None]
    ) -> None:
        self._token = token
        self._bot = bot
        self._guilds = guilds
        self._changed = changed
        self.url = ""
        self.sessions: dict[str, Session] = {}
        self.connections: set[Connection] = set()
        self.held: list[Event] | None = None
        self.copies_of_next = 1
        self.kept = 1000
        self.heartbeat_interval = 41250
        """Milliseconds."""
        self.silent_heartbeat = False
        self.message_content = True
        self.members = True
        self.identifies: list[Json] = []
        self.resumes: list[Json] = []
        self.heartbeats = 0
        self.closed_with: list[int] = []
        """The codes this server closed connections with, by order or for a fault."""

    def emit(self, event: Event) -> None:
        """Tell every session that wants to know, unless events are held."""
        if self.held is not None:
            self.held.append(event)
            return
        copies, self.copies_of_next = self.copies_of_next, 1
        for session in self.sessions.values():
            if session.wants(event):
                readable = Intent.MESSAGE_CONTENT in session.intents
                data = event.data if readable else event.without_content or event.data
                session.push(event.name, data, copies)
        self._changed()

    def release(self, order: Order) -> None:
        """Tell of what was held; at random, what is about one message keeps its order."""
        events, self.held = self.held or [], None
        if order == "reversed":
            events.reverse()
        elif isinstance(order, random.Random):
            events = shuffled(events, order)
        for event in events:
            self.emit(event)

    def is_ready(self) -> bool:
        """Whether a client is connected with all shards and has heard of its guilds."""
        live = [one for one in self.sessions.values() if one.connection is not None]
        ready = {one.shard for one in live if one.ready_at and one.sent >= one.ready_at}
        return bool(ready) and len(ready) == next(iter(ready))[1]

    async def close(self, code: int) -> None:
        """End every connection; some codes end the sessions too."""
        if code in ENDS_SESSION or code in (WSCloseCode.OK, WSCloseCode.GOING_AWAY):
            self.sessions.clear()
        for connection in list(self.connections):
            await self._close(connection, code)

    def say(self, op: int, data: object) -> None:
        """Send something that is not an event to everyone connected."""
        for connection in self.connections:
            connection.say(op, data)

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one connection until it ends."""
        ws = web.WebSocketResponse(timeout=1.0, compress=False)
        await ws.prepare(request)
        connection = Connection(ws, request)
        self.connections.add(connection)
        try:
            if request.query.get("v") != "10" or request.query.get("encoding") != "json":
                await self._close(connection, WRONG_VERSION)
            connection.say(HELLO, {"heartbeat_interval": self.heartbeat_interval})
            await self._listen(connection, ws)
        finally:
            self.connections.discard(connection)
            await connection.stop()
            session, connection.session = connection.session, None
            if session is not None:
                session.connection = None
                if ws.close_code in (WSCloseCode.OK, WSCloseCode.GOING_AWAY):
                    self.sessions.pop(session.id, None)
            self._changed()
        return ws

    async def _listen(self, connection: Connection, ws: web.WebSocketResponse) -> None:
        while not ws.closed:
            patience = connection.last_beat + 2 * self.heartbeat_interval / 1000
            try:
                frame = await ws.receive(timeout=max(0.0, patience - time.monotonic()))
            except TimeoutError:
                await self._close(connection, TIMED_OUT)
                return
            if frame.type is not WSMsgType.TEXT:
                return
            if code := self._received(connection, frame.data):
                await self._close(connection, code)
            self._changed()

    async def _close(self, connection: Connection, code: int) -> None:
        if connection.session is not None and code in ENDS_SESSION:
            self.sessions.pop(connection.session.id, None)
        self.closed_with.append(code)
        self.connections.discard(connection)
        with contextlib.suppress(ConnectionError):
            await connection.close(code)

    def _received(self, connection: Connection, text: str) -> int | None:
        """Do what a client asks; the code to close with when it may not."""
        try:
            payload = json.loads(text)
            op, data = payload["op"], payload["d"]
        except (ValueError, KeyError, TypeError):
            return UNDECODABLE
        if len(text.encode()) > LARGEST:
            return UNDECODABLE
        if connection.too_fast():
            return TOO_FAST
        if op == HEARTBEAT:
            return self._heartbeat(connection, data)
        if op == IDENTIFY:
            return self._identify(connection, data)
        if op == RESUME:
            return self._resume(connection, data)
        if op not in (PRESENCE, VOICE, MEMBERS):
            return UNKNOWN_OP
        if connection.session is None:
            return NOT_IDENTIFIED
        return self._send_members(connection.session, data) if op == MEMBERS else None

    def _heartbeat(self, connection: Connection, seq: int | None) -> int | None:
        session = connection.session
        if session is not None and seq is not None and seq > session.seq:
            return WRONG_SEQ
        connection.last_beat = time.monotonic()
        self.heartbeats += 1
        if not self.silent_heartbeat:
            connection.say(ACK, None)
        return None

    def _identify(self, connection: Connection, data: Json) -> int | None:
        self.identifies.append({**data, "token": "(hidden)"})
        if connection.session is not None:
            return TWICE
        if data.get("token") != self._token:
            return WRONG_TOKEN
        if not {"os", "browser", "device"} <= set(data.get("properties") or {}):
            return UNDECODABLE
        number, count = data.get("shard") or (0, 1)
        if not 0 <= number < count:
            return WRONG_SHARD
        intents = data.get("intents")
        if not isinstance(intents, int) or not 0 <= intents < 1 << 26:
            return WRONG_INTENTS
        refused = Intent.GUILD_PRESENCES
        refused |= Intent(0) if self.message_content else Intent.MESSAGE_CONTENT
        refused |= Intent(0) if self.members else Intent.GUILD_MEMBERS
        if intents & refused:
            return NOT_ALLOWED
        session = Session(Intent(intents), (number, count), self.kept)
        self.sessions[session.id] = session
        self._attach(session, connection)
        self._welcome(session)
        return None

    def _attach(self, session: Session, connection: Connection) -> None:
        if session.connection is not None:
            session.connection.session = None
        session.connection, connection.session = connection, session

    def _welcome(self, session: Session) -> None:
        number, count = session.shard
        mine = [guild for guild in self._guilds.values() if (guild.id >> 22) % count == number]
        flags = (1 << 19 if self.message_content else 0) | (1 << 15 if self.members else 0)
        session.push("READY", {
            "v": 10, "user": self._bot.payload() | {"verified": True, "mfa_enabled": False},
            "guilds": [{"id": str(guild.id), "unavailable": True} for guild in mine],
            "session_id": session.id, "resume_gateway_url": self.url, "shard": [number, count],
            "application": {"id": str(self._bot.id), "flags": flags}, "private_channels": [],
        })
        for guild in mine:
            if Intent.GUILDS in session.intents:
                session.push("GUILD_CREATE", guild.as_created())
        session.ready_at = session.seq

    def _resume(self, connection: Connection, data: Json) -> int | None:
        self.resumes.append({**data, "token": "(hidden)"})
        if connection.session is not None:
            return TWICE
        if data.get("token") != self._token:
            return WRONG_TOKEN
        session = self.sessions.get(str(data.get("session_id")))
        seq = data.get("seq")
        if session is None or not isinstance(seq, int) or not session.remembers(seq):
            connection.say(INVALID, False)
            return None
        if seq > session.seq:
            self.sessions.pop(session.id)
            return WRONG_SEQ
        self._attach(session, connection)
        session.replay(seq)
        session.push("RESUMED", {})
        return None

    def _send_members(self, session: Session, data: Json) -> int | None:
        guild = self._guilds.get(int(data["guild_id"]))
        if guild is None:
            return UNDECODABLE
        query, wanted = data.get("query"), data.get("user_ids")
        everyone = query == "" and not data.get("limit")
        if everyone and Intent.GUILD_MEMBERS not in session.intents:
            return NOT_ALLOWED
        listed = [wanted] if isinstance(wanted, int | str) else wanted or []
        numbers = [int(one) for one in listed]
        found = [
            member.payload() for member in guild.members.values()
            if member.user.id in numbers
            or (query is not None and member.user.name.lower().startswith(query.lower()))
        ]
        found = found if everyone or numbers else found[: data["limit"]]
        chunks = [found[start : start + 1000] for start in range(0, len(found), 1000)] or [[]]
        missing = [str(one) for one in numbers if one not in guild.members]
        for place, chunk in enumerate(chunks):
            answer = {
                "guild_id": str(guild.id), "members": chunk, "chunk_index": place,
                "chunk_count": len(chunks), "not_found": missing,
            }
            nonce = {"nonce": data["nonce"]} if data.get("nonce") else {}
            session.push("GUILD_MEMBERS_CHUNK", answer | nonce)
        return None
