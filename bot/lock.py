"""One process at a time in a data folder.

The lock is the kernel's (`flock`), so that it is gone with the process that held it, even
after ``kill -9``; the file's content only says who that is.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bot.errors import StoreError

LOCK_NAME = "rapport.lock"


def make_folder(folder: Path) -> None:
    """Make the data folder if it is not there.

    Raises:
        StoreError: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise StoreError(
            f"{folder} is a file, not a folder; choose another with --data"
        ) from error
    except OSError as error:
        raise StoreError(
            f"cannot make the data folder {folder}: {error.strerror}; choose another with --data"
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StoreError(
            f"the data folder {folder} cannot be written; change its rights or choose another "
            "with --data"
        )


@contextmanager
def data_lock(folder: Path) -> Iterator[None]:
    """Hold the data folder, which is made if need be, for this process alone.

    Raises:
        StoreError: another process holds it, or it cannot be written.
    """
    make_folder(folder)
    file = folder / LOCK_NAME
    try:
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StoreError(f"cannot write {file}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(handle, 32).decode("ascii", "replace").strip() or "unknown"
            raise StoreError(
                f"{folder} is in use by another rapport (process {holder}); stop it, or choose "
                "another folder with --data"
            ) from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode("ascii"), 0)
        yield
        os.ftruncate(handle, 0)
    finally:
        os.close(handle)
