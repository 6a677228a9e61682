"""Cutting replies: every piece is short enough, sound by itself, and nothing is lost."""

from __future__ import annotations

import random
import re

import pytest

from bot.platforms.text import pieces

WORDS = ["rain", "https://example.org/a/long/path?of=things", "<@1234567>", "<:smile:998>", "tea"]
FENCE = re.compile(r"^(```+|~~~+)", re.MULTILINE)


def random_text(rng: random.Random) -> str:
    """Paragraphs, lines and code, as a model may write them, some of it broken."""
    parts = []
    for _ in range(rng.randint(1, 12)):
        words = [rng.choice(WORDS) for _ in range(rng.randint(1, 60))]
        if rng.random() < 0.4:
            lines = [f"{'    ' * rng.randint(0, 2)}x = {n}" for n in range(rng.randint(1, 40))]
            end = "\n```" if rng.random() < 0.8 else ""
            parts.append(rng.choice(["```python\n", "```\n"]) + "\n".join(lines) + end)
        else:
            parts.append(rng.choice([" ", "\n"]).join(words))
    return rng.choice(["\n\n", "\n"]).join(parts)


@pytest.mark.parametrize("limit", [128, 500, 2000])
def test_every_piece_fits_is_sound_and_together_they_say_everything(limit: int) -> None:
    for seed in range(150):
        text = random_text(random.Random(seed))
        cut = pieces(text, limit)
        assert all(0 < len(piece) <= limit for piece in cut), seed
        for piece in cut[:-1]:
            assert len(FENCE.findall(piece)) % 2 == 0, (seed, piece)
        unfenced = [re.sub(r"^```\w*$", "", part, flags=re.MULTILINE) for part in (text, *cut)]
        whole, *parts = ["".join(part.split()) for part in unfenced]
        assert "".join(parts) == whole, seed


def test_no_link_mention_or_custom_emoji_is_cut() -> None:
    for seed in range(150):
        rng = random.Random(seed)
        words = [rng.choice(WORDS) for _ in range(80)]
        cut = pieces(" ".join(words), 128)
        assert [word for piece in cut for word in piece.split()] == words, seed


def test_what_has_been_shown_of_a_growing_text_stays_as_it_was() -> None:
    text = random_text(random.Random(7))
    before: list[str] = []
    for length in range(0, len(text), 7):
        now = pieces(text[:length], 300)
        assert now[: max(0, len(before) - 2)] == before[: max(0, len(before) - 2)]
        before = now


def test_code_that_is_cut_goes_on_as_code_of_its_language_with_its_indentation() -> None:
    code = "\n".join(f"    line_{n} = {n}" for n in range(30))
    first, *others = pieces(f"Look:\n```python\n{code}\n```\nDone.", 200)
    assert first.startswith("Look:\n```python\n    line_0")
    assert first.endswith("\n```")
    assert all(piece.startswith("```python\n    line_") for piece in others)
    assert others[-1].endswith("```\nDone.")


def test_a_longer_fence_is_not_closed_by_a_shorter_one_inside_it() -> None:
    inner = "\n".join("```" for _ in range(9))
    for piece in pieces(f"````md\n{inner}\n" + "text\n" * 60 + "````", 128)[:-1]:
        assert piece.startswith("````md\n")
        assert piece.endswith("\n````")


def test_a_word_longer_than_a_message_is_cut_all_the_same() -> None:
    assert [len(piece) for piece in pieces("x" * 5000, 2000)] == [2000, 2000, 1000]


def test_nothing_to_say_makes_no_message() -> None:
    assert pieces(" \n\n ", 2000) == []
