"""SIGKILL in the middle of serving, voting, training and publishing, and what is left then.

The real program in a process of its own, on a tiny random model. A test waits for a line
that the program prints, kills it there, and starts it again on the same data folder.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from bot.config import EngineConfig, ModelConfig
from bot.engine.model import load_model
from bot.store import Store
from bot.types import ChannelKey
from learning.registry import Registry
from learning.training.adapter import WEIGHTS_FILE
from tests.engine.tiny import make_model
from tests.learning.rated import exchange, vote

ROOT = Path(__file__).parents[1]
MAIN = ChannelKey("console", "local", "main")
PATIENCE = 400.0
"""Seconds after which a program that should have said something is given up."""
VOTES = 1000
"""More than are stored before the signal arrives."""
CHECKPOINT = 20
"""Optimiser steps between two checkpoints (`learning.training.trainer.training_job`)."""
SETTINGS = """
[model]
name = "{folder}"
device = "cpu"
threads = 1
[engine]
rows = 2
adapter_slots = 2
adapter_rank = 4
[sampling]
temperature = 0.0
max_tokens = {tokens}
[learning.sft]
gauge = 4
epochs = 40
patience = 40
batch = 4
micro_batch = 4
rank = 4
alpha = 8
learning_rate = 1e-4
[learning.gate]
canaries = 2
folds = 0
replies = 4
anchors = 4
[learning.taste]
draws = 0
"""

Event = dict[str, Any]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def settings(model: Path, tmp_path: Path, tokens: int = 8) -> Path:
    file = tmp_path / f"config-{tokens}.toml"
    file.write_text(SETTINGS.format(folder=model, tokens=tokens))
    return file


@dataclass
class Program:
    """`rapport chat --json`: said to and listened to."""

    process: subprocess.Popen[bytes]
    heard: list[Event] = field(default_factory=list)

    def say(self, *lines: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("".join(f"{line}\n" for line in lines).encode())
        self.process.stdin.flush()

    def until(self, wanted: Callable[[Event], bool]) -> Event:
        """Listen until such an event comes."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.heard.append(json.loads(line))
            if wanted(self.heard[-1]):
                return self.heard[-1]
        raise AssertionError(f"it ended after {self.heard[-3:]}")

    def kill(self) -> list[Event]:
        """SIGKILL; everything it had said, whole lines only."""
        assert self.process.stdout is not None
        self.process.kill()
        rest = self.process.stdout.read().splitlines(keepends=True)
        assert self.process.wait() == -signal.SIGKILL
        self.heard += [json.loads(line) for line in rest if line.endswith(b"\n")]
        return self.heard


@contextmanager
def chatting(config: Path, data: Path) -> Iterator[Program]:
    words = ["chat", "--json", "--config", str(config), "--data", str(data)]
    with subprocess.Popen(
        [sys.executable, "-m", "bot.cli", *words],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT,
    ) as process:  # fmt: skip
        watch = Timer(PATIENCE, process.kill)
        watch.start()
        try:
            yield Program(process)
        finally:
            watch.cancel()
            process.kill()


def rapport(*words: object, said: str = "") -> subprocess.CompletedProcess[str]:
    """A command that is left alone until it ends."""
    command = [sys.executable, "-m", "bot.cli", *map(str, words)]
    return subprocess.run(
        command, input=said, capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE
    )


def of(kind: str) -> Callable[[Event], bool]:
    return lambda event: event["event"] == kind


def step_of(text: str) -> int:
    """The optimiser step that a line of progress names; 0 for another line."""
    found = re.search(r"step (\d+) of", text)
    return int(found[1]) if found else 0


@pytest.mark.slow
async def test_killed_while_answering_it_keeps_the_question_and_no_half_of_the_answer(
    model: Path, tmp_path: Path, data: Path
) -> None:
    with chatting(settings(model, tmp_path, tokens=2000), data) as program:
        program.say("are you there")
        program.until(of("delta"))
        heard = program.kill()
    assert [event["event"] for event in heard if event["event"] != "delta"] == ["message"]
    async with await Store.open(data) as store:
        assert [(turn.role, turn.content) for turn in await store.history(MAIN)] == [
            ("user", "are you there")
        ]
        assert await store.count_exchanges() == 0
    again = rapport(
        "chat", "--json", "--config", settings(model, tmp_path), "--data", data,
        said="hello again\n/why\n",
    )  # fmt: skip
    assert (again.returncode, again.stderr) == (0, "")
    events = [json.loads(line) for line in again.stdout.splitlines()]
    (reply,) = filter(of("reply"), events)
    assert reply["exchange"] == 1
    (answer,) = filter(of("answer"), events)
    seen = [content for _, content in answer["blocks"][1]["rows"]]
    assert any("are you there" in content for content in seen)
    assert any("hello again" in content for content in seen)


