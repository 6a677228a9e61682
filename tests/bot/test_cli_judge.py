"""`rapport judge`: a person, or a script in their place, compares two versions blind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from bot.cli import rapport
from bot.cli_judge_screen import Screen, Typed, word_of
from bot.engine.local import LocalEngine
from bot.store import Store
from bot.types import BASE, Turn
from learning.judging.pairs import Pair
from learning.judging.session import Better
from learning.registry import Registry
from tests.bot.terminal import Terminal
from tests.bot.test_cli import one_line, rapport_with, settings
from tests.engine.tiny import make_adapter
from tests.learning.test_registry import manifest

__all__ = ["settings"]

PAIR = Pair((Turn("user", "Hi"),), "hers\x1b[2J", "his", swapped=True)
OPTIONS = ("--adapters", "base", "v1", "--seed", "3")


@pytest.fixture
def data(tmp_path: Path, folder: Path, running: LocalEngine) -> Path:
    """A data folder with a version that answers otherwise than the base."""
    data = tmp_path / "data"

    async def make() -> None:
        async with await Store.open(data) as store:
            await store.add_adapter("v0001", None, "rejected", "", datetime.now(UTC), {})

    asyncio.run(make())
    registry = Registry(data / "adapters")
    make_adapter(folder, registry.stage("v0001"), 1)
    made = replace(manifest("v0001"), base=running.info.fingerprint)
    registry.publish("v0001", made)
    return data


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    file = tmp_path / "prompts.txt"
    file.write_text("How are you?\n\nTell me a story.\nWho sleeps?\n", encoding="utf-8")
    return file


async def lines(*given: str) -> AsyncGenerator[str, None]:
    for line in given:
        yield line


# What keys mean


def test_keys_mean_a_side_for_one_question_or_for_all_that_is_left() -> None:
    assert [word_of(key) for key in "lrt"] == [Better("left"), Better("right"), Better("tie")]
    assert [word_of(key) for key in "LT"] == [Better("left", True), Better("tie", True)]
    assert [word_of(key) for key in "sq"] == ["skip", "quit"]
    assert [word_of(key) for key in "xS1"] == [None, None, None]


async def test_lines_are_keys_one_after_another_and_their_end_is_quitting() -> None:
    out = StringIO()
    screen = Screen(Typed(lines("l r", "", "xT")), Console(file=out), side_by_side=False)
    words = [await screen.better("fluency") for _ in range(4)]
    assert words == [Better("left"), Better("right"), Better("tie", True), "quit"]
    assert out.getvalue().count("says nothing here") == 1


@pytest.mark.parametrize("side_by_side", [True, False])
def test_two_replies_are_shown_without_a_name_or_a_control_character(side_by_side: bool) -> None:
    out = StringIO()
    screen = Screen(Typed(lines()), Console(file=out, width=60), side_by_side=side_by_side)
    screen.show(PAIR, 2, 7)
    shown = out.getvalue()
    assert "2 of 7" in shown and "you › Hi" in shown
    assert shown.index("his") < shown.index("hers")
    rows = [line for line in shown.splitlines() if "hers" in line and "his" in line]
    assert len(rows) == side_by_side
    assert "\x1b" not in shown and BASE not in shown and "v0001" not in shown


# The command


def test_a_script_judges_and_goes_on_where_it_stopped(
    settings: Path, data: Path, prompts: Path, tmp_path: Path
) -> None:
    file = tmp_path / "found.json"
    words = ("judge", *OPTIONS, "--config", settings, "--data", data, "--prompts", prompts,
             "--judge", "ann")  # fmt: skip
    first = rapport_with(*words, said=b"lrtl\nl\n")
    assert first.returncode == 0, first.stderr
    told = first.stdout.decode()
    assert "1 of 3\nyou › How are you?\nleft › " in told
    assert "2 prompts" in told
    second = rapport_with(*words, "--json", file, said=b"T\nL")
    assert second.returncode == 0, second.stderr
    told = second.stdout.decode()
    assert "1 of 2\nyou › Tell me a story." in told
    assert "1 prompts you had judged before" in told
    found = json.loads(file.read_text(encoding="utf-8"))
    assert (found["one"], found["other"], found["prompts"], found["judges"]) == (
        BASE, "v0001", 3, 1,
    )  # fmt: skip
    assert found["sentence"] in told
    assert [one["question"] for one in found["questions"]][:2] == ["overall", "relevance"]
    story, sleeps = found["sitting"]
    assert story["better"] == dict.fromkeys(("diversity", "fluency", "interest"), "tie")
    assert set(sleeps["better"].values()) == {sleeps["left"]}
    assert story["replies"][BASE] != story["replies"]["v0001"]
    assert "v0001" in CliRunner().invoke(
        rapport, ["adapters", "list", "--data", str(data)]
    ).output


@pytest.fixture
def terminal(settings: Path, data: Path, prompts: Path) -> Iterator[Terminal]:
    terminal = Terminal("judge", *OPTIONS, "--config", str(settings), "--data", str(data),
                        "--prompts", str(prompts))  # fmt: skip
    yield terminal
    terminal.leave()


def test_in_a_terminal_one_key_is_one_answer(terminal: Terminal, data: Path) -> None:
    terminal.wait_for("1 of 3")
    terminal.wait_for("relevance (fits what was said) ›")
    terminal.type("l")
    terminal.wait_for("diversity (has something of its own to say) ›")
    terminal.type("xR")
    terminal.wait_for("2 of 3")
    terminal.wait_for("relevance (fits what was said) ›")
    terminal.type("q")
    assert terminal.exit_status() == 0
    assert "1 person judged." in terminal.screen

    async def kept() -> list[tuple[str, bool]]:
        async with await Store.open(data) as store:
            given = await store.judgements_of("v0001")
            return [(one.question, one.value == given[0].value) for one in given]

    assert asyncio.run(kept()) == [
        ("relevance", True), ("diversity", False), ("fluency", False), ("interest", False),
    ]  # fmt: skip


def test_what_cannot_be_compared_is_one_line(
    settings: Path, data: Path, tmp_path: Path, prompts: Path
) -> None:
    words = ("--config", settings, "--data", data)
    told = one_line("judge", "--adapters", "v1", "1", *words)
    assert "v0001 cannot be compared with itself" in told
    assert "is not a version" in one_line("judge", "--adapters", "v1", "soon", *words)
    prompts.write_text("\n\n")
    assert "has no prompts" in one_line(
        "judge", "--adapters", "v1", "base", "--prompts", prompts, *words
    )
    nowhere = tmp_path / "no" / "found.json"
    assert "there is no folder" in one_line("judge", *OPTIONS, "--json", nowhere, *words)
    failed = rapport_with("judge", "--adapters", "v1", "v9", *words)
    assert failed.returncode == 1
    assert b"error: " in failed.stderr and b"v0009" in failed.stderr
