"""What is let through to the model, and in what shape."""

from __future__ import annotations

import pytest

from bot.admission import Admission, Admitted, Refused, clean
from tests.bot.conftest import message


@pytest.mark.parametrize("text", ["", "   \n\t ", "\u200b\u200d\ufe0f", "\x00\x1b"])
def test_a_message_without_visible_text_is_answered_without_the_model(text: str) -> None:
    verdict = Admission(100).check(message(text))
    assert isinstance(verdict, Refused)
    assert "text" in verdict.answer


def test_our_own_words_are_passed_over_in_silence() -> None:
    verdict = Admission(100, own=["me"]).check(message("Hello", author="me"))
    assert verdict == Refused("own message")


def test_a_long_message_is_admitted_whole_with_a_note() -> None:
    verdict = Admission(100).check(message("a" * 101))
    assert isinstance(verdict, Admitted)
    assert len(verdict.message.text) == 101
    assert "101 characters" in verdict.note


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a\ud800b", "a\ufffdb"),
        ("\ud83d\ude00", "😀"),
        ("one\r\ntwo\rthree", "one\ntwo\nthree"),
        ("\x1b[31mred\x07", "[31mred"),
        ("a\tb", "a\tb"),
        ("family: 👩‍👧", "family: 👩‍👧"),
    ],
)
def test_text_is_made_fit_for_every_room(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned
    clean(text).encode("utf-8")
