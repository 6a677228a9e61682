"""What the terminal tells of versions: one, one as a document, and two side by side."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bot.cli import rapport
from bot.store import Store
from learning.registry import Registry
from tests.learning.records import make_version, rate


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three versions: judged, judged with another rank, and never judged."""

    async def make() -> None:
        async with await Store.open(tmp_path) as store:
            registry = Registry(tmp_path / "adapters")
            await rate(store, 1, -1, 1)
            await make_version(store, registry, "v0001", exchanges=(1, 2))
            await make_version(store, registry, "v0002", exchanges=(2, 3), rank=8)
            await make_version(store, registry, "v0003", outcome=None)

    asyncio.run(make())
    return tmp_path


def adapters(data: Path, *words: object) -> Result:
    return CliRunner().invoke(rapport, ["adapters", *map(str, words), "--data", str(data)])


def told(data: Path, *words: object) -> str:
    result = adapters(data, *words)
    assert result.exit_code == 0, result.output
    return result.output


def refused(data: Path, *words: object) -> str:
    result = adapters(data, *words)
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    return result.stderr


def test_show_tells_the_verdict_the_replies_and_the_settings(data: Path) -> None:
    shown = told(data, "show", "v1")
    assert shown.startswith("v0001: rejected, made 2026-08-01 12:00\nreject against base: v0001 is")
    assert "  failed  learned: It moved +0.100" in shown
    assert "  prompt: Hello | <b>you</b> there\n  before: Hm.\n  after: # Hello! How" in shown
    assert "shown 2 exchanges" in shown
    assert "  rank: 4\n" in shown


def test_show_of_a_version_without_files_tells_what_the_database_knows(data: Path) -> None:
    assert "Removed v0001" in told(data, "prune", "--keep", 2)
    shown = told(data, "show", "v1")
    assert "reject against base: v0001 is so." in shown
    assert "  after: Bye!" in shown
    assert "its files cannot be used (there is no adapter v0001 in" in shown
    assert "it cannot serve again" in shown
    assert "  rank: 4\n" in shown
    assert "  bleu: 12.345\n" in shown


def test_a_report_goes_to_the_screen_or_into_a_new_file_in_the_form_its_name_says(
    data: Path,
) -> None:
    text = told(data, "report", "v1")
    assert text.startswith("# v0001: reject\n\n**v0001 is so.**\n")
    for name, form in (("v1.md", ()), ("v1.txt", ()), ("v1", ("--format", "md"))):
        file = data / name
        assert str(file) in told(data, "report", "v1", "--out", file, *form)
        assert file.read_text(encoding="utf-8") == text
    picture, values = data / "v1.png", data / "v1.json"
    told(data, "report", "v1", "--out", picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    told(data, "report", "v1", "--out", values)
    assert values.read_text(encoding="utf-8") == told(data, "report", "v1", "--format", "json")
    assert json.loads(values.read_text(encoding="utf-8"))["outcome"] == "reject"
    assert "cannot write" in refused(data, "report", "v1", "--out", values)
    assert CliRunner().invoke(
        rapport, ["adapters", "report", "v1", "--format", "png", "--data", str(data)]
    ).stdout_bytes.startswith(b"\x89PNG")


def test_what_cannot_be_reported_is_one_line(data: Path) -> None:
    assert "there is no v0009" in refused(data, "report", "v9")
    assert "v0003 was never judged" in refused(data, "report", "v3")
    assert "v0003 was never judged" in refused(data, "report", "v3", "--format", "png")
    assert "the base model" in refused(data, "report", "base")
    assert "is not a version" in refused(data, "report", "soon")
    assert "there is no v0009" in refused(data, "diff", "v1", "v9")
    assert "there is no v0009" in refused(data, "show", "v9")


def test_two_versions_are_laid_side_by_side(data: Path) -> None:
    lines = told(data, "diff", "v1", "v2").splitlines()
    rows = [line.split() for line in lines]
    assert any(line.startswith("They were judged on different votes") for line in lines)
    assert ["rank", "4", "8"] in rows
    assert ["in", "both", "1", "0", "1", "0"] in rows
    assert ["only", "in", "v0002", "1", "1", "0", "0"] in rows
    assert ["BLEU", "12.3", "12.3"] in rows
    assert ["prompt", "Bye"] in rows
    found = json.loads(told(data, "diff", "v1", "v2", "--json"))
    assert (found["one"], found["other"]) == ("v0001", "v0002")
    assert found["settings"] == [{"name": "rank", "one": 4, "other": 8}]
    assert found["data"][0]["exchanges"] == 1
