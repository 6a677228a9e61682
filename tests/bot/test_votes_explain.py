"""``rapport votes explain``, as it is typed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bot.cli import rapport
from bot.store import Store
from tests.learning.rated import exchange, vote


@pytest.fixture
def data(tmp_path: Path) -> Path:
    async def fill() -> None:
        async with await Store.open(tmp_path) as store:
            for number in (1, 2):
                await store.add_exchange(exchange(number, reply=f"secret words {number}"))
            await store.add_vote(vote(1, 1, "ann"))
            await store.add_vote(vote(1, 1, "bob"))

    asyncio.run(fill())
    return tmp_path


def explained(number: object, data: Path) -> Result:
    words = ["votes", "explain", str(number), "--data", str(data)]
    return CliRunner().invoke(rapport, words)


def test_each_vote_is_explained_without_anybodys_words(data: Path) -> None:
    result = explained(1, data)
    assert result.exit_code == 0
    assert "👍 ann weighs 0.75" in result.output
    assert "others agreed about 1 of the 1 replies" in result.output
    assert "It counts as liked, with weight 1.50." in result.output
    assert "secret" not in result.output
    assert explained(2, data).output.endswith(
        "Nobody has rated it.\nSo there is nothing to learn from it.\n"
    )


def test_an_unknown_reply_is_one_line_and_a_failure(data: Path) -> None:
    result = explained(99, data)
    assert result.exit_code == 1
    assert result.stderr == (
        "error: there is no reply 99; `rapport votes export` lists those that are rated\n"
    )
    assert explained("twelve", data).exit_code == 2
    assert explained(2**63, data).exit_code == 2


def test_its_help_says_what_it_tells(data: Path) -> None:
    told = " ".join(CliRunner().invoke(rapport, ["votes", "explain", "--help"]).output.split())
    assert "what it weighs, and by which rules" in told
    assert "rapport votes explain 12" in told
