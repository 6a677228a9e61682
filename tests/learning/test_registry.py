from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bot.errors import AdapterError
from learning.registry import Registry
from learning.types import Manifest
from tests.learning.rated import START

POINTS = ("hashed", "manifest", "cleaned", "renamed")


def manifest(name: str) -> Manifest:
    return Manifest(name, "tiny", "digest", START, 0, {"rank": 4}, {"loss": 1.0}, {}, (1, 2))


def staged(registry: Registry, name: str = "v0001") -> Path:
    folder = registry.stage(name)
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    (folder / "adapter_config.json").write_text("{}")
    (folder / "checkpoint").mkdir(exist_ok=True)
    (folder / "checkpoint" / "state").write_text("half")
    return folder


def with_sibling(folder: Path, number: int = 2) -> Path:
    place = folder / f"sibling-{number}"
    place.mkdir()
    (place / "adapter_model.safetensors").write_bytes(b"other weights")
    (place / "adapter_config.json").write_text("{}")
    (place / "checkpoint").mkdir()
    (place / "checkpoint" / "state").write_text("half")
    return place


def published(root: Path, *names: str) -> Registry:
    registry = Registry(root)
    for name in names:
        staged(registry, name)
        registry.publish(name, manifest(name))
    return registry


def test_a_published_version_is_whole_and_says_what_it_is(tmp_path: Path) -> None:
    registry = published(tmp_path, "v0001")
    folder = registry.verify("v0001", "tiny")
    assert sorted(file.name for file in folder.iterdir()) == [
        "adapter_config.json", "adapter_model.safetensors", "manifest.json",
    ]  # fmt: skip
    assert registry.manifest("v0001").exchanges == (1, 2)
    assert registry.manifest("v0001").created == START


