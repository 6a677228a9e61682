"""Talking in a terminal, or with a script of lines.

With someone in front of it the reply streams in colour, notices appear above the prompt
while one types, and Ctrl-C stops a reply, or at the prompt leaves. With lines from a pipe
it answers each in turn and ends with the last one, once the learning runs that the lines
asked for are over, so that a script says the same every time. It knows lines and events;
how they look is `bot.platforms.console_render`'s.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from datetime import UTC, datetime

from prompt_toolkit import PromptSession
from prompt_toolkit.patch_stdout import patch_stdout

from bot.commands import Asker, Commands, parse
from bot.conversation import Conversation, Reply, TextDelta
from bot.errors import RapportError
from bot.platforms.base import Notice
from bot.platforms.console_render import Colour, Renderer
from bot.types import ChannelKey, Message

NAME = "console"
READ_BYTES = 65536


class Console:
    """One channel in the terminal, with the operator as its only person."""

    name = NAME

    def __init__(
        self,
        conversation: Conversation,
        commands: Commands,
        renderer: Renderer,
        *,
        person: str,
        channel: str = "main",
        seed: int | None = None,
        settled: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._conversation = conversation
        self._commands = commands
        self._renderer = renderer
        self._seed = seed
        self._settled = settled
        self._learned = False
        self._session: PromptSession[str] | None = None
        self.failed = False
        """Whether any line of a script ended in an error."""
        self.channel = ChannelKey(NAME, "local", channel)
        self._asker = Asker(self.channel, person, source="terminal", operator=True)

    def notice(self, notice: Notice) -> None:
        """Show it, and if a prompt is open, draw that again below."""
        self._renderer.notice(notice)
        if self._session is not None:
            self._session.app.invalidate()

    def waits_for(self) -> str:
        """Nothing: whoever started it sits there."""
        return ""

    async def run(self) -> None:
        """Talk until the lines end or the person leaves."""
        if sys.stdin is not None and sys.stdin.isatty() and isinstance(self._renderer, Colour):
            await self._interactive(self._renderer)
        else:
            await self.script(standard_input())

    async def script(self, lines: AsyncGenerator[str, None]) -> None:
        """Answer each line in turn, then wait for the runs that they asked for."""
        async with aclosing(lines) as source:
            async for line in source:
                if not await self._line(line):
                    break
        if self._learned and self._settled is not None:
            await self._settled()

    async def _interactive(self, renderer: Colour) -> None:
        session: PromptSession[str] = PromptSession(
            "you › ", bottom_toolbar=lambda: renderer.progress or None
        )
        self._session = session
        while True:
            try:
                # Rich looks sys.stdout up on each print, so notices pass above the prompt.
                with patch_stdout(raw=True):
                    line = await session.prompt_async()
            except (EOFError, KeyboardInterrupt):
                return
            if not await self._interruptible(line):
                return

    async def _interruptible(self, line: str) -> bool:
        """Handle a line; Ctrl-C stops the reply, not the program."""
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(self._line(line))
        before = signal.getsignal(signal.SIGINT)
        loop.add_signal_handler(signal.SIGINT, task.cancel)
        try:
            return await task
        except asyncio.CancelledError:
            own = asyncio.current_task()
            if own is not None and own.cancelling():
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
                raise
            self._renderer.stopped()
            return True
        finally:
            loop.remove_signal_handler(signal.SIGINT)
            signal.signal(signal.SIGINT, before)

    async def _line(self, line: str) -> bool:
        """Do what a line asks for; False when it was to leave."""
        if not line.strip():
            return True
        try:
            command = parse(line)
            if command is None:
                await self._say(line)
                return True
            answer = await self._commands.run(command, self._asker)
            self._learned |= command.name == "learn" and "retrain" in command.args
            self._renderer.answer(answer)
            return not answer.quit
        except RapportError as error:
            self.failed = True
            self._renderer.error(" ".join(str(error).split()))
            return True

    async def _say(self, line: str) -> None:
        message = Message(
            channel=self.channel, author=self._asker.person, text=line,
            platform_id=uuid.uuid4().hex, time=datetime.now(UTC),
            author_name=self._asker.person,
        )
        self._renderer.asked(message)
        async with aclosing(self._conversation.respond(message, seed=self._seed)) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    self._renderer.delta(event)
                elif isinstance(event, Reply):
                    self._renderer.reply(event)


async def standard_input() -> AsyncGenerator[str, None]:
    """Lines of the standard input; bytes that are not UTF-8 become U+FFFD."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str | None] = asyncio.Queue()

    def put(line: str | None) -> None:
        with suppress(RuntimeError):  # the loop has been closed meanwhile
            loop.call_soon_threadsafe(lines.put_nowait, line)

    # A daemon, because a read that waits for a pipe cannot be cancelled; and the bare
    # descriptor, because a daemon that holds sys.stdin's lock crashes the interpreter's end.
    threading.Thread(target=_read, args=(0, put), name="stdin", daemon=True).start()
    while (line := await lines.get()) is not None:
        yield line


def _read(descriptor: int, put: Callable[[str | None], None]) -> None:
    rest = b""
    while True:
        try:
            block = os.read(descriptor, READ_BYTES)
        except OSError:
            block = b""
        if not block:
            break
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            put(line.decode("utf-8", "replace"))
    if rest:
        put(rest.decode("utf-8", "replace"))
    put(None)
