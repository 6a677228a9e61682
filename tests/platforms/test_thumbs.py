"""Which signs are votes."""

from __future__ import annotations

import pytest

from bot.platforms.thumbs import Thumbs

THUMBS = Thumbs(["👍", "❤️", ":tada:"], ["👎"])


@pytest.mark.parametrize(
    ("sign", "value"),
    [
        ("👍", 1), ("👍🏿", 1), ("👎🏻", -1), ("❤", 1), ("❤️", 1), ("😀", 0),
        ("+1", 1), ("thumbsup", 1), ("+1::skin-tone-3", 1), (":thumbsup::skin-tone-6:", 1),
        ("-1", -1), ("thumbsdown", -1), ("thumbsdown::skin-tone-2", -1), ("heart", 1),
        ("tada", 1), ("", 0),
    ],
)  # fmt: skip
def test_a_sign_is_a_vote_whatever_its_skin_and_name(sign: str, value: int) -> None:
    assert THUMBS.value(sign) == value
