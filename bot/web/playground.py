"""The page to talk on: channels, people, and a conversation that several can watch at once.

Who one pretends to be and where one is stands in the address, so that a reload changes nothing.
Talking is a room's (`bot.web.rooms`), drawing it `bot.web.lines`', learning the panel's beside it
(`bot.web.panel`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlencode

from nicegui import ui

from bot.answers import Answer, Asker, Command
from bot.commands import HELP, Commands, parse
from bot.errors import RapportError
from bot.learning_port import Crowd, Learning
from bot.platforms.base import Notice
from bot.types import ChannelKey
from bot.web.blocks import draw_answer
from bot.web.lines import Lines
from bot.web.panel import Panel
from bot.web.rooms import SOURCE, Line, Room, Rooms
from bot.web.standing import Standings

PEOPLE = ("You", "Ada", "Ben", "Chen")
"""Whom one may pretend to be."""
Hear = Callable[[Callable[[Notice], None]], Callable[[], None]]
"""Has a function told of notices; returns what ends that."""
SEND = "(e) => { if (!e.isComposing) { e.preventDefault(); emit(e); } }"
"""Enter sends, unless it ends a character that an input method puts together."""
LONGEST = 4000
"""Characters that can be typed at once."""


@dataclass(frozen=True, slots=True)
class Playing:
    """What the page needs of the bot."""

    rooms: Rooms
    commands: Commands
    learning: Learning
    standings: Standings
    crowd: Crowd | None
    """Simulated people who may be called; None where people really talk."""


class Playground:
    """One open page."""

    def __init__(self, playing: Playing, hear: Hear, room: str, person: str) -> None:
        """`room` and `person` as the address names them; unknown ones are the first of all."""
        self._panel = Panel(playing.learning, playing.standings, playing.crowd, hear)
        self._rooms = playing.rooms
        self._commands = playing.commands
        self._name = room if room in playing.rooms.names else playing.rooms.names[0]
        self.person = person if person in PEOPLE else PEOPLE[0]
        self._room: Room | None = None
        self._unwatch: list[Callable[[], None]] = []
        self._read: dict[str, int] = {}
        self._marks: dict[str, tuple[ui.button, ui.badge]] = {}

    async def build(self) -> None:
        """Draw the page and keep it true until its browser leaves."""
        self._draw_side()
        with ui.element("section").classes("talk").props('aria-label="Conversation"'):
            with ui.element("div").classes("scroller"):
                self._lines = Lines(lambda: self.person, self._why)
            self._draw_composer()
        self._aside = await self._panel.build()
        ui.context.client.on_delete(self._leave)
        for name in self._rooms.names:
            room = await self._rooms.room(name)
            self._read[name] = room.said
            self._unwatch.append(room.watch(partial(self._changed, room)))
        await self._enter(self._name)

    def _draw_side(self) -> None:
        with ui.element("aside").classes("side").props('aria-label="Channels"') as self._side:
            ui.label("Channels").classes("heading")
            for name in self._rooms.names:
                button = _entry(f"# {name}", partial(self._enter, name))
                with button:
                    badge = ui.badge("").props('floating aria-label="unread"')
                self._marks[name] = (button, badge)
                self._mark(name, 0)
            ui.label("Talk as").classes("heading")
            ui.select(list(PEOPLE), value=self.person, on_change=lambda e: self._become(e.value)
                      ).props('outlined dense aria-label="Talk as"').classes("wide")
            ui.label("This channel").classes("heading")
            _entry("Who the bot is", self._persona, "face")
            _entry("Start anew", self._reset, "restart_alt")

    def _draw_composer(self) -> None:
        with ui.element("div").classes("composer"):
            ui.button(icon="tag", on_click=lambda: self._side.classes(toggle="open")).props(
                'flat round dense color=inherit aria-label="Channels"').classes("narrow-only")
            ui.button(icon="school", on_click=lambda: self._aside.classes(toggle="open")).props(
                'flat round dense color=inherit aria-label="Learning"').classes("narrow-only")
            with ui.button(icon="terminal").props(
                'flat round dense color=inherit aria-label="Commands"'
            ).tooltip("Commands"), ui.menu().classes("commands"):
                for one in HELP:
                    name = one.usage.split(" [")[0]
                    if name != "/quit":
                        with ui.menu_item(on_click=lambda name=name: self._begin(name)):
                            ui.label(one.usage).classes("usage")
                            ui.label(one.summary).classes("muted")
            self._input = ui.textarea(placeholder="Say something").props(
                f'autogrow outlined dense rows=1 maxlength={LONGEST} aria-label="Message"'
            ).classes("words").on("keydown.enter.exact", self._send, js_handler=SEND)
            self._stop = ui.button(icon="stop", on_click=self._halt).props(
                'round dense color=negative aria-label="Stop the reply"').tooltip("Stop the reply")
            ui.button(icon="send", on_click=self._send).props(
                'round dense color=primary aria-label="Send"').tooltip("Send (Enter)")

    async def _enter(self, name: str) -> None:
        room = self._room = await self._rooms.room(name)
        self._name = name
        self._lines.show(room)
        self._seen(room)
        for other, (button, _) in self._marks.items():
            button.props(f'aria-current={"true" if other == name else "false"}')
            button.classes(add="here" if other == name else "",
                           remove="" if other == name else "here")
        self._side.classes(remove="open")
        self._stop.set_visibility(room.answering)
        self._remember()

    def _become(self, person: str) -> None:
        self.person = person
        self._lines.redraw_votes()
        self._remember()

    def _remember(self) -> None:
        """Put place and person into the address."""
        asked = urlencode({"channel": self._name, "as": self.person})
        ui.navigate.history.replace(f"/?{asked}")

    def _changed(self, room: Room, line: Line | None) -> None:
        if room is self._room:
            self._lines.change(line)
            self._stop.set_visibility(room.answering)
            self._seen(room)
        else:
            unread = room.said - self._read[room.name]
            self._mark(room.name, unread)

    def _seen(self, room: Room) -> None:
        self._read[room.name] = room.said
        self._mark(room.name, 0)

    def _mark(self, name: str, unread: int) -> None:
        badge = self._marks[name][1]
        badge.set_text(str(unread))
        badge.set_visibility(unread > 0)

    def _begin(self, command: str) -> None:
        self._input.value = f"{command} "
        self._input.run_method("focus")

    async def _send(self) -> None:
        text, room = (self._input.value or "").strip(), self._room
        if not text or room is None:
            return
        self._input.value = ""
        command = parse(text)
        try:
            if command is None:
                await room.say(self.person, text)
            else:
                await self._command(command, room)
        except RapportError as error:
            self._input.value = text
            ui.notify(str(error), type="negative")

    async def _command(self, command: Command, room: Room) -> None:
        if command.name == "reset":
            await room.reset()
            return
        answer = await self._ask(command)
        if answer.blocks:
            self._lines.say(lambda: draw_answer(answer))
        if answer.vote is not None:
            room.voted(answer.vote)
        if command.name == "mydata":
            await self._rooms.recall()  # what was forgotten stands nowhere any more

    async def _ask(self, command: Command, channel: ChannelKey | None = None) -> Answer:
        assert self._room is not None
        asker = Asker(channel or self._room.channel, self.person, SOURCE, operator=True)
        return await self._commands.run(command, asker)

    async def _why(self, line: Line) -> None:
        answer = await self._ask(Command("why", f"#{line.exchange}"), line.channel)
        with ui.dialog(value=True) as dialog, ui.card().classes("why"):
            ui.label("Why this reply?").classes("title")
            draw_answer(answer)
            ui.button("Close", on_click=dialog.close).props("flat no-caps")
        dialog.on("hide", dialog.delete)

    async def _persona(self) -> None:
        answer = await self._ask(Command("persona"))
        now = "".join(getattr(block, "text", "") for block in answer.blocks)
        with ui.dialog(value=True) as dialog, ui.card().classes("why"):
            ui.label(f"Who the bot is in #{self._name}").classes("title")
            words = ui.textarea(value=now).props('outlined autogrow aria-label="Persona"').classes(
                "wide")

            async def keep(text: str) -> None:
                said = await self._ask(Command("persona", text))
                dialog.close()
                self._lines.say(lambda: draw_answer(said))

            with ui.row():
                ui.button("Keep", on_click=lambda: keep(words.value or "default")).props("no-caps")
                ui.button("As configured", on_click=lambda: keep("default")).props("flat no-caps")
        dialog.on("hide", dialog.delete)

    async def _reset(self) -> None:
        if self._room is None:
            return
        try:
            await self._room.reset()
        except RapportError as error:
            ui.notify(str(error), type="negative")

    def _halt(self) -> None:
        if self._room is not None:
            self._room.stop()

    def _leave(self) -> None:
        for unwatch in self._unwatch:
            unwatch()


def _entry(text: str, act: Callable[[], Awaitable[None]], icon: str | None = None) -> ui.button:
    """One line of the side bar."""
    return ui.button(text, icon=icon, on_click=act, color=None).props(
        "flat no-caps no-wrap align=left").classes("channel")
