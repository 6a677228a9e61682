"""How late the event loop is while many browsers watch and chat.

    python -m benchmarks.web --visitors 50 --every 10 --seconds 60 --json web.json

The demo runs in this process, on the built-in model. Visitors are websocket clients in another
one: each loads the page as a browser does, keeps its connection, and says something every so many
seconds in one of the channels. Everybody who is in a channel is sent every piece of every reply
there. A task that sleeps for 5 ms says by how much the event loop is late; it is
measured with the same visitors silent first, in the same run, as the peer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import socketio  # type: ignore[import-untyped]  # ships no annotations
from httpx import AsyncClient

from benchmarks.outcome import machine, versions
from bot.app import open_app
from bot.app_web import ROOMS, web_platform, web_socket
from bot.config import Config

TICK = 0.005
SAID = ("Hi there! How was your day?", "What should I cook tonight?", "Tell me about the sea.")
ELEMENT = re.compile(r'"(\d+)":(\{"tag":"nicegui-input".*?\]\}),"\d+":\{', re.DOTALL)


class Visitor:
    """One browser, without its screen."""

    def __init__(self, url: str, number: int) -> None:
        self._url = url
        self._number = number
        self._socket = socketio.AsyncClient(reconnection=False)
        self.pieces = 0
        self.said = 0

    async def enter(self) -> None:
        """Load the page and connect."""
        room = ROOMS[self._number % len(ROOMS)]
        async with AsyncClient() as client:
            html = (await client.get(f"{self._url}/?channel={room}", timeout=60)).text
        found = re.search(r"'client_id': '([^']+)'", html)
        field = ELEMENT.search(html)
        if not (found and field):
            raise SystemExit("the page has another form than this client knows")
        self._client, self._field = found[1], int(field[1])
        listeners = json.loads(field[2])["events"]
        self._typed, self._sent = (one["listener_id"] for one in listeners[:2])
        self._socket.on("update", self._updated)
        asked = urlencode({
            "client_id": self._client, "tab_id": f"tab-{self._number}", "next_message_id": 0,
            "document_id": f"document-{self._number}", "implicit_handshake": "true",
        })  # fmt: skip
        await self._socket.connect(
            f"{self._url}?{asked}", socketio_path="/_nicegui_ws/socket.io",
            transports=["websocket"], headers={"Origin": self._url}, wait_timeout=60,
        )

    async def chat(self, every: float, visitors: int, seconds: float) -> None:
        """Say something every so many seconds, each visitor at another moment."""
        begun = time.monotonic() + every * self._number / visitors
        while every * self.said < seconds:
            await asyncio.sleep(max(0.0, begun + every * self.said - time.monotonic()))
            await self._event(self._typed, SAID[self.said % len(SAID)])
            await self._event(self._sent, {"key": "Enter"})
            self.said += 1

    async def leave(self) -> None:
        """Close the page."""
        await self._socket.disconnect()

    async def _event(self, listener: str, value: object) -> None:
        await self._socket.emit("event", {
            "id": self._field, "client_id": self._client, "listener_id": listener,
            "args": [json.dumps(value)],
        })  # fmt: skip

    async def _updated(self, *_: object) -> None:
        self.pieces += 1


async def visit(url: str, number: int, every: float, seconds: float) -> None:
    """The other process: be silent for a while, then chat; a line when each begins and ends."""
    visitors = [Visitor(url, place) for place in range(number)]
    for one in visitors:
        await one.enter()
    print("silent", flush=True)
    await asyncio.sleep(seconds)
    print("chatting", flush=True)
    await asyncio.gather(*(one.chat(every, number, seconds) for one in visitors))
    print(json.dumps({
        "said": sum(one.said for one in visitors), "pieces": sum(one.pieces for one in visitors),
    }), flush=True)  # fmt: skip
    await asyncio.gather(*(one.leave() for one in visitors))


class Lag:
    """By how much the event loop is late, in ms, by what goes on."""

    def __init__(self) -> None:
        self.now = "start"
        self.found: dict[str, list[float]] = {}

    async def watch(self) -> None:
        """Measure until cancelled."""
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(TICK)
            late = (time.perf_counter() - begun - TICK) * 1e3
            self.found.setdefault(self.now, []).append(late)

    def summary(self, name: str) -> dict[str, float]:
        """p50, p99 and the most."""
        values = np.asarray(self.found[name])
        return {
            "p50": float(np.percentile(values, 50)), "p99": float(np.percentile(values, 99)),
            "most": float(values.max()), "measured": len(values),
        }


async def measure(number: int, every: float, seconds: float) -> dict[str, Any]:
    """Serve, have visitors come, and say how late the loop was."""
    config = Config.model_validate({"web": {"port": 0}})
    lag = Lag()
    with tempfile.TemporaryDirectory() as data, web_socket(config.web) as listening:
        async with (
            open_app(config, Path(data)) as app, web_platform(app, listening) as platform,
            asyncio.TaskGroup() as tasks,
        ):
            serving = tasks.create_task(platform.run())
            await platform.started.wait()
            watching = tasks.create_task(lag.watch())
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "benchmarks.web", "--url", platform.address,
                "--visitors", str(number), "--every", str(every), "--seconds", str(seconds),
                stdout=asyncio.subprocess.PIPE,
            )
            assert child.stdout is not None
            told: dict[str, Any] = {}
            while line := (await child.stdout.readline()).decode().strip():
                if line.startswith("{"):
                    lag.now, told = "over", json.loads(line)
                else:
                    lag.now = line
            await child.wait()
            stats, info = app.engine.stats(), app.engine.info
            watching.cancel()
            serving.cancel()
    return {
        "measured": datetime.now(UTC).isoformat(), "machine": machine(info),
        "versions": versions(), "visitors": number, "every": every, "seconds": seconds, **told,
        "reply_tokens": stats.reply_tokens,
        "late_ms": {name: lag.summary(name) for name in ("silent", "chatting")},
    }  # fmt: skip


def main() -> None:
    """Measure, print, and write the file that was asked for."""
    parser = argparse.ArgumentParser(description="How late the event loop is under visitors.")
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--every", type=float, default=10.0, help="seconds between messages")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.url:
        asyncio.run(visit(asked.url, asked.visitors, asked.every, asked.seconds))
        return
    found = asyncio.run(measure(asked.visitors, asked.every, asked.seconds))
    for name, late in found["late_ms"].items():
        print(f"{name}: late by {late['p50']:.1f} ms at the median, {late['p99']:.1f} at p99, "
              f"{late['most']:.0f} at most")  # fmt: skip
    print(f"{found['said']} messages, {found['pieces']} updates, {found['reply_tokens']} tokens")
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
