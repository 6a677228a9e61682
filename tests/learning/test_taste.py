"""The head that tells what is liked, what it chooses, and how replies look to the base."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bot.config import TasteConfig
from bot.engine.local import LocalEngine
from bot.types import Sampling
from learning.metrics import auc
from learning.taste.features import (
    COMMON,
    ECHOES,
    NEAR,
    WEIGHT,
    dimensions,
    features_of,
    scale_of,
)
from learning.taste.head import Scale, fit
from learning.taste.refine import Drawn, draw_replies
from learning.types import BaseReply, Example
from tests.engine.tiny import load
from tests.learning.rated import SLOTS

SETTINGS = TasteConfig(draws=4, min_per_class=3)


def example(number: int, liked: bool, prompt: int | None = None) -> Example:
    asked = number if prompt is None else prompt
    return Example(
        number, f"talk {asked}", "train", (asked + 1, 30), (40 + number, 0), liked, 1.0, ("ann",)
    )


def world(count: int, *, luck: bool = False) -> tuple[np.ndarray, list[bool]]:
    """Replies in 40 dimensions, liked for what stands in the first two, or by luck."""
    rng = np.random.default_rng(3)
    features = rng.normal(size=(count, 40))
    taste = rng.normal(size=count) if luck else features[:, 0] + features[:, 1]
    return Scale.of(features)(features), [bool(one) for one in taste > 0.8]


def test_sixty_votes_are_enough_to_know_what_the_next_hundred_people_like() -> None:
    features, liked = world(160)
    found = fit(features[:60], liked[:60], [1.0] * 60, ridge=3.0)
    scores = found.head.score(features[60:])
    rest = np.asarray(liked[60:])
    assert auc(scores[rest].tolist(), scores[~rest].tolist()) > 0.85
    assert found.auc > 0.8


def test_votes_by_luck_are_seen_through() -> None:
    features, liked = world(160, luck=True)
    assert abs(fit(features, liked, [1.0] * 160, ridge=3.0).auc - 0.5) < 0.1


def test_what_it_says_of_a_vote_left_out_is_what_a_head_without_it_says() -> None:
    features, liked = world(12)
    weights = [1.0 + 0.1 * number for number in range(12)]
    side = np.asarray(liked)
    share = np.asarray(weights) * np.where(
        side, 0.5 / np.asarray(weights)[side].sum(), 0.5 / np.asarray(weights)[~side].sum()
    )
    centred = features - share @ features
    wanted = np.where(side, 1.0, -1.0)
    alone = []
    for number in range(12):
        rest = np.arange(12) != number
        kernel = centred[rest] @ centred[rest].T + np.diag(3.0 / (12 * share[rest]))
        direction = centred[rest].T @ np.linalg.solve(kernel, wanted[rest])
        alone.append(float(centred[number] @ direction))
    places = np.asarray(alone)
    expected = auc(places[side].tolist(), places[~side].tolist())
    assert fit(features, liked, weights, ridge=3.0).auc == pytest.approx(expected)


def test_a_rare_kind_of_vote_weighs_as_much_as_the_other_in_all() -> None:
    features, liked = world(60)
    head = fit(features, liked, [1.0] * 60, ridge=3.0).head
    side, scores = np.asarray(liked), head.score(features)
    assert sum(liked) < 20
    assert scores[side].mean() > 0 > scores[~side].mean()
    # Nor does it matter how much one kind weighs beside the other.
    louder = fit(features, liked, [1.0 if one else 7.0 for one in liked], ridge=3.0).head
    np.testing.assert_allclose(louder.direction, head.direction)


def drawn_from(examples: list[Example], places: list[float], each: int = 3) -> Drawn:
    """`each` replies to every prompt, the last the most like what is liked."""
    prompts = list(dict.fromkeys(one.prompt_ids for one in examples))
    replies = tuple(
        BaseReply(prompt, (60 + number, 0)) for prompt in prompts for number in range(each)
    )
    along = [*places, *(float(number) for _ in prompts for number in range(each))]
    features = np.zeros((len(along), 1 + ECHOES))
    features[:, 0] = along
    return Drawn(tuple(examples), replies, features, SETTINGS)


def test_the_replies_most_like_what_is_liked_are_chosen_for_each_prompt() -> None:
    examples = [example(number, number % 2 == 0) for number in range(12)]
    drawn = drawn_from(examples, [2.0 if one.liked else 0.0 for one in examples], each=5)
    chosen = drawn.chosen()
    assert chosen.auc == 1.0
    first = [one for one in chosen.replies if one.prompt_ids == examples[0].prompt_ids]
    assert [one.reply_ids[0] for one in first] == [64, 63]
    assert len(chosen.replies) == 2 * len(examples)


def test_of_few_replies_half_is_chosen_at_most() -> None:
    examples = [example(number, number % 2 == 0) for number in range(12)]
    places = [2.0 if one.liked else 0.0 for one in examples]
    assert drawn_from(examples, places, each=1).chosen().replies == ()
    threes = drawn_from(examples, places, each=3).chosen().replies
    assert len(threes) == len(examples)
    assert {one.reply_ids for one in threes} == {(62, 0)}


def test_votes_and_prompts_that_are_left_out_have_no_part_in_the_choice() -> None:
    examples = [example(number, number % 2 == 0) for number in range(12)]
    # Two loud votes against the taste of the rest, which alone turn it round.
    against = [example(20, False), example(21, True)]
    places = [2.0 if one.liked else 0.0 for one in examples] + [90.0, -90.0]
    drawn = drawn_from([*examples, *against], places)
    kept = drawn.chosen(frozenset({20, 21}))
    assert {one.reply_ids for one in kept.replies} == {(62, 0)}
    assert {one.prompt_ids for one in kept.replies} == {one.prompt_ids for one in examples}
    assert kept.replies != drawn.chosen().replies


@pytest.mark.parametrize("liked", [0, 2, 12])
def test_with_too_few_votes_of_one_kind_nothing_is_chosen(liked: int) -> None:
    examples = [example(number, number < liked) for number in range(12)]
    assert drawn_from(examples, [2.0 * one.liked for one in examples]).chosen().replies == ()


def test_where_likes_cannot_be_told_from_dislikes_nothing_is_chosen() -> None:
    examples = [example(number, number % 2 == 0) for number in range(12)]
    rng = random.Random(1)
    drawn = drawn_from(examples, [rng.random() for _ in examples])
    assert drawn.chosen().auc < SETTINGS.least_auc
    assert drawn.chosen().replies == ()


async def test_a_reply_looks_the_same_whatever_is_read_beside_it(engine: LocalEngine) -> None:
    rng = random.Random(2)
    prompts = [tuple(rng.randrange(5, 90) for _ in range(rng.randrange(1, 30))) for _ in range(9)]
    replies = [
        (rng.choice(prompts), tuple(rng.randrange(90) for _ in range(rng.randrange(1, 40))))
        for _ in range(90)
    ]
    together = await features_of(engine, replies)
    assert together.shape == (90, dimensions(engine.info.hidden))
    for number in (0, 41, 89):
        alone = await features_of(engine, [replies[number]])
        np.testing.assert_allclose(together[number], alone[0], atol=1e-5)
    assert not np.allclose(together[0], together[1], atol=1e-2)
    # Of a long conversation only the end is read with it.
    prompt = tuple(rng.randrange(5, 90) for _ in range(NEAR + 30))
    far, near = await features_of(engine, [(prompt, (7, 0)), (prompt[-NEAR:], (7, 0))])
    np.testing.assert_allclose(far, near, atol=1e-5)
    nearer = await features_of(engine, [(prompt[-NEAR + 1 :], (7, 0))])
    assert not np.allclose(near, nearer[0], atol=1e-4)


async def test_the_words_of_the_question_that_a_reply_takes_up_count_by_their_rarity(
    engine: LocalEngine,
) -> None:
    asked = tuple(range(20, 50))
    same, other, rarer = (await features_of(
        engine, [(asked, (25, 28)), (asked, (70, 71)), (asked, (48, 71))]
    ))[:, -ECHOES:]
    light, heavy = np.log1p(np.asarray([25, 28]) / COMMON)
    np.testing.assert_allclose(same, [1.0, heavy, light + heavy], atol=1e-5)
    assert other[0] < 0.9
    np.testing.assert_array_equal(other[1:], [0.0, 0.0])
    np.testing.assert_allclose(rarer[1:], [np.log1p(48 / COMMON)] * 2, atol=1e-5)


async def test_a_mark_in_both_is_no_word_that_is_taken_up(model: Path) -> None:
    loaded = load(model, SLOTS)
    end = 280  # a rare id, as marks have in many vocabularies
    info = replace(loaded.info, end_ids=(*loaded.info.end_ids, end))
    engine = LocalEngine(replace(loaded, info=info), SLOTS, 0.25)
    try:
        asked = (*range(20, 50), end)
        plain, ended = (await features_of(engine, [(asked, (25, 28)), (asked, (25, 28, end))]))
    finally:
        await engine.close()
    np.testing.assert_allclose(ended[-ECHOES:], plain[-ECHOES:], atol=1e-5)


def test_what_a_reply_takes_up_weighs_less_than_how_it_is_said() -> None:
    features = np.random.default_rng(1).normal(size=(500, dimensions(8)))
    spread = scale_of(features)(features).std(axis=0) ** 2
    assert spread[-ECHOES:].sum() / spread[:-ECHOES].sum() == pytest.approx(WEIGHT)


async def test_the_base_answers_each_prompt_several_times_and_always_the_same(
    engine: LocalEngine,
) -> None:
    examples = [example(number, number % 2 == 0, prompt=number // 2) for number in range(8)]
    # A random model ends by chance only.
    sampling, settings = Sampling(max_tokens=100), SETTINGS.model_copy(update={"draws": 7})
    one, two = [
        await draw_replies(engine, examples, settings, sampling, seed=7) for _ in range(2)
    ]
    assert one.replies == two.replies
    assert len(set(one.replies)) == len(one.replies)
    by_prompt = [reply.prompt_ids for reply in one.replies]
    assert set(by_prompt) <= {example.prompt_ids for example in examples}
    assert max(by_prompt.count(prompt) for prompt in by_prompt) > 1
    assert len(one.features) == len(examples) + len(one.replies)
    assert all(reply.reply_ids[-1] in engine.info.end_ids for reply in one.replies)
    banned = engine.template.decode(one.replies[0].reply_ids)
    kept = await draw_replies(
        engine, examples, settings, sampling, 7, lambda text: "rule" if text == banned else None
    )
    assert one.replies[0] not in kept.replies
    assert len(kept.replies) == len(one.replies) - 1
    other = await draw_replies(engine, examples, settings, sampling, seed=8)
    assert other.replies != one.replies
    # What a stop text ended has no end that could be learned.
    stopping = replace(sampling, stop=("e", "a"))
    left = await draw_replies(engine, examples, settings, stopping, seed=7)
    assert set(left.replies) < set(one.replies)
