"""A version's report as a document."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.errors import AdapterError, LearningError
from bot.store import Store
from bot.types import BASE
from learning.registry import Registry
from learning.reports.document import as_json, as_markdown
from learning.reports.record import Record, record_of
from tests.learning.records import make_version, rate


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await Store.open(tmp_path) as opened:
        yield opened


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "adapters")


async def record(store: Store, registry: Registry, name: str = "v0001") -> Record:
    return await record_of(store, registry, name)


async def test_the_first_thing_said_is_the_verdict_and_every_check_has_its_reason(
    store: Store, registry: Registry
) -> None:
    await make_version(store, registry, "v0001")
    lines = as_markdown(await record(store, registry)).splitlines()
    assert lines[:3] == ["# v0001: reject", "", "**v0001 is so.**"]
    assert "Now: turned away. It was compared with the base model on 2026-08-01." in lines
    assert "## What the gate asked (1 of 2 failed)" in lines
    learned, moderation = (next(line for line in lines if f"| {name} |" in line)
                           for name in ("learned", "moderation"))  # fmt: skip
    assert learned == ("| **FAILED** | learned | – | 0 | It moved +0.100, no certainty at all: "
                       "not enough to rule out luck. |")  # fmt: skip
    assert moderation.startswith("| passed | moderation | 0 | 0 | ")
    assert "'&lt;a\\|b>'" in moderation


async def test_figures_stand_beside_the_champions_with_what_they_mean(
    store: Store, registry: Registry
) -> None:
    await make_version(store, registry, "v0001")
    told = as_markdown(await record(store, registry))
    assert "| figure | v0001 | the base model | in words |" in told
    assert "| BLEU | 12.3 | 2.5 | words in a row" in told
    assert "| perplexity of liked replies | – | 9.0 |" not in told, "it is not known at all"
    assert "From 24 rated replies" in told
    bare = {"holdout_items": 24.0, "sampled_replies": 3.0, "sampled_distinct_1": 0.5}
    await make_version(store, registry, "v0002", metrics=bare)
    assert "rapport-bot[card]" in as_markdown(await record(store, registry, "v0002"))


async def test_words_in_replies_are_words_and_no_marks(store: Store, registry: Registry) -> None:
    await make_version(store, registry, "v0001")
    told = as_markdown(await record(store, registry))
    assert "Prompt:\n\n    Hello | <b>you</b>\n    there\n" in told
    assert "Before (the base model):\n\n    Hm.\n" in told
    assert "After (v0001):\n\n    # Hello!\n    \n    How *are* you?\n" in told


async def test_the_report_says_how_the_version_was_made(store: Store, registry: Registry) -> None:
    await make_version(store, registry, "v0001", exchanges=(1, 2, 5))
    told = as_markdown(await record(store, registry))
    assert "- run 1 (command)" in told
    assert "- loss on what it learned from: 3 at first, 2 at the end" in told
    assert "loss on replies set aside" not in told, "its one point is no number"
    assert "- it was shown 3 exchanges" in told
    assert "| objective | sft |" in told
    assert "| gate.alpha | 0.1 |" in told


async def test_forgotten_words_are_in_no_later_report(store: Store, registry: Registry) -> None:
    await make_version(store, registry, "v0001")
    registry.remove("v0001")
    await store.wipe_samples({"v0001"})
    told = as_markdown(await record(store, registry))
    assert "Hello" not in told
    assert "None are kept" in told
    assert "its files are gone, so it cannot serve again" in told
    assert "| rank | 4 |" in told
    assert json.loads(as_json(await record(store, registry)))["samples"] == []


async def test_programs_get_the_same_with_null_for_what_is_no_number(
    store: Store, registry: Registry
) -> None:
    await make_version(store, registry, "v0001")
    await rate(store, 1, -1)
    text = as_json(await record(store, registry))
    assert "Infinity" not in text
    assert "NaN" not in text
    told = json.loads(text)
    assert (told["version"], told["outcome"], told["state"]) == ("v0001", "reject", "turned away")
    assert told["checks"][0]["value"] is None
    assert told["metrics"]["bleu"] == 12.345
    assert "starts" not in told["metrics"], "that is how often the run was begun"
    assert told["samples"][1] == {"prompt": "Bye", "before": "No.", "after": "Bye!"}
    assert told["run"]["id"] == 1
    assert told["curve"][1] == {"step": 2, "name": "held_out", "value": None}


async def test_what_is_unknown_or_was_never_judged_has_no_report(
    store: Store, registry: Registry
) -> None:
    with pytest.raises(AdapterError, match="there is no v0001; `rapport adapters list`"):
        await record(store, registry)
    with pytest.raises(AdapterError, match="the base model"):
        await record(store, registry, BASE)
    await make_version(store, registry, "v0001", outcome=None)
    for form in (as_markdown, as_json):
        with pytest.raises(LearningError, match="v0001 was never judged"):
            form(await record(store, registry))
