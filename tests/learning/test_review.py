"""The review queue: what waits is in no snapshot, and a decision is kept for good."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.config import Config, ModerationConfig
from bot.engine.base import Job, Resident
from bot.engine.local import LocalEngine
from bot.errors import DataError, LearningError, NothingToLearn
from bot.moderation import Moderation
from bot.store import Store
from bot.types import ChannelKey, Message, Turn, VoteValue
from learning.types import TrainProgress
from learning.votes.dataset import read_snapshot
from learning.votes.explain import explain
from learning.votes.gathering import Gathered, gather
from learning.votes.review import ReviewQueue
from tests.learning.rated import HERE, START, Opener, config, exchange, vote

LINK = "https://evil.example/a"
MARK = "evil.example/a"
GUILD = ChannelKey("discord", "7", "general")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await Store.open(tmp_path / "data") as store:
        yield store


async def rate(
    store: Store, votes: dict[str, VoteValue] | None = None, number: int = 1, **changes: Any
) -> int:
    """Store an exchange and the votes on it."""
    key = await store.add_exchange(exchange(number, **changes))
    for rater, value in (votes or {"ann": 1}).items():
        await store.add_vote(vote(key, value, rater, datetime.now(UTC)))
    return key


async def gathered(store: Store, settings: Config | None = None) -> Gathered:
    settings = settings or Config()
    return await gather(store, settings, Moderation(settings.moderation))


def queue(store: Store) -> ReviewQueue:
    return ReviewQueue(store, lambda: gathered(store), lambda: START)


def ids(found: Gathered) -> set[int]:
    return {key for one in found.examples for key in (one.exchange_id, *one.folded)}


# What waits


async def test_what_waits_tells_what_is_new_and_who_likes_it(store: Store) -> None:
    await rate(store, number=1)
    key = await rate(store, number=2, reply=f"Go to {LINK}.")
    (item,) = await queue(store).items()
    assert (item.exchange_id, item.question, item.reply) == (key, "question 2", f"Go to {LINK}.")
    assert (item.novel, item.raters) == ((MARK,), ("ann",))
    assert ids(await gathered(store)) == {1}


async def test_what_is_disliked_or_liked_by_two_or_switched_off_waits_for_nobody(
    store: Store,
) -> None:
    await rate(store, {"ann": -1}, 1, reply="See a.example.com")
    await rate(store, {"ann": 1, "bob": 1}, 2, reply="See b.example.com")
    await rate(store, {"ann": 1, "bob": -1, "cy": -1}, 3, reply="See c.example.com")
    assert (await gathered(store)).waiting == ()
    await rate(store, number=4, reply=LINK)
    off = Config.model_validate({"learning": {"votes": {"novelty": False}}})
    assert len((await gathered(store)).waiting) == 1
    assert (await gathered(store, off)).waiting == ()
    assert ids(await gathered(store, off)) == {1, 2, 3, 4}


async def test_only_what_could_be_learned_from_is_shown_to_operators(store: Store) -> None:
    await rate(store, number=1, reply=LINK, channel=GUILD)
    await rate(store, number=2, reply=LINK, private=True)
    await rate(store, number=3, reply=LINK, finish="length")
    await rate(store, number=4, reply=f"{LINK} spam")
    settings = Config(moderation=ModerationConfig(words=("spam",)))
    assert (await gathered(store, settings)).waiting == ()


async def test_withdrawing_the_like_or_a_second_one_empties_the_queue(store: Store) -> None:
    key = await rate(store, reply=LINK)
    await store.add_vote(vote(key, 0, "ann", datetime.now(UTC)))
    assert await queue(store).items() == []
    await store.add_vote(vote(key, 1, "ann", datetime.now(UTC)))
    assert len(await queue(store).items()) == 1
    await store.add_vote(vote(key, 1, "bob", datetime.now(UTC)))
    assert await queue(store).items() == []


# What is decided


async def test_what_is_dropped_is_never_learned_from_and_the_last_word_counts(
    store: Store,
) -> None:
    for number in (1, 2, 3):
        await rate(store, number=number)
    key = await rate(store, {"ann": 1}, 4, reply=LINK)
    told = await queue(store).decide(key, False, "console/ann")
    assert told.startswith(f"Reply {key} is never learned from")
    assert await queue(store).items() == []
    await store.add_vote(vote(key, 1, "bob", datetime.now(UTC)))
    assert ids(await gathered(store)) == {1, 2, 3}
    assert "may be learned from" in await queue(store).decide(key, True, "console/ann")
    assert ids(await gathered(store)) == {1, 2, 3, key}


async def test_a_decision_holds_for_the_same_reply_given_again_and_lets_its_links_pass(
    store: Store,
) -> None:
    same = {"prompt": exchange(1).prompt, "reply": LINK}
    first = await rate(store, number=1, **same)
    again = await rate(store, number=2, **same)
    other = await rate(store, number=3, reply=f"Look: {LINK}")
    await queue(store).decide(first, False, "console/ann")
    assert [one.exchange_id for one in await queue(store).items()] == [other]
    assert (await gathered(store)).left_out[again].startswith("an operator has decided")
    await queue(store).decide(again, True, "console/ann")
    assert await queue(store).items() == []
    assert ids(await gathered(store)) == {first, again, other}


async def test_a_decision_survives_a_restart(tmp_path: Path) -> None:
    async with await Store.open(tmp_path) as store:
        key = await rate(store, reply=LINK)
        await queue(store).decide(key, False, "console/ann")
    async with await Store.open(tmp_path) as store:
        assert await queue(store).items() == []
        assert ids(await gathered(store)) == set()


async def test_deciding_about_an_unknown_reply_is_an_error_that_says_where_to_look(
    store: Store,
) -> None:
    with pytest.raises(LearningError, match="there is no reply 99 .*/learn review shows"):
        await queue(store).decide(99, True, "console/ann")
    assert await store.reviews() == []


async def test_what_waits_or_was_dropped_is_never_an_example(store: Store) -> None:
    rng = random.Random(3)
    for number in range(60):
        words = ("Yes.", f"Go to evil{rng.randrange(30)}.example.com", f"Ask @eve{number // 4}")
        question = Turn("user", f"question {rng.randrange(6)}")
        asker = rng.choice("abcd")
        row = await store.add_message(
            Message(HERE, asker, question.content, f"m{number}", START, "A", private=False)
        )
        given = exchange(
            number, prompt=(question,), asker=asker, authors=(asker,), reply=rng.choice(words)
        )
        key = await store.add_exchange(given, answers=row)
        for rater in rng.sample("abcd", rng.choice((1, 1, 1, 2))):
            await store.add_vote(vote(key, rng.choice((1, 1, 1, -1)), rater))
        if rng.random() < 0.15:
            await store.add_review(key, rng.random() < 0.5, "console/ann", START)
    found = await gathered(store)
    waits = {one.exchange.id for one in found.waiting}
    dropped = {key for key, why in found.left_out.items() if why.startswith("an operator")}
    liked = {one.exchange_id for one in await store.liked(HERE, Config().learning, 1000)}
    assert min(len(waits), len(dropped), len(liked)) > 3
    assert liked.isdisjoint(waits | dropped)


# In a run


def endless(*given: object, **options: object) -> Job:
    """A training that goes on until it is cancelled."""

    def job(resident: Resident) -> Iterator[TrainProgress]:
        while True:
            yield TrainProgress(1, 10**9, 0, 1.0, None, 1.0, 1.0)

    return job


async def test_what_waits_or_is_dropped_is_in_no_part_of_a_snapshot(
    engine: LocalEngine, tmp_path: Path
) -> None:
    opened = Opener(engine, tmp_path / "data")
    async with opened(train=endless) as here:
        await here.rate(16)
        base = engine.info.fingerprint
        # Enough of them for every part, as the hash decides.
        new = [
            await rate(here.store, number=100 + n, base=base, reply=f"Go to evil{n}.example.com",
                       time=START + timedelta(hours=n))
            for n in range(24)
        ]
        await here.loop.decide(new[0], False, "console/ann")
        await here.loop.decide(new[1], True, "console/ann")
        assert [one.exchange_id for one in await here.loop.review()] == new[2:]
        await here.loop.retrain()
        told = await here.until("review", "failed")
        assert told.text == "22 liked replies wait for an operator's word: /learn review"
        assert (await here.until("progress", "failed")).kind == "progress"
        (folder,) = (here.data / "runs").iterdir()
        snapshot = read_snapshot(folder)
        assert snapshot.of("holdout")
        assert {one.exchange_id for one in snapshot.examples} == {*range(1, 17), new[1]}


async def test_too_few_people_are_refused_only_where_the_operator_asks_for_more(
    engine: LocalEngine, tmp_path: Path
) -> None:
    asking = config(votes={"min_raters": 3})
    async with Opener(engine, tmp_path / "data")(settings=asking, serve=False) as here:
        await here.rate(16)
        with pytest.raises(NothingToLearn, match="votes of 1 people to learn from, 3 needed"):
            await here.loop.retrain()
        for number in range(1, 17):
            await here.store.add_vote(vote(number, 1, "bob", datetime.now(UTC)))
            await here.store.add_vote(vote(number, 1, "cy", datetime.now(UTC)))
        assert (await here.loop.retrain()).text == "Run 1 starts now."


async def test_nobody_may_hold_the_majority_where_several_people_are_asked_for(
    engine: LocalEngine, tmp_path: Path
) -> None:
    asking = config(votes={"min_raters": 2, "rater_cap": 0})
    async with Opener(engine, tmp_path / "data")(settings=asking, serve=False) as here:
        await here.rate(16)
        for number in (1, 2, 3):
            await here.store.add_vote(vote(number, 1, "bob", datetime.now(UTC)))
        with pytest.raises(NothingToLearn, match=r"one person holds \d\d% of the weight"):
            await here.loop.retrain()
        assert (await here.store.runs()) == []


# Why


async def lines(store: Store, number: int, settings: Config | None = None) -> list[str]:
    return (await explain(store, settings or Config(), number)).lines()


async def test_an_explanation_names_every_vote_its_rules_and_the_place(store: Store) -> None:
    for number in range(1, 4):
        await rate(store, {"ann": 1, "bob": 1, "cy": -1}, number)
    await store.add_vote(vote(1, 0, "cy", datetime.now(UTC)))
    told = "\n".join(await lines(store, 1))
    assert "reply 1 of 2026-03-01 12:01 UTC in console/local/here, by base" in told
    assert "👍 ann weighs 0.69" in told
    assert "trust x 0.69: others agreed about 2 of the 3 replies that they rated too" in told
    assert "👎 cy at" in told
    assert "counts no more: a vote changed since" in told
    assert "It counts as liked, with weight 1.38." in told
    assert told.splitlines()[-1].endswith(("(train).", "(validation).", "(hold-out)."))
    assert "answer" not in told
    assert "question" not in told


async def test_an_explanation_says_why_a_reply_is_left_out(store: Store) -> None:
    waits = await rate(store, number=1, reply=LINK)
    dropped = await rate(store, number=2)
    await queue(store).decide(dropped, False, "console/ann")
    private = await rate(store, number=3, private=True)
    cut = await rate(store, number=4, finish="length")
    tie = await rate(store, {"ann": 1, "bob": -1}, 5)
    guild = await rate(store, number=6, channel=GUILD)
    said = await rate(store, number=7, reply="such spam")
    same = [await rate(store, number=8, prompt=(Turn("user", "hi"),), reply="ok") for _ in "ab"]
    unrated = await store.add_exchange(exchange(9))
    settings = Config(moderation=ModerationConfig(words=("spam",)))
    for number, why in {
        waits: f"left out: it waits for an operator's word, because {MARK} is new",
        dropped: "left out: an operator has decided",
        private: "left out: it was said in private",
        cut: "left out: the reply did not end by itself (length)",
        tie: "left out: as much weighs for it as against it",
        guild: "left out: learning.platform_terms_acknowledged is false",
        said: "left out: it holds the word 'spam'",
        same[1]: f"counted together with reply {same[0]}",
        unrated: "nothing to learn from",
    }.items():
        assert why in (await lines(store, number, settings))[-1]
    with pytest.raises(DataError, match="there is no reply 99; `rapport votes export`"):
        await lines(store, 99)


async def test_a_reply_of_another_base_is_left_out_and_says_so(store: Store) -> None:
    old = await rate(store, number=1, base="old")
    await rate(store, number=2)
    assert (await lines(store, old))[-1] == "It is left out: another base model wrote it."