@pytest.mark.slow
async def test_killed_while_voting_every_vote_that_was_acknowledged_is_kept(
    model: Path, tmp_path: Path, data: Path
) -> None:
    with chatting(settings(model, tmp_path), data) as program:
        program.say("hello")
        number = program.until(of("reply"))["exchange"]
        program.say(*["/up", "/down"] * (VOTES // 2))
        for _ in range(20):
            program.until(of("vote"))
        heard = program.kill()
    acknowledged = [event["value"] for event in heard if event["event"] == "vote"]
    assert 20 <= len(acknowledged) < VOTES
    async with await Store.open(data) as store:
        kept = [vote.value for vote in await store.votes_of(number)]
        assert kept[: len(acknowledged)] == acknowledged
        assert len(kept) <= len(acknowledged) + 1
        (current,) = await store.current_votes()
        assert current.value == kept[-1]


async def rated_folder(model: Path, data: Path, number: int = 40) -> None:
    """A data folder with rated exchanges, three of four liked."""
    loaded = load_model(
        ModelConfig(name=str(model), device="cpu", threads=1), EngineConfig(adapter_rank=4)
    )
    async with await Store.open(data) as store:
        for index in range(1, number + 1):
            key = await store.add_exchange(exchange(index, base=loaded.info.fingerprint))
            await store.add_vote(vote(key, 1 if index % 4 else -1))


@pytest.mark.slow
async def test_killed_while_training_it_goes_on_from_its_checkpoint_to_the_same_adapter(
    model: Path, tmp_path: Path, data: Path
) -> None:
    config, spared = settings(model, tmp_path), tmp_path / "spared"
    await rated_folder(model, data)
    shutil.copytree(data, spared)
    with chatting(config, data) as program:
        program.say("/learn retrain")
        program.until(lambda event: step_of(event.get("text", "")) > CHECKPOINT)
        program.kill()
    async with await Store.open(data) as store:
        (run,) = await store.unfinished_runs()
        assert run.adapter == "v0001"
    assert Registry(data / "adapters").names() == []

    resumed = rapport("train", "--config", config, "--data", data)
    assert resumed.returncode == 0, resumed.stderr
    steps = [step_of(line) for line in resumed.stderr.splitlines() if step_of(line)]
    assert steps[0] >= CHECKPOINT
    assert re.match(r"(promote|shadow|reject): .+\nserving: ", resumed.stdout)
    async with await Store.open(data) as store:
        assert [(run.adapter, run.status) for run in await store.runs()] == [
            ("v0001", "finished")
        ]
        assert [one["adapter"] for one in await store.verdicts()] == ["v0001"]
    assert sorted(path.name for path in (data / "adapters").iterdir()) == ["v0001"]
    assert list((data / "runs").iterdir()) == []

    whole = rapport("train", "--config", config, "--data", spared)
    assert (whole.returncode, whole.stdout) == (0, resumed.stdout)
    ours, theirs = (Registry(folder / "adapters") for folder in (data, spared))
    assert ours.manifest("v0001").snapshot == theirs.manifest("v0001").snapshot
    weights = [one.path("v0001") / WEIGHTS_FILE for one in (ours, theirs)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.slow
def test_killed_anywhere_while_publishing_the_old_version_serves_or_the_whole_new_one(
    model: Path, tmp_path: Path
) -> None:
    program = Path(__file__).with_name("dies_publishing.py")
    alone = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(program), str(model), str(tmp_path)],
        env=os.environ | alone, capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    points = sorted(map(json.loads, done.stdout.splitlines()), key=lambda one: one["point"])
    killed = [one for one in points if one["killed"]]
    before = {one["before"].split()[0] for one in killed}
    assert before >= {"fsync", "replace", "rename", "commit"}
    assert {one["served"] for one in killed} == {"v0001", "v0002"}
    assert [one["served"] for one in killed] == sorted(one["served"] for one in killed)
    for one in points:
        assert one["served"] == one["stored"], one
        assert one["serves"] == "v0002", one
        assert one["folders"] == ["v0001", "v0002"], one
        assert one["left"] == [], one
        assert one["statuses"] == {"v0001": "retired", "v0002": "champion"}, one
        assert one["champions"] == one["judged"] == ["v0001", "v0002"], one
        assert one["runs"] == ["finished", "finished"], one
    assert len({one["weights"] for one in points}) == 1, "not the adapter of an unbroken run"
