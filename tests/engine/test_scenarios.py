"""The scenarios of `benchmarks.engine`, as small as can be: they find what they look for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from benchmarks.scenarios import history, lora, soak, swap
from benchmarks.scenarios.channels import Channel, hear
from benchmarks.scenarios.models import endless, merged, with_room_for, write_adapters
from bot.config import EngineConfig, ModelConfig
from bot.engine.base import ScoreItem
from bot.engine.local import LocalEngine
from bot.engine.model import LoadedModel, load_model
from bot.types import BASE


@pytest.fixture(scope="module")
def built_in() -> LoadedModel:
    return load_model(ModelConfig(dtype="float32", device="cpu", threads=1), EngineConfig())


@pytest.fixture(scope="module")
def places(built_in: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two random adapters for the built-in model."""
    return write_adapters(built_in, tmp_path_factory.mktemp("adapters"), 2)


@pytest.fixture
async def judge(built_in: LoadedModel, places: list[Path]) -> AsyncIterator[swap.Judge]:
    engine = LocalEngine(endless(built_in), EngineConfig(rows=1), share=0.25)
    judge = swap.Judge(engine, places)
    await judge.sit(1)
    yield judge
    await engine.close()


# The models


async def test_a_merged_copy_finds_replies_as_likely_as_the_adapter_beside_the_weights(
    built_in: LoadedModel, places: list[Path]
) -> None:
    scores = {}
    for adapter, loaded in (("v0", built_in), (BASE, merged(built_in, places[0]))):
        engine = LocalEngine(loaded, EngineConfig(), share=0.25)
        await engine.load("v0", places[0])
        (score,) = await engine.score([ScoreItem(range(20, 60), range(60, 80), adapter)])
        scores[adapter] = score.log_probs
        await engine.close()
    assert scores["v0"] == pytest.approx(scores[BASE], abs=1e-3)


def test_a_model_with_room_has_the_shape_of_the_one_whose_context_is_too_short(
    built_in: LoadedModel
) -> None:
    with with_room_for(built_in.info.context, built_in) as same:
        assert same is built_in
    with with_room_for(1500, built_in) as longer:
        assert longer.info.context == 1500
        assert longer.info.parameters == built_in.info.parameters
        assert longer.info.name == "rapport-tiny-random-1500"


# What is found


async def test_a_kept_history_is_reused_and_one_that_is_not_kept_is_read_anew(
    built_in: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "REPLY", 4)
    found = await history.measure(built_in, [64, 32], repeats=1)
    assert found.model == "rapport-tiny"
    assert [(one.history, one.kept, one.reused_tokens) for one in found.rows] == [
        (32, True, 31), (32, False, 0), (64, True, 63), (64, False, 0),
    ]


async def test_adapters_are_measured_beside_merged_weights_at_each_number_of_rows(
    built_in: LoadedModel
) -> None:
    found = await lora.measure(built_in, repeats=1, rows=(1, 3), reply=2)
    assert [(one.rows, one.way, one.versions) for one in found.rows] == [
        (1, "merged", 0), (1, "one version", 1),
        (3, "merged", 0), (3, "one version", 1), (3, "mix", 3),
    ]
    assert all(one.cost == 0.0 for one in found.rows if one.way == "merged")


async def test_replies_outlive_a_swap_whole_and_unmixed(
    built_in: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swap, "LONGEST", 64)
    found = await swap.measure(built_in, seconds=1.0, channels=2, every=0.2)
    assert found.replies > 0
    assert (found.dropped, found.mixed, found.stale) == (0, 0, 0)


async def test_a_reply_is_told_from_what_another_version_says(judge: swap.Judge) -> None:
    request = Channel("ada", 6144, 64).asks("v0", swap.REPLY)
    heard = await hear(judge.engine, request)
    assert await judge.ties("v0", heard) == 0
    assert await judge.ties("v1", heard) is None


async def test_a_soak_counts_every_reply_and_leaves_none_open(
    built_in: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soak, "LONGEST", 64)
    monkeypatch.setattr(soak, "REPLIES", (4, 6))
    monkeypatch.setattr(soak, "LEFT", 0.3)
    found = await soak.measure(built_in, replies=50, channels=4)
    assert (found.replies, found.failed, found.open, found.swaps) == (50, 0, 0, 50)
    assert found.left > 0
    assert [one.tenth for one in found.rows] == list(range(1, 11))
    assert sum(one.replies for one in found.rows) == 50 - found.left


# The command
