"""What each part of the engine's memory may have, worked out from what is free."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bot.config import EngineConfig
from bot.engine import free as free_module
from bot.engine import memory
from bot.engine.free import contained, free_memory
from bot.engine.memory import KEPT_LEAST, KEPT_MOST, Plan, kept_limit
from bot.engine.model import make_forward
from tests.engine.conftest import Start
from tests.engine.tiny import load, prompt_ids, reply, stepped

MB, GB = 2**20, 2**30


def plan(folder: Path, **settings: object) -> Plan:
    config = EngineConfig(**settings)  # type: ignore[arg-type]  # tests pass any setting
    forward = make_forward(load(folder, config).model, config, 256)
    return Plan.of(forward, rows=4, context=256, kept_mb=config.prefix_cache_mb)


def test_what_is_kept_has_a_fifth_of_what_is_free_between_two_bounds() -> None:
    assert kept_limit(10 * GB) == 2 * GB
    assert kept_limit(100 * MB) == KEPT_LEAST
    assert kept_limit(10**15) == KEPT_MOST


def test_what_replies_take_at_most_is_computed_for_every_kind_of_model(
    kind: str, folders: dict[str, Path]
) -> None:
    heads_and_width = {"llama": 2 * 8, "qwen3": 2 * 8, "gpt2": 4 * 8}[kind]
    found = plan(folders[kind])
    assert found.arena == 4 * 256 * 2 * 2 * heads_and_width * 4  # layers, keys and values, fp32
    assert found.weights == sum(
        one.nbytes for one in load(folders[kind]).model.parameters()
    )


@pytest.mark.parametrize(("free", "configured", "kept"), [
    (10 * GB, "auto", 2 * GB), (10 * GB, 7, 7 * MB), (10 * GB, 0, 0), (MB, "auto", KEPT_LEAST),
])  # fmt: skip
def test_a_number_keeps_its_meaning_and_auto_goes_by_what_is_free(
    free: int, configured: object, kept: int, folders: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(memory, "free_memory", lambda device: free)
    assert plan(folders["llama"], prefix_cache_mb=configured).kept == kept


def test_what_cannot_fit_is_warned_of_with_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    room = Plan(weights=GB, packed=0, arena=3 * GB, kept=GB, free=4 * GB)
    room.tell(16, 4096)
    assert "3.0 GiB at most (16 rows of 4096 tokens)" in caplog.text
    assert [one.levelname for one in caplog.records] == ["INFO"]
    Plan(weights=GB, packed=0, arena=3 * GB, kept=GB, free=4 * GB - 1).tell(16, 4096)
    assert caplog.records[-1].levelname == "WARNING"
    assert "lower engine.rows, engine.context" in caplog.text


def test_what_the_system_does_not_promise_grows_instead(folders: dict[str, Path]) -> None:
    found = plan(folders["llama"])
    assert found.reserve(torch.device("cpu")) is not None
    assert found.reserve(torch.device("cuda")) is None
    assert replace(found, arena=2**60).reserve(torch.device("cpu")) is None


def test_a_container_has_what_its_limits_leave(tmp_path: Path) -> None:
    def group(path: str, limit: str, used: int, cached: int) -> None:
        (tmp_path / path).mkdir(parents=True, exist_ok=True)
        (tmp_path / path / "memory.max").write_text(f"{limit}\n")
        (tmp_path / path / "memory.current").write_text(f"{used}\n")
        (tmp_path / path / "memory.stat").write_text(f"anon 5\ninactive_file {cached}\nslab 1\n")

    own = "0::/bots.slice/rapport.service\n"
    assert contained(tmp_path, own) == []
    group("bots.slice", "max", 900, 0)
    assert contained(tmp_path, own) == []
    group("bots.slice/rapport.service", "1000", 700, 300)
    assert contained(tmp_path, own) == [600]
    group("bots.slice", "800", 700, 0)
    assert sorted(contained(tmp_path, own)) == [100, 600]
    group(".", "50", 70, 0)  # a container that is shown its own group as the top
    assert min(contained(tmp_path, "0::/docker/0123\n")) == 0


def test_the_older_kind_of_limit_counts_too(tmp_path: Path) -> None:
    folder = tmp_path / "memory" / "docker"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text("1000\n")
    (folder / "memory.usage_in_bytes").write_text("600\n")
    (folder / "memory.stat").write_text("cache 90\ntotal_inactive_file 50\n")
    own = "5:cpu,cpuacct:/docker\n4:memory:/docker\n1:name=systemd:/docker\n"
    assert contained(tmp_path, own) == [450]


def test_a_limit_around_this_process_counts_where_it_is_the_narrowest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "cgroup"
    own.write_text("0::/\n")
    monkeypatch.setattr(free_module, "CGROUPS", tmp_path)
    monkeypatch.setattr(free_module, "OWN_CGROUP", own)
    unlimited = free_memory(torch.device("cpu"))
    (tmp_path / "memory.max").write_text(f"{10 * MB}")
    (tmp_path / "memory.current").write_text(f"{4 * MB}")
    assert unlimited > free_memory(torch.device("cpu")) == 6 * MB


async def test_the_engine_tells_what_its_parts_hold(
    kind: str, folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders[kind], rows=4, context=256, prefix_cache_mb=1)
    before = engine.stats()
    assert (before.arena_bytes, before.cache_bytes, before.cache_limit) == (0, 0, MB)
    await reply(engine, prompt_ids(30), key="room")
    await stepped(engine)
    after = engine.stats()
    assert 30 <= after.arena_bytes * 4 * 256 / after.arena_limit <= 60  # positions, of one row
    assert after.cache_bytes > 0
    assert after.arena_limit == before.arena_limit
