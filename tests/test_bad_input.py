"""What people, disks and earlier versions may hand to Rapport, and the one line that comes of it.

Everything goes through the real command line. A refusal is one line on the standard error
and exit status 1; where it can go on, it says what it does instead. More refusals are in
`tests/bot/test_cli.py`: an unknown key, a missing model, a folder in use, another program's
database.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from transformers.utils import logging as transformers_logging

from bot.admission import EMPTY_ANSWER
from bot.cli import rapport
from bot.config import EngineConfig, ModelConfig
from bot.engine.model import load_model
from bot.platforms import console
from bot.store import Store
from learning.registry import Registry
from learning.training.adapter import WEIGHTS_FILE
from learning.types import Manifest
from tests.engine.tiny import make_adapter, make_model

ROOT = Path(__file__).parents[1]
NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)
SETTINGS = """
[model]
name = "{folder}"
device = "cpu"
threads = 1
[engine]
rows = 2
adapter_slots = 2
adapter_rank = {rank}
[learning.sft]
rank = {rank}
[sampling]
temperature = 0.0
max_tokens = 8
"""

Event = dict[str, Any]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """No bars: `bot.logs.quiet_libraries` comes too late where tests have imported these."""
    transformers_logging.disable_progress_bar()
    yield
    transformers_logging.enable_progress_bar()


def settings(folder: Path, tmp_path: Path, rank: int = 4) -> Path:
    file = tmp_path / "config.toml"
    file.write_text(SETTINGS.format(folder=folder, rank=rank))
    return file


def one_line(*words: object) -> str:
    """The single line that a refused command writes; nothing else, and exit status 1."""
    result = CliRunner().invoke(rapport, list(map(str, words)))
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


# Configuration, data folder and database


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[modell]\n", "did you mean model"),
        ("[learning.gate]\nalfa = 0.1\n", "did you mean learning.gate.alpha?"),
        ("[engine]\nrows = 0\n", "engine.rows"),
        ("[engine\n", "not valid TOML"),
        ('[learning.schedule]\ncron = "every day"\n', "cron"),
    ],
)
def test_a_configuration_that_cannot_be_meant_is_refused_by_name(
    model: Path, tmp_path: Path, text: str, told: str
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text if "cron" not in text else f'{text}[model]\nname = "{model}"\n')
    assert told in one_line("chat", "--config", file, "--data", tmp_path / "data")


def test_a_model_folder_without_a_model_is_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    config = settings(empty, tmp_path)
    assert str(empty) in one_line("chat", "--config", config, "--data", tmp_path / "data")


def test_a_model_whose_weights_are_cut_off_is_named(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "cut")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    config = settings(folder, tmp_path)
    assert str(folder) in one_line("chat", "--config", config, "--data", tmp_path / "data")


def test_a_data_folder_that_cannot_be_made_is_named_with_a_way_out(
    model: Path, tmp_path: Path
) -> None:
    # Nobody can write there, not even root, in whose name tests may run.
    nowhere = Path("/proc/rapport")
    told = one_line("chat", "--config", settings(model, tmp_path), "--data", nowhere)
    assert str(nowhere) in told
    assert "--data" in told


def test_a_data_folder_that_cannot_be_written_is_named_with_a_way_out(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    may = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: may(path, mode) and not (path == data and mode & os.W_OK)
    )
    told = one_line("chat", "--config", settings(model, tmp_path), "--data", data)
    assert "cannot be written; change its rights or choose another with --data" in told
    assert list(data.iterdir()) == []


@pytest.mark.parametrize("command", [("chat",), ("train",), ("adapters", "list")])
def test_a_database_of_a_newer_version_is_left_alone(
    model: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    data = tmp_path / "data"

    async def make() -> None:
        await (await Store.open(data)).close()

    asyncio.run(make())
    with closing(sqlite3.connect(data / "rapport.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    config = settings(model, tmp_path)
    told = one_line(*command, "--config", config, "--data", data)
    assert "schema 9999" in told
    assert "run that version or a newer one" in told
    with closing(sqlite3.connect(data / "rapport.db")) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [
            ("9999",)
        ]


# Messages


def test_messages_that_are_too_long_empty_or_no_text_are_answered_politely(
    model: Path, tmp_path: Path
) -> None:
    said = b"\n".join(
        [b"a word " * 15_000, b"", b"   ", b"\x01\x02\x1b", b"\xff\xfe\x80 odd", b"/why"]
    )
    words = ["chat", "--json", "--config", str(settings(model, tmp_path)),
             "--data", str(tmp_path / "data")]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "bot.cli", *words],
        input=said, capture_output=True, cwd=ROOT, timeout=400, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    replies = [event for event in events if event["event"] == "reply"]
    long, controls, odd = replies
    assert long["exchange"] == 1
    assert "characters; I read the first 4,000" in long["note"]
    assert (controls["exchange"], controls["text"]) == (None, EMPTY_ANSWER)
    assert odd["exchange"] == 2
    contents = [content for _, content in events[-1]["blocks"][1]["rows"]]
    assert "\ufffd\ufffd\ufffd odd" in contents


# Adapters


class Bot:
    """A data folder with a champion, started again and again with one question."""

    def __init__(self, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.model, self.tmp_path, self.data = model, tmp_path, tmp_path / "data"
        self.registry = Registry(self.data / "adapters")
        monkeypatch.setattr(console, "standard_input", self._lines)
        base = load_model(
            ModelConfig(name=str(model), device="cpu", threads=1), EngineConfig(adapter_rank=4)
        ).info.fingerprint
        make_adapter(model, self.registry.stage("v0001"), seed=1)
        manifest = Manifest("v0001", base, "digest", NOON, 0, {}, {}, {}, ())
        (self.registry.path("v0001").with_suffix(".staging") / "README.md").unlink(missing_ok=True)
        self.registry.publish("v0001", manifest)
        asyncio.run(self._crown(base))

    async def _lines(self) -> AsyncGenerator[str, None]:
        yield "hello"

    async def _crown(self, base: str) -> None:
        async with await Store.open(self.data) as store:
            await store.add_adapter("v0001", None, "candidate", base, NOON, {})
            await store.add_verdict("v0001", "base", "promote", "for the test", [], NOON)
            await store.set_champion("v0001", "for the test", NOON)

    def start(self, model: Path | None = None, rank: int = 4) -> tuple[str, list[str]]:
        """Which version answered, and the problems that were told of."""
        config = settings(model or self.model, self.tmp_path, rank)
        words = ["chat", "--json", "--config", str(config), "--data", str(self.data)]
        done = CliRunner().invoke(rapport, words)
        assert (done.exit_code, done.stderr) == (0, ""), done.output
        events: list[Event] = [json.loads(line) for line in done.stdout.splitlines()]
        (reply,) = [event for event in events if event["event"] == "reply"]
        notices = [event for event in events if event["event"] == "notice"]
        return reply["adapter"], [one["text"] for one in notices if one["kind"] == "problem"]

    def promote(self) -> None:
        """The operator's word: let it serve again."""
        words = ["adapters", "promote", "v0001", "--data", str(self.data)]
        done = CliRunner().invoke(rapport, words)
        assert done.exit_code == 0, done.output


