"""`benchmarks.engine`: peers in processes of their own, and replies that are not the model's."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from benchmarks.engine import main, parse
from benchmarks.peers import Peer, Spoken, check, generate_peer
from benchmarks.processes.start import installed, process
from bot.config import EngineConfig
from bot.engine.model import LoadedModel
from tests.engine.tiny import load

PROMPTS = [[10, 11, 12], [20, 21, 22], [30, 31, 32]]
ECHO = """
import time
from benchmarks.processes.lines import Answer, answers, serve

def echo(prompts):
    return Answer(start=1.0, ids=prompts, times=[[1.5, 1.75, 2.75] for _ in prompts])

with answers() as out:
    print("loading weights")
    serve(echo, out)
"""


@pytest.fixture
def loaded(folders: dict[str, Path]) -> LoadedModel:
    model = load(folders["llama"], EngineConfig(rows=4))
    model.model.generation_config.eos_token_id = None
    return model


def changed(peer: Peer, wrong: int) -> Peer:
    """The same peer, but with another first token in so many of its replies."""

    async def speak(prompts: list[list[int]]) -> list[Spoken]:
        spoken = await peer(prompts)
        return [
            replace(one, ids=(one.ids[0] ^ 1, *one.ids[1:])) if n < wrong else one
            for n, one in enumerate(spoken)
        ]

    return speak


async def test_a_process_answers_when_it_is_its_turn_and_stands_still_between_turns() -> None:
    async with process("echo", (sys.executable, "-c", ECHO)) as speak:
        [child] = psutil.Process().children()
        for prompts in ([[1, 2, 3]], [[4, 5, 6], [7, 8, 9]]):
            assert child.status() == psutil.STATUS_STOPPED
            spoken = await speak(prompts)
            assert spoken == [Spoken(tuple(ids), 0.5, (0.25, 1.0)) for ids in prompts]
        assert child.status() == psutil.STATUS_STOPPED
    assert not child.is_running()


async def test_a_process_that_ends_is_quoted(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="broken has ended"):
        async with process("broken", (sys.executable, "-c", "exit('no such weights')")):
            pass
    assert "no such weights" in capfd.readouterr().err


def test_whoever_lacks_a_module_is_not_installed() -> None:
    assert installed(sys.executable, ("json", "torch"))
    assert not installed(sys.executable, ("json", "no_such_module"))
    assert not installed("/no/such/python", ("json",))


async def test_a_peer_that_is_not_installed_is_named_and_left_out(
    folders: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "engine.json"
    await main(parse([
        "--model", str(folders["llama"]), "--threads", "1", "--channels", "2", "--repeats", "1",
        "--peers", "generate", "vllm", "--vllm", "/no/such/python", "--json", str(file),
    ]))  # fmt: skip
    rows = json.loads(file.read_text(encoding="utf-8"))["rows"]
    assert [row["peer"] for row in rows] == ["rapport", "generate"]
    assert "vllm is left out" in capfd.readouterr().err


async def test_a_peer_that_says_what_the_model_says_passes(loaded: LoadedModel) -> None:
    peer = generate_peer(loaded)
    await check({"generate": peer, "off by one": changed(peer, 1)}, loaded, PROMPTS)


async def test_a_peer_that_says_mostly_something_else_is_refused(loaded: LoadedModel) -> None:
    peers = {"other": changed(generate_peer(loaded), 2)}
    with pytest.raises(SystemExit, match="other begins 1 of 3"):
        await check(peers, loaded, PROMPTS)


async def test_a_peer_that_ends_its_replies_early_is_refused(loaded: LoadedModel) -> None:
    async def hasty(prompts: list[list[int]]) -> list[Spoken]:
        spoken = await generate_peer(loaded)(prompts)
        return [replace(one, ids=one.ids[:-1]) for one in spoken]

    with pytest.raises(SystemExit, match="hasty does not give 48 tokens"):
        await check({"hasty": hasty}, loaded, PROMPTS)
