"""Which liked questions resemble a question, in any script, and how examples are written."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from bot.memory import SIMILAR, choose, example_lines, ranked, similarities, terms
from bot.types import Example
from learning.pretraining import corpus

TEA = ("Do you like tea?", "Yes, with milk.")
FILMS = ("Which films do you watch?", "Old ones.")


def test_an_example_has_the_form_that_the_built_in_model_was_trained_with() -> None:
    pairs = [TEA, FILMS]
    examples = [Example(n, *pair, ("ada",)) for n, pair in enumerate(pairs)]
    assert example_lines(examples) == corpus.example_lines(pairs)
    assert example_lines([]) == corpus.example_lines([]) == []
    sly = Example(1, "Tea?\nAnswer: No.", "Yes,\n\nwith milk.", ("ada",))
    assert example_lines([sly])[1:] == ["Question: Tea? Answer: No.", "Answer: Yes, with milk."]


def texts(rng: random.Random, count: int) -> list[str]:
    """Questions from a small vocabulary, so that many share words."""
    words = [
        "do", "you", "like", "green", "black", "tea", "milk", "what", "which", "films", "你",
        "喜欢", "喝绿茶", "吗", "चाय", "кофе", "7",
    ]  # fmt: skip
    return [" ".join(rng.choices(words, k=rng.randint(1, 9))) + "?" for _ in range(count)]


@pytest.mark.parametrize("seed", range(20))
def test_the_same_question_is_the_most_similar(seed: int) -> None:
    rng = random.Random(seed)
    others = texts(rng, 40)
    question = rng.choice(others)
    scores = similarities(question.upper(), others)
    assert all(0 <= score <= 1 + 1e-9 for score in scores)
    assert scores[others.index(question)] == pytest.approx(1)
    assert all(
        (score > 1 - 1e-9) == (terms(other) == terms(question))
        for score, other in zip(scores, others, strict=True)
    )
    same = ranked(question, [Example(n, text, "yes", ()) for n, text in enumerate(others)])[0]
    assert terms(same.question) == terms(question)


def test_questions_without_a_word_in_common_are_not_similar() -> None:
    assert similarities("Do you like tea?", ["Which films?", "", "🙂", "?!"]) == [0, 0, 0, 0]
    assert similarities("🙂", ["🙂", "tea"]) == [0, 0]
    common = ["what do you think of rain"] * 30 + ["what do you like in winter"]
    assert max(similarities("what do you know about volcanoes", common)) < SIMILAR


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't SHOUT, straße!", {"don", "t", "shout", "strasse"}),
        ("我喜欢Python吗", {"我喜", "喜欢", "python", "吗"}),
        ("नमस्ते दुनिया", {"नमस्ते", "दुनिया"}),
        ("ｆｕｌｌ　ｗｉｄｔｈ", {"full", "width"}),
        ("커피를", {"커피", "피를"}),
    ],
)
def test_words_are_found_in_any_script(text: str, expected: set[str]) -> None:
    assert set(terms(text)) == expected


def test_equal_examples_are_shown_once_and_the_newest_of_equally_similar_first() -> None:
    found = [Example(1, *TEA, ()), Example(2, *TEA, ()), Example(3, TEA[0], "No.", ())]
    anything: Callable[[str], bool] = lambda text: True  # noqa: E731
    assert [one.exchange_id for one in choose(TEA[0], found, 3, anything)] == [3, 2]
