"""The border to the database itself: engines, migrations, and errors in our own words.

The only module that knows the file is SQLite. It opens connections with the durability
the design asks for, brings the schema to the newest revision, copies the file while it
is in use, and turns what the driver says into one line that tells the operator what to
do. It does not know what the tables mean.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect
from sqlalchemy.exc import SQLAlchemyError, StatementError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from bot.errors import StoreError, StoreVersionError

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_MILLISECONDS = 10_000
READERS = 4

_ADVICE = {
    "not a database": "move the file away, or restore a backup",
    "malformed": "the file is damaged; restore a backup",
    "unable to open": "check that it is a file, and that its folder can be written",
    "readonly": "check that the file and its folder can be written",
    "is full": "free some disk space",
    "is locked": "another program holds the database; stop it and try again",
    "disk i/o": "check the disk; what was not acknowledged was not saved",
}

# Alembic keeps the running migration in module globals.
_migrating = threading.Lock()


def explained(error: Exception) -> str:
    """The driver's error as one line, with what to do about it where that is known."""
    cause = error.orig if isinstance(error, StatementError) and error.orig else error
    if isinstance(cause, StoreError):
        return str(cause)
    text = (str(cause).splitlines() or [type(cause).__name__])[0]
    advice = next((advice for sign, advice in _ADVICE.items() if sign in text.lower()), "")
    return f"{text}: {advice}" if advice else text


@contextmanager
def translated(what: str = "the database") -> Iterator[None]:
    """Errors of SQLAlchemy, the driver and the file system leave as `StoreError`."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise StoreError(f"{what}: {explained(error)}") from error


def reading_engine(file: Path) -> AsyncEngine:
    """Connections that cannot write; each use is one consistent snapshot."""
    url = URL.create("sqlite+aiosqlite", database=str(file))
    engine = create_async_engine(url, pool_size=READERS, max_overflow=0, hide_parameters=True)
    _prepare(engine.sync_engine, "BEGIN", "PRAGMA query_only=ON")
    return engine


def writing_engine(file: Path) -> Engine:
    """The one connection that writes; it takes the write lock when it begins."""
    url = URL.create("sqlite", database=str(file))
    # Parameters are people's words: they do not belong in errors, which are logged.
    engine = create_engine(
        url, pool_size=1, max_overflow=0, hide_parameters=True, json_serializer=as_json
    )
    # What people had deleted is overwritten; freed space would keep it otherwise.
    _prepare(engine, "BEGIN IMMEDIATE", "PRAGMA secure_delete=ON")
    return engine


def as_json(value: Any) -> str:
    """JSON as its standard has it, where no number is infinite or not a number: those are null.

    Python writes them as words that SQLite's own functions, and other programs, refuse.
    """
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _prepare(engine: Engine, begin: str, *pragmas: str) -> None:
    def connected(connection: Any, record: Any) -> None:
        # The driver's own BEGIN comes too late for savepoints and not at all for reads.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            f"PRAGMA busy_timeout={BUSY_MILLISECONDS}",
            "PRAGMA journal_mode=WAL",
            "PRAGMA synchronous=FULL",
            "PRAGMA foreign_keys=ON",
            *pragmas,
        ):
            cursor.execute(pragma)
            cursor.fetchall()
        cursor.close()

    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)


def rewrite_a_page(connection: Connection) -> None:
    """Write something that changes nothing, which takes all that a write takes."""
    kept = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    connection.exec_driver_sql(f"PRAGMA user_version={kept}")


def sweep(connection: Any, *, rewrite: bool) -> None:
    """Leave nothing of what was deleted in the log beside the file, or in the file itself.

    Deleted rows are overwritten as they go, but a row that was ever moved to another page has
    left a copy of itself in the free space of the old one: only to `rewrite` the whole file
    is sure, and takes seconds for a hundred megabytes. Takes the writing connection of the
    driver, outside of any transaction. Blocks.

    Raises:
        StoreError: someone reads the log and does not stop.
    """
    if rewrite:
        connection.execute("VACUUM")
    if connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
        raise StoreError(
            "deleted, but copies remain in the database's log while another program reads it: "
            "stop that program and start Rapport again"
        )


def prepare_folder(folder: Path) -> None:
    """Make the data folder, durably, if it is not there.

    Raises:
        StoreError: it cannot be made, or something else is in its place.
    """
    if folder.is_dir():
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.parent)
    except OSError as error:
        raise StoreError(
            f"cannot make the data folder {folder}: {error.strerror}; choose another folder"
        ) from error


def migrate(file: Path) -> None:
    """Bring `file` to the newest schema in one transaction, making it if need be. Blocks.

    Raises:
        StoreError: not a database, not ours, or not writable.
        StoreVersionError: its schema is one that this version does not know.
    """
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    engine = writing_engine(file)
    try:
        with _migrating, translated(str(file)), engine.begin() as connection:
            revision = MigrationContext.configure(connection).get_current_revision()
            _check_revision(file, revision, ScriptDirectory.from_config(config), connection)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()


def _check_revision(
    file: Path, revision: str | None, scripts: ScriptDirectory, connection: Connection
) -> None:
    if revision is None:
        if inspect(connection).get_table_names():
            raise StoreError(f"{file} is a database of another program; choose another data folder")
        return
    known = {script.revision for script in scripts.walk_revisions()}
    if revision not in known:
        raise StoreVersionError(
            f"{file} was written by another version of Rapport (schema {revision}; this one "
            f"knows up to {scripts.get_current_head()}): run that version or a newer one, "
            "or restore a backup made with this one"
        )


def copy_database(source: Path, target: Path) -> None:
    """Copy a database in use to `target`, whole or not at all. Blocks.

    Raises:
        StoreError: `target` exists or cannot be written.
    """
    if target.exists():
        raise StoreError(f"{target} exists already; choose another name for the backup")
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    with translated(f"backup to {target}"):
        try:
            _copy(source, part)
            with part.open("rb+") as stream:
                os.fsync(stream.fileno())
            # A link, unlike a rename, never replaces a file that has appeared meanwhile.
            _place(part, target)
            sync_folder(target.parent)
        finally:
            part.unlink(missing_ok=True)


def _copy(source: Path, part: Path) -> None:
    with closing(sqlite3.connect(source)) as read, closing(sqlite3.connect(part)) as write:
        # All pages in one step: one snapshot, never begun again by a write in between.
        read.backup(write, pages=-1)
        # The copy is a single file, without -wal and -shm beside it.
        write.execute("PRAGMA journal_mode=DELETE")


def _place(part: Path, target: Path, link: Callable[[Path, Path], None] = os.link) -> None:
    try:
        link(part, target)
    except FileExistsError:
        raise
    except OSError:
        # A file system without hard links.
        os.rename(part, target)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` as durable as the files they lead to."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
