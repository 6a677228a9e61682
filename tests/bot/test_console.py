"""How the terminal renders, and what it does with the lines of a script."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncGenerator

import pytest
from rich.console import Console as RichConsole

from bot.commands import Answer, Table, Text
from bot.conversation import Reply, TextDelta
from bot.engine.local import LocalEngine
from bot.errors import StoreError
from bot.platforms.base import Notice, Platform
from bot.platforms.console import Console
from bot.platforms.console_render import Colour, Json, Plain, Renderer
from bot.store import Store
from bot.types import Message
from tests.bot.conftest import Talk
from tests.bot.test_commands import Pupil, commands_of


def played(renderer: Renderer) -> None:
    """A reply with something happening in the middle of it, then an answer."""
    renderer.delta(TextDelta("Hel"))
    renderer.notice(Notice("swap", "v0001 serves now"))
    renderer.delta(TextDelta("lo\x1b[2J"))
    renderer.reply(Reply("Hello", 3, note="cut"))
    renderer.answer(Answer((Text("[bold]done[/bold]"), Table("T", ("a", "b"), (("1", "22"),)))))
    renderer.notice(Notice("progress", "training", 0.5))
    renderer.error("no")


def test_plain_lines_hold_notices_back_until_the_reply_has_ended() -> None:
    out = io.StringIO()
    played(Plain(out))
    assert out.getvalue().splitlines() == [
        "Hello[2J", "(cut)", "[swap] v0001 serves now", "[bold]done[/bold]", "T", "a  b",
        "1  22", "[progress] training", "error: no",
    ]  # fmt: skip


def test_colour_never_lets_a_model_touch_the_terminal() -> None:
    out = io.StringIO()
    colour = Colour(RichConsole(file=out, width=60, highlight=False))
    played(colour)
    told = out.getvalue()
    assert "\x1b[2J" not in told
    assert "base Hello[2J\ncut\n◆ v0001 serves now\n[bold]done[/bold]" in told
    assert colour.progress == "training 50%"


def test_json_is_one_object_a_line_for_every_event() -> None:
    out = io.StringIO()
    played(Json(out))
    events = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [event["event"] for event in events] == [
        "delta", "notice", "delta", "reply", "answer", "notice", "error",
    ]  # fmt: skip


async def lines(*said: str) -> AsyncGenerator[str, None]:
    for line in said:
        yield line


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def console(talk: Talk, store: Store, engine: LocalEngine, out: io.StringIO) -> Console:
    commands = commands_of(talk, store, engine, Pupil())
    return Console(commands._conversation, commands, Json(out), person="ada")


async def test_a_script_ends_at_quit(console: Console, out: io.StringIO) -> None:
    platform: Platform = console
    assert platform.name == "console"
    await console.script(lines("/help", "/quit", "/help"))
    assert out.getvalue().count("\n") == 1


async def test_a_line_that_fails_does_not_end_the_script(
    console: Console, out: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(message: Message, *, waits: bool) -> int:
        raise StoreError("the database:\ndisk full")

    monkeypatch.setattr(console._conversation._store, "add_message", full)
    await console.script(lines("Hello", "/help"))
    assert console.failed
    events = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [event["event"] for event in events] == ["message", "error", "answer"]
    assert events[1]["text"] == "the database: disk full"
