"""What people write in, and which fixed prompts follow from it."""

from __future__ import annotations

import pytest

from learning.gate.canaries import CanaryReply, read_canaries
from learning.gate.conduct import read_conduct
from learning.scripts import Language, Script, language_of, script_of


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Where is the key?", "spaced"), ("Где ключ?", "spaced"), ("열쇠는 어디에?", "spaced"),
        ("钥匙在哪里？", "chinese"), ("鑰匙在哪裡？", "chinese"), ("好", "chinese"),
        ("我想买 MacBook Pro，怎么样？", "chinese"), ("What does 你好 mean?", "spaced"),
        ("鍵はどこですか？", "unspaced"), ("กุญแจอยู่ที่ไหน", "unspaced"),
        ("", ""), ("🙂 ?!", ""),
    ],
)  # fmt: skip
def test_a_script_is_known_by_its_characters(text: str, script: Script) -> None:
    assert script_of(text) == script


@pytest.mark.parametrize(
    ("chinese", "others", "language"),
    [(0, 10, "en"), (1, 9, "en"), (3, 7, "mixed"), (7, 3, "mixed"), (9, 1, "zh"), (5, 0, "zh"),
     (0, 0, "en")],
)  # fmt: skip
def test_the_prompts_are_in_what_most_questions_are_written_in(
    chinese: int, others: int, language: Language
) -> None:
    scripts: list[Script] = ["chinese"] * chinese + ["spaced"] * others
    assert language_of([*scripts, "", ""]) == language


@pytest.mark.parametrize("language", ["en", "zh", "mixed"])
def test_every_language_has_as_many_prompts_of_each_kind(language: Language) -> None:
    assert len(set(read_canaries(language))) == 32
    conduct = read_conduct(language)
    assert list(conduct) == ["identity", "injection", "agreement", "memory"]
    assert all(len(set(prompts)) == 8 for prompts in conduct.values())
    asked = [*read_canaries(language), *(one for kind in conduct.values() for one in kind)]
    share = sum(script_of(one) == "chinese" for one in asked) / len(asked)
    assert {"en": share == 0, "zh": share == 1, "mixed": 0.4 < share < 0.6}[language]


def test_variety_is_counted_in_characters_where_there_are_no_spaces() -> None:
    said = {"text": "很好，很好 ok", "ids": (7, 8, 9, 7, 8, 9, 1), "ended": True}
    assert CanaryReply("你好吗？", **said).units == ["很", "好", "很", "好", "ok"]  # type: ignore[arg-type]  # as named
    assert CanaryReply("How are you?", **said).units == (7, 8, 9, 7, 8, 9, 1)  # type: ignore[arg-type]  # as named
