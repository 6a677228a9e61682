"""Two versions side by side."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.store import Store
from learning.registry import Registry
from learning.reports.difference import Difference, Pair, Share, difference, sections
from learning.reports.record import record_of
from tests.learning.records import make_version, rate


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await Store.open(tmp_path) as opened:
        yield opened


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "adapters")


async def compared(store: Store, registry: Registry) -> Difference:
    one, other = [await record_of(store, registry, name) for name in ("v0001", "v0002")]
    return difference(one, other, await store.current_votes())


async def test_only_settings_that_differ_are_told(store: Store, registry: Registry) -> None:
    await make_version(store, registry, "v0001", rank=4)
    await make_version(store, registry, "v0002", rank=8)
    found = await compared(store, registry)
    assert found.settings == (Pair("rank", 4, 8),)


async def test_data_is_counted_by_where_it_is_and_how_it_is_liked_by_now(
    store: Store, registry: Registry
) -> None:
    await rate(store, 1, 1, -1, 0, -1, 1)
    await make_version(store, registry, "v0001", exchanges=(1, 2, 3, 4))
    await make_version(store, registry, "v0002", exchanges=(1, 3, 5, 6, 99))
    found = await compared(store, registry)
    assert found.data == (
        Share("both", 2, liked=1, disliked=1, open=0),
        Share("v0001", 2, liked=1, disliked=0, open=1),
        Share("v0002", 3, liked=1, disliked=1, open=1),
    )
    assert ("only in v0002", "3", "1", "1", "1") in next(
        one.rows for one in sections(found) if one.title == "What training was shown"
    )


async def test_checks_and_figures_stand_side_by_side(store: Store, registry: Registry) -> None:
    await make_version(store, registry, "v0001")
    await make_version(store, registry, "v0002", champion="v0001", metrics={"bleu": 20.0})
    found = await compared(store, registry)
    assert found.checks[0].one == {"passed": False, "value": None, "limit": 0.0}
    tables = {one.title: one for one in sections(found)}
    assert tables["Checks (value, limit)"].rows[1] == ("moderation", "✓ 0 (0)", "✓ 0 (0)")
    figures = tables["Reported, never deciding"]
    assert figures.columns == ("figure", "v0001", "v0002")
    assert figures.rows[:2] == (("BLEU", "12.3", "20.0"), ("chrF", "30.0", "–"))
    assert any("different champions" in note for note in found.notes)
    assert any("different votes" in note for note in found.notes)


async def test_replies_to_the_same_prompts_are_laid_side_by_side(
    store: Store, registry: Registry
) -> None:
    await make_version(store, registry, "v0001", samples=[("Hi", "b", "one"), ("Old", "b", "x")])
    await make_version(store, registry, "v0002", samples=[("New", "b", "y"), ("Hi", "c", "two")])
    found = await compared(store, registry)
    assert found.replies == (("Hi", "one", "two"),)
    assert sections(found)[-1].rows == (("prompt", "Hi"), ("v0001", "one"), ("v0002", "two"))


async def test_of_a_version_without_files_the_store_tells_what_it_knows(
    store: Store, registry: Registry
) -> None:
    await make_version(store, registry, "v0001", rank=4, outcome=None)
    await make_version(store, registry, "v0002", rank=8)
    registry.remove("v0001")
    found = await compared(store, registry)
    assert found.data == ()
    assert Pair("rank", 4, 8) in found.settings
    assert Pair("verdict", None, "reject") in found.standing
    assert [note.split(":")[0] for note in found.notes[:2]] == [
        "v0001 was never judged.",
        "The files of v0001 are gone, and with them the list of what it was trained on.",
    ]
