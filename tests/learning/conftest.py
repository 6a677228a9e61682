"""A tiny model, its engine and a data folder, for the tests of the learning loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.config import Config
from bot.engine.local import LocalEngine
from tests.engine.tiny import load, make_model
from tests.learning.rated import Opener, config


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def settings() -> Config:
    return config()


@pytest.fixture
async def engine(model: Path, settings: Config) -> AsyncIterator[LocalEngine]:
    made = LocalEngine(load(model, settings.engine), settings.engine, 0.25)
    yield made
    await made.close()


@pytest.fixture
def opened(engine: LocalEngine, settings: Config, tmp_path: Path) -> Opener:
    return Opener(engine, tmp_path / "data", settings)
