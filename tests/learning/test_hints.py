"""What people do without voting: each hint by itself, and what all of them may do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.config import Config, ImplicitConfig, WeighingConfig
from bot.errors import ConfigError, NothingToLearn
from bot.moderation import Moderation
from bot.store import FollowUp, Store
from bot.types import Exchange, Message, Turn, VoteValue
from learning.types import CountedVote, Weight
from learning.votes import hints
from learning.votes.dataset import require_enough
from learning.votes.explain import explain
from learning.votes.gathering import Gathered, gather
from learning.votes.hints import asked_again, edited, found_hints, read_phrases, weighed
from learning.votes.hints import thanks as said_thanks
from learning.votes.hints import wrong as said_wrong
from tests.learning.rated import HERE, START, exchange, vote

PHRASES = read_phrases("")


def then(text: str, question: str = "Where is the key?") -> FollowUp:
    return FollowUp(1, question, text)


# Each by itself


@pytest.mark.parametrize(
    "text", ["Thanks!", "thank you so much", "THX", "ty :)", "谢谢!", "谢谢你,很有用", "太好了。"]
)
def test_thanks_are_heard(text: str) -> None:
    assert said_thanks(then(text), PHRASES)
    assert not said_wrong(then(text), PHRASES)


@pytest.mark.parametrize(
    "text",
    ["No, that's wrong.", "That’s not right", "you're wrong", "不对", "不对，是周三", "你错了！"],
)
def test_contradiction_is_heard(text: str) -> None:
    assert said_wrong(then(text), PHRASES)
    assert not said_thanks(then(text), PHRASES)


@pytest.mark.parametrize(
    "text",
    ["", "tyre shops near me?", "Thanks, but that's wrong.", "谢谢，但是不对", "And then?",
     "Thanks, and now tell me at length how the whole of the old castle was built and by whom",
     "Is it thanks to him?", "感冒怎么办？"],
)  # fmt: skip
def test_what_says_neither_or_both_or_goes_on_is_no_hint(text: str) -> None:
    assert not said_thanks(then(text), PHRASES)
    assert not said_wrong(then(text), PHRASES)


@pytest.mark.parametrize(
    ("text", "again"),
    [("Where is the key?", True), ("where is the KEY then", True), ("Where is the door?", False),
     ("Why is that so?", False), ("", False)],
)  # fmt: skip
def test_nearly_the_same_question_is_asked_again(text: str, again: bool) -> None:
    assert asked_again(then(text)) is again


def test_a_chinese_question_is_asked_again_by_its_characters() -> None:
    assert asked_again(then("钥匙到底在哪里", "钥匙在哪里?"))
    assert not asked_again(then("今天天气好吗", "钥匙在哪里?"))
    assert not asked_again(then("ok", "ok"))


def test_a_question_that_reads_otherwise_than_it_did_was_edited() -> None:
    def seen(content: str) -> Exchange:
        return exchange(1, prompt=(Turn("user", content),))

    assert edited(then("", "new"), seen("old"))
    assert not edited(then("", "old"), seen("old"))
    assert not edited(then("", "old"), seen("before\nold"))
    assert not edited(then("", "long and whole"), seen("long […]"))


# What they weigh


def found(
    *followups: FollowUp, **settings: Any
) -> dict[int, list[tuple[str, VoteValue, float]]]:
    every = {one.exchange_id: exchange(one.exchange_id, prompt=(Turn("user", one.question),))
             for one in followups}  # fmt: skip
    return found_hints(followups, every, ImplicitConfig(**settings), PHRASES)


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [("Thanks!", "thanks", 1), ("That is wrong.", "wrong", -1),
     ("Where is the key?", "asked_again", -1)],
)  # fmt: skip
def test_each_hint_has_its_weight_and_0_switches_it_off(text: str, key: str, value: int) -> None:
    assert found(then(text), **{key: 0.07}) == {1: [(key, value, 0.07)]}
    assert found(then(text), **{key: 0.0}) == {}


def test_an_edited_question_has_its_weight_and_0_switches_it_off() -> None:
    asked = {1: exchange(1, prompt=(Turn("user", "old"),))}
    for weight in (0.05, 0.0):
        settings = ImplicitConfig(edited=weight)
        here = found_hints([then("", "new")], asked, settings, PHRASES)
        assert here == ({1: [("edited", -1, weight)]} if weight else {})


def cast(*raters: str, weight: float = 1.0) -> dict[int, list[CountedVote]]:
    """One vote of each on replies from 1000 on."""
    return {1000 + n: [CountedVote(who, 1, Weight(weight))] for n, who in enumerate(raters)}


def weights(
    given: int, voted: dict[int, list[CountedVote]], **settings: Any
) -> dict[int, float]:
    """What hints weigh where ann said thanks so many times, and bob once."""
    askers = {n: exchange(n, asker="ann" if n <= given else "bob") for n in range(1, given + 2)}
    some = {n: [("thanks", 1, 0.1)] for n in askers}
    every = weighed(some, askers, voted, WeighingConfig(**settings))  # type: ignore[arg-type]  # values
    return {key: one.vote.weight.value for key, (one,) in every.items()}


def test_a_hint_weighs_as_its_persons_votes_do() -> None:
    plain = weights(1, cast("ann", "bob", "cy"), trust_start=0.5)
    assert plain == pytest.approx({1: 0.1, 2: 0.1})
    assert weights(1, cast("cy", "dan"), trust_start=0.5) == pytest.approx({1: 0.05, 2: 0.05})
    assert weights(1, cast("ann", weight=0.3), trust=False) == pytest.approx({1: 0.03, 2: 0.1})


def test_one_persons_hints_are_capped_and_all_weigh_less_than_the_votes() -> None:
    loud = weights(200, cast("ann", "bob", *"cdefgh"), rater_cap=1.0, implicit={"most": 1.0})
    assert sum(loud[n] for n in range(1, 201)) == pytest.approx((20.0 + 0.1) / 2 * 8 / (10.15))
    assert sum(loud.values()) == pytest.approx(8)
    few = weights(200, cast("ann", "bob"))
    assert sum(few.values()) == pytest.approx(0.5 * 2)
    assert max(few.values()) < 0.1


def test_without_votes_and_beside_votes_hints_weigh_nothing() -> None:
    assert weights(3, {}) == {}
    assert set(weights(3, {1: [CountedVote("cy", -1, Weight())]})) == {2, 3, 4}


def test_an_operators_own_phrases_take_the_place_of_the_built_in_ones(tmp_path: Path) -> None:
    file = tmp_path / "own.txt"
    file.write_text("# thanks\nmerci\n\n# wrong\nc'est faux\n", encoding="utf-8")
    own = read_phrases(str(file))
    assert said_thanks(then("Merci bien"), own)
    assert said_wrong(then("C’est faux !"), own)
    assert not said_thanks(then("Thanks"), own)
    file.write_text("# thanks\nmerci\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="needs two lists"):
        read_phrases(str(file))
    with pytest.raises(ConfigError, match="cannot be read"):
        read_phrases(str(tmp_path / "none.txt"))


def test_no_phrase_is_of_both_kinds() -> None:
    assert set(PHRASES) == set(hints.KINDS)
    assert set(PHRASES["thanks"]).isdisjoint(PHRASES["wrong"])


# With the store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await Store.open(tmp_path / "data") as store:
        yield store


ON = Config.model_validate({"learning": {"votes": {"implicit": {"enabled": True}}}})


async def asked(
    store: Store, number: int, following: str = "", after: float = 10.0, **changes: Any
) -> int:
    """A question with its reply, and what the asker says some seconds later."""
    given = exchange(number, **changes)
    time = START + timedelta(hours=number)
    text = given.prompt[-1].content
    row = await store.add_message(Message(HERE, "ann", text, f"q{number}", time))
    key = await store.add_exchange(
        Exchange(**{name: getattr(given, name) for name in given.__dataclass_fields__}
                 | {"time": time}), answers=row,
    )  # fmt: skip
    await store.add_message(
        Message(HERE, "bob", "Thanks, that is wrong!", f"b{number}", time + timedelta(seconds=1))
    )
    if following:
        said = time + timedelta(seconds=after)
        await store.add_message(Message(HERE, "ann", following, f"n{number}", said))
    return key


async def gathered(store: Store, settings: Config = ON) -> Gathered:
    return await gather(store, settings, Moderation(settings.moderation))


async def test_what_the_asker_says_next_soon_after_the_reply_is_what_counts(store: Store) -> None:
    keys = [
        await asked(store, 1, "Thanks!"), await asked(store, 2, "Thanks!", after=121),
        await asked(store, 3, "Thanks!", after=-1), await asked(store, 4),
    ]  # fmt: skip
    every = await store.followups(timedelta(seconds=120), 10)
    assert [(one.exchange_id, one.question, one.next) for one in every] == [
        (keys[0], "question 1", "Thanks!"), (keys[1], "question 2", ""),
        (keys[2], "question 3", ""), (keys[3], "question 4", ""),
    ]  # fmt: skip
    assert [one.exchange_id for one in await store.followups(timedelta(1), 2)] == keys[2:]


async def test_hints_teach_only_where_they_are_switched_on_and_never_judge(store: Store) -> None:
    for number in range(1, 41):
        key = await asked(store, number, "Thanks!" if number % 2 else "That's wrong.")
        if number % 4 == 0:
            await store.add_vote(vote(key, 1, "cy"))
    off = await gathered(store, Config())
    assert off.hints == {}
    assert all(one.voted for one in off.examples)
    found = await gathered(store)
    assert [one for one in found.examples if one.voted] == list(off.examples)
    by_hint = [one for one in found.examples if not one.voted]
    assert {one.part for one in by_hint} == {"train"}
    assert {(one.exchange_id % 2 == 1, one.liked) for one in by_hint} == {
        (True, True), (False, False),
    }  # fmt: skip
    assert max(one.weight for one in by_hint) < min(one.weight for one in off.examples)
    assert "nobody voted on it, and hints do not judge" in found.left_out.values()
    with pytest.raises(NothingToLearn, match=r"10 rated"):
        require_enough(found.examples, 11)


async def test_what_a_banned_person_says_next_is_no_hint(store: Store) -> None:
    keys = [await asked(store, number, "Thanks!") for number in range(1, 5)]
    await store.add_vote(vote(keys[0], 1, "ann"))
    await store.add_vote(vote(keys[0], 1, "cy"))
    assert set((await gathered(store)).hints) == set(keys[1:])
    await store.ban("ann", "web/op", START)
    assert (await gathered(store)).hints == {}


async def test_a_vote_on_the_same_reply_given_elsewhere_is_not_outweighed(store: Store) -> None:
    same = {"prompt": (Turn("user", "hi"),), "reply": "hello"}
    for number in range(1, 9):
        await asked(store, number, "That's wrong.", **same)
    await store.add_vote(vote(await asked(store, 9, **same), 1, "cy"))
    (one,) = (await gathered(store)).examples
    assert (one.exchange_id, one.liked, one.raters, one.folded) == (9, True, ("cy",), ())


async def test_a_link_a_dropped_reply_and_a_private_one_are_taught_by_no_hint(
    store: Store,
) -> None:
    await store.add_vote(vote(await asked(store, 1), 1, "cy"))
    link = await asked(store, 2, "Thanks!", reply="Go to evil.example/a")
    dropped = await asked(store, 3, "Thanks!")
    await store.add_review(dropped, False, "console/ann", START)
    private = await asked(store, 4, "Thanks!", private=True)
    told = (await gathered(store)).left_out
    assert "hints do not vouch for" in told[link]
    assert told[dropped].startswith("an operator has decided")
    assert "in private" in told[private]


async def test_an_explanation_shows_hints_without_anybodys_words(store: Store) -> None:
    await store.add_vote(vote(await asked(store, 1), 1, "cy"))
    key = await asked(store, 2, "Thanks, dear!")
    await store.change_message([(HERE, "q2")], "another question")
    lines = (await explain(store, ON, key)).lines()
    told = "\n".join(lines)
    assert "👍 hint of ann (thanks) weighs 0.070" in told
    assert "👎 hint of ann (edited) weighs 0.035" in told
    assert "hint x 0.10: thanks: so much of a vote" in told
    assert "Nobody has rated it; by hints it counts as liked, with weight 0.035." in told
    assert "dear" not in told
    assert "question" not in told
    plain = (await explain(store, Config(), key)).lines()
    assert plain[-2:] == ["Nobody has rated it.", "So there is nothing to learn from it."]
