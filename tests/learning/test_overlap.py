"""The wording of replies against references, in whatever script people write."""

from __future__ import annotations

import sys

import pytest

from learning.overlap import overlap, tokeniser_for
from learning.scripts import words_of

FINE, FINER = "今天天气很好，我们去公园吧", "今天天气不错，我们去公园吧"


@pytest.mark.parametrize(
    ("texts", "tokeniser"),
    [
        (["How are you?", "Ça va très bien."], "13a"), ([], "13a"), (["123"], "13a"),
        ([FINE], "zh"), (["I like 北京烤鸭 very much, thank you for asking"], "zh"),
        (["Fine, thanks.", FINE], "zh"), (["今日はとてもいい天気ですね"], "char"),
        (["วันนี้อากาศดีมาก"], "char"), (["I said こんにちは to everybody in the house"], "13a"),
    ],
)  # fmt: skip
def test_the_tokeniser_suits_the_script(texts: list[str], tokeniser: str) -> None:
    assert tokeniser_for(texts) == tokeniser


def test_words_are_words_and_single_characters_where_nobody_writes_spaces() -> None:
    assert words_of("I DON'T like 烤鸭, café!") == ["i", "don", "t", "like", "烤", "鸭", "café"]
    assert words_of("はい") == ["は", "い"]


def test_a_reply_is_compared_with_the_nearest_of_its_references() -> None:
    same = "The cat sat on the mat."
    found = overlap([same, "no idea"], [["A dog barked.", same], ["no idea"]])
    assert found is not None
    assert (found.bleu, found.chrf, found.rouge_l) == pytest.approx((100.0, 100.0, 1.0))
    apart = overlap([same], [["Nobody knows why"]])
    assert apart is not None
    assert (apart.bleu, apart.rouge_l) == (0.0, 0.0)


def test_chinese_that_differs_in_two_characters_is_mostly_the_same() -> None:
    found = overlap([FINE], [[FINER]])
    assert found is not None
    assert 60 < found.bleu < 70
    assert found.rouge_l == pytest.approx(10 / 12)


def test_two_languages_in_one_reply_each_count_in_their_own_words() -> None:
    reply, liked = "I would order 北京烤鸭和一碗米饭 now", "I would order 北京烤鸭和两碗米饭 now"
    found = overlap([reply], [[liked]])
    assert found is not None
    assert found.bleu > 50
    assert found.rouge_l == pytest.approx(12 / 13)
    mixed = overlap([reply, "Good night."], [[liked], ["Good night."]])
    assert mixed is not None
    assert mixed.bleu > found.bleu


@pytest.mark.parametrize("missing", ["sacrebleu.metrics.bleu", "rouge_score.rouge_scorer"])
def test_without_the_libraries_there_is_no_comparison(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    assert overlap(["a"], [["a"]]) is None


def test_nothing_said_is_nothing_compared() -> None:
    assert overlap([], []) is None