@pytest.fixture
def bot(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bot:
    return Bot(model, tmp_path, monkeypatch)


def test_a_champion_that_is_cut_off_is_replaced_and_that_is_said_once(bot: Bot) -> None:
    assert bot.start() == ("v0001", [])
    weights = bot.registry.path("v0001") / WEIGHTS_FILE
    weights.write_bytes(weights.read_bytes()[:100])
    adapter, (problem,) = bot.start()
    assert adapter == "base"
    assert problem == (
        f"v0001 cannot serve (v0001 is damaged: {WEIGHTS_FILE} is not what was published); "
        "the base model serves instead"
    )
    assert bot.start() == ("base", [])


def test_an_adapter_of_another_model_is_kept_unserved_and_that_is_said_once(
    bot: Bot, tmp_path: Path
) -> None:
    other = make_model(tmp_path / "other", "qwen3")
    adapter, (problem,) = bot.start(other)
    assert adapter == "base"
    assert "made for another base model" in problem
    assert bot.start(other) == ("base", [])
    assert bot.registry.names() == ["v0001"]
    bot.promote()
    assert bot.start() == ("v0001", [])


def test_an_adapter_of_too_high_a_rank_is_kept_unserved_and_the_way_back_is_named(
    bot: Bot,
) -> None:
    adapter, (problem,) = bot.start(rank=2)
    assert adapter == "base"
    assert "rank 4 exceeds engine.adapter_rank = 2; raise it" in problem
    assert bot.start(rank=2) == ("base", [])
    assert bot.registry.names() == ["v0001"]
    bot.promote()
    assert bot.start() == ("v0001", [])
