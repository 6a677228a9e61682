"""From enough people on, nobody's questions are both learned from and judged by."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest

from bot.config import Config
from bot.moderation import Moderation
from bot.store import Consent, Moment, Store
from bot.types import ChannelKey, Exchange, Vote
from learning.votes.gathering import Gathered, gather, keep_split, sort
from learning.votes.split import MIXED, SPLIT_AFTER, asker_part, part_of, places, splits_by_asker
from tests.learning.rated import START, exchange, vote

CHANNELS = [ChannelKey("console", "local", f"channel {n}") for n in range(4)]


def asked(number: int, seed: int, people: int = 30) -> list[Exchange]:
    """What people ask in a few channels, with pauses; now and then the same as somebody else."""
    rng, time, found = random.Random(seed), START, []
    for key in range(1, number + 1):
        time += timedelta(minutes=rng.choice((1, 2, 5, 20, 45)))
        who = f"person {min(rng.randrange(people), rng.randrange(people))}"
        words = rng.randrange(8) if rng.random() < 0.2 else key
        found.append(exchange(
            words, id=key, asker=who, authors=(who,), channel=rng.choice(CHANNELS), time=time
        ))  # fmt: skip
    return found


def votes_on(exchanges: Iterable[Exchange], raters: int) -> list[Vote]:
    return [vote(one.id, 1 if one.id % 4 else -1, f"rater {one.id % raters}") for one in exchanges]


def gathered(
    exchanges: list[Exchange], raters: int, by_asker_after: int | None = None, enough: int = 20
) -> Gathered:
    settings = Config.model_validate({"learning": {"gate": {"rater_clusters": enough}}})
    return sort(
        votes_on(exchanges, raters), exchanges,
        [Moment(one.id, one.channel, one.time, one.asker) for one in exchanges], (),
        Consent(settings.learning, {}), Moderation(settings.moderation), base="tiny",
        settings=settings.learning, persona="", by_asker_after=by_asker_after,
    )


def sides(found: Gathered) -> dict[int, bool]:
    """Exchange id -> whether it is kept for judging, for all that is used."""
    return {
        key: one.part == "holdout"
        for one in found.examples for key in (one.exchange_id, *one.folded)
    }


def askers(found: Gathered, exchanges: list[Exchange], *, held: bool) -> set[str]:
    who = {one.id: one.asker for one in exchanges}
    return {who[key] for key, side in sides(found).items() if side is held}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("before", [0, 150])
def test_nobodys_questions_and_no_conversation_lie_on_both_sides(seed: int, before: int) -> None:
    exchanges = asked(400, seed)
    found = gathered(exchanges, 20, before)
    learned, judged = (askers(found, exchanges, held=held) for held in (False, True))
    assert learned
    assert judged
    assert learned.isdisjoint(judged)
    units: dict[bool, set[str]] = {False: set(), True: set()}
    for one in found.examples:
        units[one.part == "holdout"].add(one.conversation)
    assert units[True].isdisjoint(units[False])
    assert MIXED in found.left_out.values()


@pytest.mark.parametrize("seed", range(6))
def test_nothing_crosses_the_border_when_the_twentieth_rater_comes_and_ever_after(
    seed: int,
) -> None:
    exchanges = [one for one in asked(400, seed) if one.id > 8]  # no two alike
    exchanges = [one for one in exchanges if one.reply == f"answer {one.id}"]
    once: dict[int, bool] = {}
    fixed: int | None = None
    for size, raters in ((100, 12), (150, 19), (180, 20), (250, 24), (300, 11), (320, 30)):
        found = gathered(exchanges[:size], raters, fixed)
        assert (found.by_asker_after is None) == (raters < 20 and fixed is None)
        fixed = found.by_asker_after
        assert fixed in (None, exchanges[179].id)
        now = sides(found)
        assert [key for key in now if once.get(key, now[key]) != now[key]] == []
        once |= now


def test_where_one_person_asks_everything_nothing_is_split_by_asker() -> None:
    exchanges = asked(100, 1, people=1)
    assert gathered(exchanges, 30).by_asker_after is None
    assert not splits_by_asker({str(n) for n in range(30)}, range(9), 5)
    assert splits_by_asker({str(n) for n in range(30)}, range(10), 5)


def test_how_many_people_it_takes_is_a_setting() -> None:
    exchanges = asked(100, 1)
    assert gathered(exchanges, 12).by_asker_after is None
    assert gathered(exchanges, 12, enough=12).by_asker_after == 100


def test_a_person_of_another_platform_is_somebody_else() -> None:
    parts = {(part_of(f"asker {p}/{n}"), asker_part(p, str(n))) for p in "ab" for n in range(9)}
    assert all(one == other for one, other in parts)
    assert any(asker_part("a", str(n)) != asker_part("b", str(n)) for n in range(9))


def test_the_first_asker_of_a_conversation_decides_where_it_lies() -> None:
    held = next(f"p{n}" for n in range(99) if asker_part("console", f"p{n}") == "holdout")
    train = next(f"p{n}" for n in range(99) if asker_part("console", f"p{n}") == "train")
    many = [  # ten conversations before are split by exchange
        Moment(n, CHANNELS[0], START + timedelta(hours=n), train) for n in range(1, 11)
    ]
    late = START + timedelta(days=2)
    last = [Moment(20 + n, CHANNELS[1], late + timedelta(minutes=n), who)
            for n, who in enumerate((held, train, held))]
    found = places([*many, *last], 0)
    assert [found[20 + n].part for n in range(3)] == ["holdout", None, "holdout"]
    assert len({found[20 + n].unit for n in range(3)}) == 1


async def test_the_day_of_the_change_is_kept_when_a_run_begins_and_not_before(
    tmp_path: Path,
) -> None:
    settings = Config()
    async with await Store.open(tmp_path) as store:
        for one in asked(60, 3):
            key = await store.add_exchange(one)
            await store.add_vote(vote(key, 1, f"rater {key % 20}"))

        async def look() -> Gathered:
            return await gather(store, settings, Moderation(settings.moderation))

        found = await look()
        assert found.by_asker_after == 60
        assert await store.get_setting(SPLIT_AFTER) is None
        await keep_split(store, found)
        for one in asked(5, 4):
            await store.add_vote(vote(await store.add_exchange(one)))
        assert (await look()).by_asker_after == await store.get_setting(SPLIT_AFTER) == 60
