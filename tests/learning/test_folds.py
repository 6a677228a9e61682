"""Folds of the training votes, siblings, and what they say beside the hold-out."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from bot.engine.local import LocalEngine
from bot.types import BASE, Sampling
from learning.drawing import answered
from learning.gate.folds import cut, fold_of
from learning.gate.likeness import likeness
from learning.taste.features import features_of
from learning.types import BaseReply, Example, Fold, Part, Snapshot


def examples(count: int, seed: int = 0) -> list[Example]:
    rng = random.Random(seed)
    parts: list[Part] = ["train"] * 7 + ["validation"] + ["holdout"] * 2
    return [
        Example(
            number, f"talk {rng.randrange(count)}", parts[number % 10], (number,), (number, 0),
            rng.random() < 0.4, 1.0, ("ann",),
        )
        for number in range(1, count + 1)
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_every_training_vote_is_in_one_fold_and_a_conversation_in_one_alone(seed: int) -> None:
    some = examples(60, seed)
    folds = cut(some, folds=3, fold_items=200)
    train = {one.exchange_id for one in some if one.part == "train"}
    assert sorted(id for fold in folds for id in fold) == sorted(train)
    where = {id: number for number, fold in enumerate(folds) for id in fold}
    for one in some:
        for other in some:
            if one.conversation == other.conversation and {one.part, other.part} == {"train"}:
                assert where[one.exchange_id] == where[other.exchange_id]


def test_votes_that_come_later_leave_every_earlier_one_in_its_fold() -> None:
    some = examples(80)
    before = [set(fold) for fold in cut(some[:40], 3, 200)]
    after = [set(fold) for fold in cut(some, 3, 200)]
    assert all(early <= late for early, late in zip(before, after, strict=True))
    assert {fold_of(f"talk {number}", 3) for number in range(40)} == {0, 1, 2}


def test_nothing_is_cut_where_siblings_would_tell_nothing_more() -> None:
    some = examples(60)
    held_out = sum(one.part == "holdout" for one in some)
    assert cut(some, 3, held_out) == []
    assert cut(some, 0, 200) == cut(some, 1, 200) == []
    assert cut([replace(one, raters=()) for one in some], 3, 200) == []
    assert cut([replace(one, liked=False) for one in some], 3, 200) == []


@pytest.mark.parametrize("number", range(3))
def test_a_fold_that_is_left_out_leaves_the_others_their_numbers(number: int) -> None:
    some = examples(60)
    whole = cut(some, 3, 200)
    assert all(whole)
    hinted = [
        replace(one, raters=()) if fold_of(one.conversation, 3) == number else one for one in some
    ]
    assert cut(hinted, 3, 200) == [() if at == number else whole[at] for at in range(3)]


def test_a_fold_without_which_nothing_is_liked_is_not_cut_off() -> None:
    some = [replace(one, liked=one.exchange_id == 1) for one in examples(60)]
    assert all(1 not in fold for fold in cut(some, 3, 200))


def test_a_sibling_learns_from_all_but_its_fold() -> None:
    some = examples(60)
    ours, theirs = (BaseReply((number,), (9, 0)) for number in (1, 2))
    folds = tuple(Fold(fold, (theirs,)) for fold in cut(some, 3, 200))
    snapshot = Snapshot("base", tuple(some), (), (), (ours,), folds)
    for fold in folds:
        sibling = snapshot.without(fold)
        assert not {one.exchange_id for one in sibling.examples} & set(fold.exchanges)
        assert len(sibling.examples) == len(some) - len(fold.exchanges)
        assert sibling.chosen == (theirs,)
        assert {one.exchange_id for one in snapshot.within(fold)} == set(fold.exchanges)


async def test_a_reply_like_the_candidates_lies_towards_it_and_one_like_the_champions_away(
    engine: LocalEngine,
) -> None:
    ours = [((number, 30), (50, 51, 52, 0)) for number in range(6)]
    theirs = [((number, 30), (70, 0)) for number in range(6)]
    rated = [((20, 30), (50, 51, 52, 0)), ((21, 30), (70, 0))]
    voted, mine, other = [await features_of(engine, said) for said in (rated, ours, theirs)]
    near, far = likeness(voted, mine, other)
    assert near > 0.5
    assert far < near - 1
    turned = likeness(voted, other, mine)
    assert turned == pytest.approx([-near, -far], abs=1e-4)


async def test_between_a_version_and_itself_there_is_no_direction(engine: LocalEngine) -> None:
    prompts = [(number % 4, 30) for number in range(10)]
    said = [(p, one.ids) for p, one in await answered(
        engine, BASE, prompts, Sampling(max_tokens=20), seed=3, at_once=4
    )]
    assert len(said) == 10
    look, nothing = [await features_of(engine, some) for some in (said, [])]
    assert likeness(look[:3], look, look) == [0.0] * 3
    again = [(p, one.ids) for p, one in await answered(
        engine, BASE, prompts, Sampling(max_tokens=20), seed=3, at_once=4
    )]
    assert again == said
    assert likeness(look[:3], look, nothing) == [0.0] * 3
