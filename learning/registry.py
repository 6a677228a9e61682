"""Versioned adapters on disk: ``<root>/v0007/`` with a manifest written last.

It knows nothing of votes, of the database or of what serves; it knows which folders hold
a whole adapter. A version is made in ``v0007.staging``, its files are hashed and forced to
disk, then its manifest is written, then the folder gets its name. Whatever moment the
power goes, there is a whole version or none: a folder without a manifest, or one that is
still called staging, does not exist to a reader. The siblings of a version, which help to judge
and never serve, lie in folders inside its own and are a part of it. Everything here blocks: call
it in a thread.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path

from bot.errors import AdapterError
from learning.durable import sync, write_file
from learning.types import Manifest

MANIFEST = "manifest.json"
_NAME = re.compile(r"v\d{4,}")
_SIBLING = re.compile(r"sibling-\d+")
_STAGING = ".staging"


def _nothing(point: str) -> None:
    """The default of `Registry.at`: go on."""


class Registry:
    """The adapters below one folder.

    Args:
        root: made when it is missing.
        at: called with the name of each point that `publish` has reached; tests stop there.
    """

    def __init__(self, root: Path, *, at: Callable[[str], None] = _nothing) -> None:
        self.root = root
        self._at = at
        root.mkdir(parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        """Where a version is, or would be.

        Raises:
            AdapterError: not a version name; nothing a person typed reaches the file system.
        """
        if not _NAME.fullmatch(name):
            raise AdapterError(f"{name!r} is not a version name; versions look like v0001")
        return self.root / name

    def stage(self, name: str) -> Path:
        """The folder a version is made in; what an interrupted run left there is kept."""
        final = self.path(name)
        if final.exists():
            raise AdapterError(f"{name} exists already; a version is never made twice")
        folder = final.with_name(name + _STAGING)
        folder.mkdir(exist_ok=True)
        return folder

    def names(self) -> list[str]:
        """Versions that exist, oldest first."""
        found = (folder for folder in self.root.iterdir() if _NAME.fullmatch(folder.name))
        whole = (folder.name for folder in found if (folder / MANIFEST).is_file())
        return sorted(whole, key=lambda name: int(name[1:]))

    def publish(self, name: str, manifest: Manifest) -> Manifest:
        """Make what was staged a version; gives the manifest back with the files' hashes.

        But for those of siblings, folders inside it (a trainer's checkpoint) are not part of it.

        Raises:
            AdapterError: nothing was staged, or the version exists.
        """
        folder = self.stage(name)
        files = _files(folder)
        if not files:
            raise AdapterError(f"{name} has no files to publish")
        for path in (*files.values(), *_places(folder)):
            sync(path)
        hashes = {file: _hash(path) for file, path in files.items()}
        self._at("hashed")
        full = replace(manifest, name=name, files=hashes)
        write_file(folder / MANIFEST, _dump(full))
        self._at("manifest")
        self._name(folder)
        return full

    def settled(self, name: str) -> bool:
        """Whether a version exists; finishes one that lacked nothing but its final name."""
        final = self.path(name)
        staging = final.with_name(name + _STAGING)
        if not final.exists() and (staging / MANIFEST).is_file():
            self._name(staging)
        return (final / MANIFEST).is_file()

    def _name(self, staging: Path) -> None:
        places = _places(staging)
        for left in [one for place in places for one in place.iterdir() if one.is_dir()]:
            if left not in places:
                shutil.rmtree(left)
        self._at("cleaned")
        staging.rename(staging.with_suffix(""))
        self._at("renamed")
        sync(self.root)

    def manifest(self, name: str) -> Manifest:
        """What a version says of itself.

        Raises:
            AdapterError: no such version, or its manifest cannot be read.
        """
        path = self.path(name) / MANIFEST
        try:
            data = json.loads(path.read_bytes())
            data |= {
                "created": datetime.fromisoformat(data["created"]),
                "exchanges": tuple(data["exchanges"]),
                # Versions from before siblings were kept say nothing of folds.
                "folds": tuple(tuple(fold) for fold in data.get("folds", ())),
            }
            return Manifest(**data)
        except FileNotFoundError as error:
            raise AdapterError(f"there is no adapter {name} in {self.root}") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise AdapterError(f"{name} is damaged: {path} cannot be read") from error

    def verify(self, name: str, base: str) -> Path:
        """The folder of a version that is whole and made for `base` (a fingerprint).

        Raises:
            AdapterError: missing, damaged, or made for another base.
        """
        manifest = self.manifest(name)
        if manifest.name != name:
            raise AdapterError(f"{name} is damaged: its manifest is that of {manifest.name}")
        if manifest.base != base:
            raise AdapterError(f"{name} was made for another base model than the one that runs")
        folder = self.path(name)
        present = _files(folder)
        if set(present) != set(manifest.files):
            odd = ", ".join(sorted(set(present) ^ set(manifest.files)))
            raise AdapterError(f"{name} is damaged: missing or unknown files ({odd})")
        for file, expected in manifest.files.items():
            if _hash(present[file]) != expected:
                raise AdapterError(f"{name} is damaged: {file} is not what was published")
        return folder

    def discard(self, name: str) -> None:
        """Throw away what was staged under a name; a published version is not touched."""
        shutil.rmtree(self.path(name).with_name(name + _STAGING), ignore_errors=True)

    def sweep(self, resumed: Collection[str] = ()) -> list[str]:
        """Remove staging folders and nameless halves, but for those of runs that go on.

        Returns:
            The names of the folders removed.
        """
        removed = []
        for folder in sorted(self.root.iterdir()):
            name = folder.name.removesuffix(_STAGING)
            half = name != folder.name or not (folder / MANIFEST).is_file()
            if half and _NAME.fullmatch(name) and name not in resumed:
                shutil.rmtree(folder)
                removed.append(folder.name)
        return removed

    def prune(self, keep: int, protected: Collection[str]) -> list[str]:
        """Remove all but the newest `keep` versions; those in `protected` always stay.

        Returns:
            The names removed.
        """
        old = self.names()[:-keep] if keep else self.names()
        removed = [name for name in old if name not in protected]
        for name in removed:
            self.remove(name)
        return removed

    def remove(self, name: str) -> None:
        """Remove a version's files; its name is never used again."""
        # Without its manifest it no longer exists, however far the rest gets.
        (self.path(name) / MANIFEST).unlink()
        sync(self.path(name))
        shutil.rmtree(self.path(name))

    def trained_on(self, exchanges: Collection[int]) -> list[str]:
        """The versions whose training was shown any of these exchanges, oldest first.

        One whose manifest cannot be read is left out: it can never serve either.
        """
        wanted = frozenset(exchanges)
        found = []
        for name in self.names():
            with suppress(AdapterError):
                if wanted.intersection(self.manifest(name).exchanges):
                    found.append(name)
        return found


def sibling_in(folder: Path, number: int) -> Path:
    """Where in the folder of a version its sibling of this number lies, or would."""
    return folder / f"sibling-{number}"


def _places(folder: Path) -> list[Path]:
    """The folder of a version and those of its siblings; a link to elsewhere is none."""
    inside = sorted(one for one in folder.iterdir() if _SIBLING.fullmatch(one.name))
    return [folder, *(one for one in inside if one.is_dir() and not one.is_symlink())]


def _files(folder: Path) -> dict[str, Path]:
    """What a version consists of, by its path inside the folder."""
    files = sorted(file for place in _places(folder) for file in place.iterdir() if _part(file))
    return {file.relative_to(folder).as_posix(): file for file in files}


def _part(file: Path) -> bool:
    return file.is_file() and file.name != MANIFEST and not file.name.startswith(".")


def _hash(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise AdapterError(f"{file} cannot be read: {error.strerror}") from error


def _dump(manifest: Manifest) -> bytes:
    known = {name: value for name, value in manifest.metrics.items() if math.isfinite(value)}
    data = asdict(manifest) | {"created": manifest.created.isoformat(), "metrics": known}
    return json.dumps(data, indent=2, sort_keys=True).encode()