def test_a_figure_that_is_no_number_is_left_out_of_the_manifest(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    staged(registry)
    registry.publish("v0001", replace(manifest("v0001"), metrics={"loss": 1.0, "other": math.nan}))
    text = (registry.path("v0001") / "manifest.json").read_text()
    assert "NaN" not in text
    assert registry.manifest("v0001").metrics == {"loss": 1.0}


def test_siblings_are_published_verified_and_removed_with_their_version(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    with_sibling(staged(registry))
    registry.publish("v0001", replace(manifest("v0001"), folds=((), (1,))))
    folder = registry.verify("v0001", "tiny")
    found = sorted(str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file())
    assert found == [
        "adapter_config.json", "adapter_model.safetensors", "manifest.json",
        "sibling-2/adapter_config.json", "sibling-2/adapter_model.safetensors",
    ]  # fmt: skip
    assert {*registry.manifest("v0001").files, "manifest.json"} == set(found)
    assert registry.manifest("v0001").folds == ((), (1,))
    assert not list(folder.rglob("checkpoint"))
    weights = folder / "sibling-2" / "adapter_model.safetensors"
    weights.write_bytes(b"other weight5")
    with pytest.raises(AdapterError, match=r"sibling-2/adapter_model\.safetensors is not what"):
        registry.verify("v0001", "tiny")
    weights.unlink()
    with pytest.raises(AdapterError, match="missing or unknown files"):
        registry.verify("v0001", "tiny")
    registry.remove("v0001")
    assert list(tmp_path.iterdir()) == []


def test_a_version_from_before_siblings_were_kept_says_that_it_has_none(tmp_path: Path) -> None:
    registry = published(tmp_path, "v0001")
    file = registry.path("v0001") / "manifest.json"
    old = json.loads(file.read_bytes())
    del old["folds"]
    file.write_text(json.dumps(old))
    registry.verify("v0001", "tiny")
    assert registry.manifest("v0001").folds == ()


def test_nothing_outside_its_folder_is_part_of_a_version(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    for name in ("v0001", "v0002"):
        with_sibling(staged(registry, name))
        registry.publish(name, manifest(name))
    inside = registry.path("v0001") / "sibling-2"
    inside.rename(tmp_path / "elsewhere")
    inside.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AdapterError, match="missing or unknown files"):
        registry.verify("v0001", "tiny")
    file = registry.path("v0002") / "manifest.json"
    told = json.loads(file.read_bytes())
    told["files"]["../v0001/adapter_config.json"] = told["files"]["adapter_config.json"]
    file.write_text(json.dumps(told))
    with pytest.raises(AdapterError, match="missing or unknown files"):
        registry.verify("v0002", "tiny")


@pytest.mark.parametrize("name", ["", "..", "v1", "v0001/../../x", "base", "V0001", "v0001\n"])
def test_only_version_names_reach_the_file_system(tmp_path: Path, name: str) -> None:
    with pytest.raises(AdapterError, match="not a version name"):
        Registry(tmp_path).verify(name, "tiny")


def test_damage_and_another_base_are_told_apart(tmp_path: Path) -> None:
    registry = published(tmp_path, "v0001", "v0002", "v0003")
    with pytest.raises(AdapterError, match="another base"):
        registry.verify("v0001", "other")
    (registry.path("v0001") / "adapter_model.safetensors").write_bytes(b"weight5")
    with pytest.raises(AdapterError, match="not what was published"):
        registry.verify("v0001", "tiny")
    (registry.path("v0002") / "adapter_config.json").unlink()
    with pytest.raises(AdapterError, match="missing or unknown files"):
        registry.verify("v0002", "tiny")
    (registry.path("v0003") / "manifest.json").write_text("{")
    with pytest.raises(AdapterError, match="cannot be read"):
        registry.verify("v0003", "tiny")
    with pytest.raises(AdapterError, match="there is no adapter"):
        registry.verify("v0009", "tiny")


def test_a_version_is_never_made_twice(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="never made twice"):
        published(tmp_path, "v0001").stage("v0001")


def test_nothing_staged_is_not_published(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="no files"):
        Registry(tmp_path).publish("v0001", manifest("v0001"))


class Stop(Exception):
    pass


@pytest.mark.parametrize("point", POINTS)
def test_an_interrupted_publishing_leaves_a_whole_version_or_none(
    tmp_path: Path, point: str
) -> None:
    def stop(at: str) -> None:
        if at == point:
            raise Stop

    registry = Registry(tmp_path, at=stop)
    staged(registry)
    with pytest.raises(Stop):
        registry.publish("v0001", manifest("v0001"))
    again = Registry(tmp_path)
    assert again.names() == (["v0001"] if point == "renamed" else [])
    assert again.settled("v0001") == (point != "hashed")
    if point == "hashed":
        again.publish("v0001", manifest("v0001"))
    assert again.verify("v0001", "tiny").is_dir()
    assert again.sweep() == []


KILLED = """
import os, signal, sys
from pathlib import Path
from learning.registry import Registry
from tests.learning.test_registry import manifest, staged
def die(at):
    if at == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)
registry = Registry(Path(sys.argv[1]), at=die)
staged(registry)
registry.publish("v0001", manifest("v0001"))
"""


@pytest.mark.parametrize("point", ["hashed", "renamed"])
def test_kill_9_while_publishing_leaves_a_whole_version_or_none(
    tmp_path: Path, point: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), point],
        cwd=Path(__file__).parents[2], env={**os.environ, "PYTHONPATH": "."}, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    registry = Registry(tmp_path)
    assert registry.names() == (["v0001"] if point == "renamed" else [])
    for name in registry.names():
        registry.verify(name, "tiny")


def test_sweeping_spares_what_an_unfinished_run_resumes(tmp_path: Path) -> None:
    registry = published(tmp_path, "v0001")
    staged(registry, "v0002")
    staged(registry, "v0003")
    registry.path("v0004").mkdir()
    (tmp_path / "notes").mkdir()
    assert registry.sweep({"v0003"}) == ["v0002.staging", "v0004"]
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["notes", "v0001", "v0003.staging"]


def test_pruning_keeps_the_newest_and_the_protected(tmp_path: Path) -> None:
    registry = published(tmp_path, "v0001", "v0002", "v0003", "v10000")
    assert registry.prune(2, {"v0001"}) == ["v0002"]
    assert registry.names() == ["v0001", "v0003", "v10000"]
