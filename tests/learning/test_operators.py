"""What operators ask of versions and raters on a running bot: promote, compare, look at trust."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bot.errors import AdapterError, LearningError
from bot.types import BASE
from learning.types import CountedVote, Factor, Weight
from learning.votes.explain import explain
from learning.votes.raters import raters_of
from tests.learning.rated import HERE, START, Opener, exchange, vote


async def test_an_operator_lets_a_version_serve_whatever_the_gate_said(opened: Opener) -> None:
    async with opened("reject") as here:
        await here.rate(16)
        await here.learn()
        assert here.loop.current(HERE) == BASE
        assert await here.loop.promote("v0001") == "v0001 serves now."
        assert (await here.until("approved")).text == "an operator promoted v0001"
        assert (await here.until("swapped")).adapter == "v0001"
        assert here.loop.current(HERE) == await here.store.champion() == "v0001"
        assert (await here.store.champions())[-1][1] == "promoted by an operator"
        with pytest.raises(LearningError, match="v0001 serves already"):
            await here.loop.promote("v0001")
        assert await here.loop.rollback() == "Rolled back: the base model serves now."


async def test_what_is_unknown_unjudged_or_damaged_cannot_be_let_serve(opened: Opener) -> None:
    async with opened("reject") as here:
        await here.rate(16)
        await here.learn()
        with pytest.raises(AdapterError, match="there is no version v0009"):
            await here.loop.promote("v0009")
        with pytest.raises(AdapterError, match="there is no version base"):
            await here.loop.promote(BASE)
        await here.store.add_adapter("v0009", None, "candidate", "tiny", START, {})
        with pytest.raises(AdapterError, match="v0009 is not judged yet"):
            await here.loop.promote("v0009")
        (here.registry.root / "v0001" / "adapter_model.safetensors").write_bytes(b"damaged")
        with pytest.raises(AdapterError, match="v0001"):
            await here.loop.promote("v0001")
        assert here.loop.current(HERE) == await here.store.champion() == BASE


async def test_two_versions_are_laid_side_by_side(opened: Opener) -> None:
    async with opened("reject", "promote") as here:
        await here.rate(16)
        await here.learn()
        await here.learn()
        found = await here.loop.difference("v0001", "v0002")
        standing = {row[0]: row[1:] for row in found.sections[0].rows}
        assert standing["verdict"] == ("reject", "promote")
        assert found.sections[0].columns == ("", "v0001", "v0002")
        with pytest.raises(AdapterError, match="there is no v0003"):
            await here.loop.difference("v0001", "v0003")


async def test_raters_are_told_with_their_likes_and_with_what_their_votes_count(
    opened: Opener,
) -> None:
    async with opened() as here:
        for number in range(1, 5):
            key = await here.store.add_exchange(
                exchange(number, base=here.engine.info.fingerprint)
            )
            now = datetime.now(UTC)
            await here.store.add_vote(vote(key, 1, "ann", now))
            await here.store.add_vote(vote(key, 1 if number > 1 else -1, "ben", now))
            if number > 1:
                await here.store.add_vote(vote(key, -1, "eve", now))
        found = {one.rater: one for one in await here.loop.raters()}
        assert {name: (one.votes, one.likes) for name, one in found.items()} == {
            "ann": (4, 4), "ben": (4, 3), "eve": (3, 0),
        }
        trusts = {name: one.trust for name, one in found.items()}
        assert all(trust is not None for trust in trusts.values())
        assert trusts["eve"] == min(trusts.values(), key=lambda trust: trust or 0)
        assert found["eve"].weight < found["ann"].weight
        assert "others agreed about" in found["eve"].reasons[0]

        told = await here.loop.ban("eve", "web/op")
        assert told.startswith("eve is banned: 3 votes are not counted any more")
        *voting, gone = await here.loop.raters()
        assert [one.rater for one in voting] == ["ann", "ben"]
        assert (gone.rater, gone.votes, gone.weight, gone.banned) == ("eve", 0, 0.0, True)
        assert gone.reasons[0].startswith("banned by web/op on ")
        why = (await explain(here.store, opened.settings, key)).lines()
        assert any("an operator has banned this person" in line for line in why)
        assert await here.loop.unban("eve", "web/op") == (
            "eve is banned no more: 3 votes are counted again."
        )
        assert {one.rater: one for one in await here.loop.raters()} == found


def test_only_rules_that_took_weight_away_are_reasons() -> None:
    weight = Weight().times(Factor("trust", 0.5, "few agree")).times(Factor("cap", 1.0, "fits"))
    alone = CountedVote("ann", 1, Weight())
    ben, carl = CountedVote("ben", -1, weight), CountedVote("carl", 1, weight)
    found = raters_of({1: (ben, carl), 2: (alone,), 3: (ben,)}, ())
    assert [(one.rater, one.votes, one.likes, one.trust, one.weight) for one in found] == [
        ("ben", 2, 0, 0.5, 0.5), ("ann", 1, 1, None, 1.0), ("carl", 1, 1, 0.5, 0.5),
    ]
    assert [one.reasons for one in found] == [("few agree",), (), ("few agree",)]
