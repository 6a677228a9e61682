"""The demo as a process of its own, and a real browser that looks at it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), "")
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)
"""So that the browser asks nobody for anything, and runs as root in a container."""
PATIENCE = 60_000
"""Milliseconds for which a page may take to show something: the machine may be busy."""

expect.set_options(timeout=PATIENCE)


@dataclass
class Demo:
    """A demo that runs."""

    process: subprocess.Popen[str]
    url: str

    def stop(self) -> int:
        """Ctrl-C, and the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


@contextmanager
def demo(data: Path, *options: str, port: int = 0, **environment: str) -> Iterator[Demo]:
    """`rapport demo` in a data folder."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bot.cli", "demo", "--no-browser", "--port", str(port),
         "--data", str(data), *options],
        stdout=subprocess.PIPE, text=True, env=os.environ | environment,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, line
        yield Demo(process, found[0])
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(60)
        process.stdout.close()


@contextmanager
def visit(browser: Browser, url: str, width: int = 1280, forgive: str = "") -> Iterator[Page]:
    """A page in a browser of its own; what it complains of fails the test.

    Args:
        forgive: a part of complaints that are to be expected.
    """
    complaints: list[str] = []
    context = browser.new_context(viewport={"width": width, "height": 800})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(url)
    yield page
    context.close()
    assert [one for one in complaints if not forgive or forgive not in one] == []
