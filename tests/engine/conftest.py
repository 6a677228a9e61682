"""Engines on tiny random models, started for a test and closed after it."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import torch

from bot.config import EngineConfig
from bot.engine.local import LocalEngine
from tests.engine.built_in import BuiltIn
from tests.engine.tiny import CHAT, KINDS, load, make_adapter, make_model

Start = Callable[..., LocalEngine]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)  # the other cores run other tests


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One model folder of each kind."""
    root = tmp_path_factory.mktemp("models")
    return {
        kind: make_model(root / kind, kind, chat=None if kind == "gpt2" else CHAT)
        for kind in KINDS
    }


@pytest.fixture(scope="session")
def adapters(
    folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[Path]]:
    """Three adapters for each kind."""
    root = tmp_path_factory.mktemp("adapters")
    return {
        kind: [
            make_adapter(folders[kind], root / f"{kind}-{n}", n, kind, r=2 + 2 * n)
            for n in range(3)
        ]
        for kind in KINDS
    }


@pytest.fixture(scope="session")
def built_in() -> BuiltIn:
    """The built-in model."""
    return BuiltIn.load()


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts engines and closes them at the end; no thread is left behind."""
    engines: list[LocalEngine] = []
    before = _engine_threads()

    def make(
        folder: Path, *, share: float = 0.25, turns: bool = False,
        clock: Callable[[], float] = time.monotonic, **settings: object,
    ) -> LocalEngine:
        config = EngineConfig(**{"rows": 8, "adapter_rank": 8, **settings})  # type: ignore[arg-type]  # tests pass any setting
        engines.append(LocalEngine(load(folder, config, turns=turns), config, share, clock))
        return engines[-1]

    yield make
    for engine in engines:
        await engine.close()
    assert _engine_threads() == before


def _engine_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("engine")}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Every supported architecture in turn."""
    return str(request.param)
