"""A person at a terminal: ``rapport`` behind a pseudo-terminal, typed to and read from."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b\][^\x07]*\x07|\x1b[=>]|\r")
CONTROL_C = "\x03"
CONTROL_D = "\x04"


class Terminal:
    """One run of a command; `screen` is everything it has shown, escapes left out."""

    def __init__(self, *words: str) -> None:
        self.screen = ""
        self._status: int | None = None
        self._pid, self._handle = pty.fork()
        if self._pid == 0:
            os.chdir(ROOT)
            environment = os.environ | {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1",
                                        "COLUMNS": "100", "LINES": "40"}  # fmt: skip
            os.execve(sys.executable, [sys.executable, "-m", "bot.cli", *words], environment)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._handle, text.encode())

    def wait_for(self, text: str, seconds: float = 120.0) -> str:
        """Read until `text` appears; returns what was shown up to it, and forgets that."""
        end = time.monotonic() + seconds
        while text not in self.screen:
            if not self._read(end - time.monotonic()):
                raise AssertionError(f"{text!r} never appeared in: {self.screen!r}")
        before, _, self.screen = self.screen.partition(text)
        return before

    def exit_status(self, seconds: float = 120.0) -> int:
        """Read to the end; the exit status."""
        end = time.monotonic() + seconds
        while self._read(end - time.monotonic()):
            pass
        self._status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        return self._status

    def leave(self) -> None:
        """Pull the plug; a command that is still running is killed."""
        if self._status is None:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        os.close(self._handle)

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._handle], [], [], max(0.0, seconds))
        if not ready:
            raise AssertionError(f"nothing more came after: {self.screen!r}")
        try:
            block = os.read(self._handle, 65536)
        except OSError:  # Linux says so when the other side has closed
            return False
        self.screen = ESCAPES.sub("", self.screen + block.decode("utf-8", "replace"))
        return bool(block)
