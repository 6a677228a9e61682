"""The lock on the data folder, and the log in it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from bot.config import LogConfig
from bot.config.file import load_config
from bot.errors import ConfigError, StoreError
from bot.lock import LOCK_NAME, data_lock
from bot.logs import logging_to, redacted


def test_a_folder_has_one_holder_at_a_time(tmp_path: Path) -> None:
    refused = pytest.raises(StoreError, match=r"in use by another rapport \(process \d+\)")
    with data_lock(tmp_path / "data"), refused, data_lock(tmp_path / "data"):
        pass
    with data_lock(tmp_path / "data"):
        pass


def test_a_lock_file_that_was_left_behind_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).write_text("999999\n")
    with data_lock(tmp_path):
        pass


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.touch()
    for place in (file, file / "inner"):
        with pytest.raises(StoreError, match="--data"), data_lock(place):
            pass


def test_the_log_has_readable_lines_and_tracebacks_but_no_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISCORD_BOT_TOKEN", "hunter2hunter2")
    with logging_to(tmp_path, LogConfig()) as file:
        log = logging.getLogger("bot.test")
        log.info("hello %s", "ada")
        try:
            raise ValueError("the token is hunter2hunter2")
        except ValueError:
            log.exception("connecting with %s failed", "xoxb-1234567890-abcdef")
    told = file.read_text()
    assert "INFO    bot.test: hello ada" in told
    assert "Traceback" in told
    assert "hunter2" not in told
    assert "xoxb" not in told


@pytest.mark.parametrize(
    "token",
    ["xoxb-12345-abcdef", "xapp-1-A0-123-abc", "hf_" + "a" * 30,
     "M" * 24 + ".Gabcde." + "x" * 38],
)  # fmt: skip
def test_what_looks_like_a_token_is_struck_out(token: str) -> None:
    assert redacted(f"using {token}, then") == "using <token>, then"
    assert redacted("an ordinary line, v1.2.3") == "an ordinary line, v1.2.3"


@pytest.mark.parametrize("file", ["/tmp/bot.log", "../bot.log", "logs/../../bot.log", "", "."])
def test_a_log_outside_the_data_folder_is_refused_at_the_start(tmp_path: Path, file: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'[log]\nfile = "{file}"\n')
    with pytest.raises(ConfigError, match=r"log\.file: .*the log lies in the data folder"):
        load_config(config)
    config.write_text('[log]\nfile = "logs/bot.log"\n')
    assert load_config(config).log.file == "logs/bot.log"


def test_a_log_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "rapport.log").mkdir()
    with pytest.raises(StoreError, match="cannot write the log"), logging_to(
        tmp_path, LogConfig()
    ):
        pass
