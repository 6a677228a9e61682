"""Where the bot writes about its own doings: a rotating file in the data folder.

The terminal stays clean for the conversation; a bot on platforms also logs there. Records
go through a queue, so that the event loop never waits for the disk, and secrets are struck
out on the way: whatever looks like a platform's token, and the values of the variables that
hold one.
"""

from __future__ import annotations

import logging
import os
import queue
import re
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import QueueHandler, QueueListener, RotatingFileHandler
from pathlib import Path

from bot.config import LogConfig
from bot.errors import StoreError

SECRETS = ("DISCORD_BOT_TOKEN", "SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET",
           "HF_TOKEN")
FILE_BYTES = 5_000_000
FILES = 3

_TOKEN = re.compile(r"xox[a-z]-[\w-]{8,}|xapp-[\w-]{8,}|hf_\w{20,}"
                    r"|[\w-]{23,28}\.[\w-]{6}\.[\w-]{27,}")
# Libraries whose information is noise to an operator.
_LOUD = ("aiosqlite", "alembic", "apscheduler", "asyncio", "discord", "httpx", "sqlalchemy",
         "transformers", "urllib3")


def quiet_libraries() -> None:
    """Keep the model libraries' bars and chatter off the terminal; before they are imported."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


class RedactingFormatter(logging.Formatter):
    """Formats a record, traceback included, with every secret struck out."""

    def format(self, record: logging.LogRecord) -> str:
        """The line that is written."""
        return redacted(super().format(record))


def redacted(text: str) -> str:
    """`text` without tokens."""
    for name in SECRETS:
        value = os.environ.get(name, "")
        if len(value) >= 8:
            text = text.replace(value, f"<{name}>")
    return _TOKEN.sub("<token>", text)


@contextmanager
def logging_to(folder: Path, config: LogConfig, *, echo: bool = False) -> Iterator[Path]:
    """Log to a file in `folder`, and with `echo` to the standard error; gives the file.

    Raises:
        StoreError: the file cannot be written.
    """
    file = folder / config.file
    try:
        target = RotatingFileHandler(
            file, maxBytes=FILE_BYTES, backupCount=FILES, encoding="utf-8", errors="replace"
        )
    except OSError as error:
        raise StoreError(f"cannot write the log {file}: {error.strerror}") from error
    targets: list[logging.Handler] = [target]
    if echo:
        targets.append(logging.StreamHandler())
    for one in targets:
        one.setFormatter(RedactingFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    entrance = _Entrance(records)
    listener = QueueListener(records, *targets)
    root = logging.getLogger()
    level = root.level
    root.addHandler(entrance)
    root.setLevel(config.level.upper())
    for name in _LOUD:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(True)
    listener.start()
    try:
        yield file
    finally:
        logging.captureWarnings(False)
        root.removeHandler(entrance)
        root.setLevel(level)
        listener.stop()
        target.close()


class _Entrance(QueueHandler):
    """Keeps the traceback for the file's formatter instead of formatting twice."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Only the message is made here, where its arguments still have their values."""
        record.message = record.getMessage()
        record.msg, record.args = record.message, None
        return record
