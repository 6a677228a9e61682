"""The scenarios of `benchmarks.engine`, as small as can be: they find what they look for."""

from __future__ import annotations

import asyncio
import json
import lzma
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from benchmarks.engine import main, parse
from benchmarks.scenarios import beside, history, irc, lora, soak, swap
from benchmarks.scenarios.channels import Channel, hear
from benchmarks.scenarios.models import endless, merged, with_room_for, write_adapters
from bot.config import EngineConfig, ModelConfig
from bot.engine.base import ScoreItem
from bot.engine.local import LocalEngine
from bot.engine.model import LoadedModel, load_model
from bot.errors import DataError
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


async def test_training_is_at_work_in_its_own_phase_only(
    built_in: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "THOUGHT", 0.01)
    monkeypatch.setattr(beside, "REPLY", 4)
    monkeypatch.setattr(beside, "EXAMPLES", 16)
    found = await beside.measure(built_in, seconds=0.8)
    assert found.idle.slice_share == 0 < found.training.slice_share
    assert found.idle.replies > 0 and found.training.replies > 0


# The log of channels

LOG = [
    ("day one", "09:58", "ada", "bob: is anybody here?"),
    ("day one", "10:00", "bob", "well, yes"),
    ("day one", "10:00", "ada", "bob: good"),
    ("day one", "23:59", "cy", "bob, still there?"),
    ("day one", "00:01", "bob", "cy: no"),
    ("day two", "07:00", "dan", "nobody: hello"),
]


def write_log(folder: Path) -> None:
    lines = [
        json.dumps(dict(zip(("file", "time", "user", "text"), one, strict=True))) for one in LOG
    ]
    (folder / "log.jsonl.xz").write_bytes(lzma.compress("\n".join(lines).encode()))


def test_a_log_is_read_channel_by_channel_and_past_midnight(tmp_path: Path) -> None:
    write_log(tmp_path)
    log = irc.read_log(tmp_path, channels=2)
    assert [one.minute for one in log["day one"]] == [598, 600, 600, 1439, 1441]
    assert [one.text for one in log["day two"]] == ["nobody: hello"]
    assert list(irc.read_log(tmp_path, channels=1)) == ["day one"]


def test_the_busiest_window_is_taken_and_what_is_addressed_to_somebody_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(irc, "OFTEN", 0.0)
    write_log(tmp_path)
    room = irc.Room(irc.read_log(tmp_path, 1)["day one"], minutes=4, seconds=8.0, seed=0)
    assert room.messages == 3
    assert [(after, one.text) for after, one in room.answered] == [
        (0.0, "bob: is anybody here?"), (5.0, "bob: good"),
    ]


async def test_a_replay_answers_what_is_addressed_and_goes_on_from_what_was_said(
    built_in: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(irc, "OFTEN", 0.0)
    write_log(tmp_path)
    found = await irc.measure(built_in, tmp_path, channels=2, minutes=4, seconds=0.1)
    assert (found.channels, found.messages, found.replies, found.busy) == (2, 4, 2, 0)
    # More than the persona, which the second prompt would share with the first anyway.
    assert found.reuse > 0.45


def test_a_folder_without_a_log_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no \*.jsonl.xz"):
        irc.read_log(tmp_path, 1)
    (tmp_path / "log.jsonl").write_text("what?\n")
    with pytest.raises(DataError, match="cannot be read as a log"):
        irc.read_log(tmp_path, 1)


# The command


def test_the_table_is_measured_unless_only_scenarios_are_asked_for() -> None:
    assert parse([]).channels == [1, 4, 16]
    assert parse(["--swap"]).channels == []
    assert parse(["--swap", "--channels", "2"]).channels == [2]
    assert parse(["--lora", "--plot", "table.png"]).channels == [1, 4, 16]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--soak", "5"], "--soak begins at 100"), (["--history", "3", "64"], "begins at 16"),
        (["--swap", "0"], "begin at 1 second"), (["--irc-minutes", "0"], "begin at 1"),
    ],
)
def test_a_scenario_too_small_to_say_anything_is_refused(
    words: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(words)
    assert why in capsys.readouterr().err


def test_what_was_measured_is_written_as_one_object_and_drawn(tmp_path: Path) -> None:
    asyncio.run(main(parse([
        "--channels", "1", "2", "--peers", "--repeats", "1", "--threads", "1", "--history", "16",
        "--json", str(tmp_path / "found.json"), "--plot", str(tmp_path / "table.png"),
    ])))  # fmt: skip
    found = json.loads((tmp_path / "found.json").read_text())
    assert list(found) == ["machine", "rows", "history"]
    assert found["machine"].keys() >= {"processor", "cores", "threads", "torch"}
    assert [(one["peer"], one["channels"]) for one in found["rows"]] == [
        ("rapport", 1), ("rapport", 2),
    ]
    assert found["rows"][0].keys() == {
        "peer", "channels", "tokens_per_s", "ttft_p50_ms", "ttft_p95_ms", "itl_p95_ms",
    }
    assert (tmp_path / "table.png").read_bytes().startswith(b"\x89PNG")
