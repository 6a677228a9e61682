"""The whole bot on a tiny random model, and a real browser for the tests of pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from bot.app import App, open_app
from bot.config import Config
from tests.engine.tiny import make_model
from tests.web.visits import CHROMIUM, QUIET


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser without a window."""
    if not CHROMIUM:
        pytest.skip("there is no Chromium; on Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model."""
    return make_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def config(folder: Path) -> Config:
    """Few rows, short and repeatable replies."""
    return Config.model_validate({
        "model": {"name": str(folder), "device": "cpu", "threads": 1},
        "engine": {"rows": 2, "queue": 2, "adapter_slots": 2, "adapter_rank": 4},
        "sampling": {"temperature": 0.0, "max_tokens": 8},
        "conversation": {"persona": "Be kind."},
    })  # fmt: skip


@pytest.fixture
async def app(config: Config, tmp_path: Path) -> AsyncIterator[App]:
    """The bot, opened as it always is."""
    async with open_app(config, tmp_path / "data") as app:
        yield app
