"""What people said of two versions: kept as it came, gone with whoever said it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bot.store import Judgement, Store
from tests.store.samples import NOW, later

GIVEN = Judgement("v0003", "v0007", "console/ann", "digest", 2**62, "fluency", -1, True, NOW)


async def test_every_judgement_is_kept_in_its_order_also_after_a_restart(tmp_path: Path) -> None:
    second = replace(GIVEN, question="interest", value=0, asked=False, time=later(1))
    third = replace(GIVEN, one="base", other="v0003", value=1)
    async with await Store.open(tmp_path) as store:
        await store.add_judgements([GIVEN, second])
        await store.add_judgements([])
        await store.add_judgements([third])
    async with await Store.open(tmp_path) as store:
        assert await store.judgements_of("v0007") == [GIVEN, second]
        assert await store.judgements_of("v0003") == [GIVEN, second, third]
        assert await store.judgements_of("base") == [third]
        assert await store.judgements_of("v0001") == []


async def test_judgements_go_with_their_judge(store: Store) -> None:
    his, elsewhere = replace(GIVEN, judge="console/bob"), replace(GIVEN, judge="slack/ann")
    await store.add_judgements([GIVEN, his, elsewhere])
    assert (await store.data_of("console", "ann"))["judgements"] == [
        {"time": NOW.isoformat(), "versions": ["v0003", "v0007"], "prompt": "digest",
         "question": "fluency", "value": -1}
    ]  # fmt: skip
    await store.forget("console", "ann", NOW)
    assert await store.judgements_of("v0003") == [his, elsewhere]
    assert (await store.data_of("console", "ann"))["judgements"] == []
