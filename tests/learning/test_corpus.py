"""Reading dialogues: the formats, the split and the dressing of a visit."""

from __future__ import annotations

import json
import lzma
import random
from pathlib import Path

import pytest

from bot.errors import DataError
from learning.corpus import (
    EVERYDAY,
    Dialogue,
    dress,
    example_lines,
    read_corpus,
    read_everyday,
    read_persona,
    read_self_dialogue,
)


def block(tmp_path: Path, text: str) -> list[Dialogue]:
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    return list(read_everyday(tmp_path))


def test_repeated_bot_lines_are_alternative_last_replies(tmp_path: Path) -> None:
    text = "S: Be kind.\nU: hi\nB: Hello!\nU: how are you\nB: Fine.\nB: Well!"
    (dialogue,) = block(tmp_path, text)

    assert dialogue.system == "Be kind."
    assert dialogue.turns[-1] == ("user", "how are you")
    assert dialogue.replies == ("Fine.", "Well!")
    assert dialogue.messages("Well!")[-1] == {"role": "assistant", "content": "Well!"}


@pytest.mark.parametrize(
    "text", ["B: no question", "U: no answer", "U: a\nB: b\nB: c\nU: d\nB: e", "X: what"]
)
def test_a_malformed_block_is_named_with_its_file_and_number(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"a\.txt, block 1"):
        block(tmp_path, text)


def test_every_block_that_ships_can_be_read_and_most_offer_alternatives() -> None:
    dialogues = list(read_everyday(EVERYDAY))

    assert len(dialogues) > 3000
    assert sum(len(d.replies) > 1 for d in dialogues) > len(dialogues) / 2


def test_self_dialogues_alternate_and_broken_ones_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl.xz"
    rows = [["a", "b", "c", "d"], ["too", "short"], ["a", "b", "c", "d"], ["w", "", "y", "z"]]
    with lzma.open(path, "wt") as file:
        file.writelines(json.dumps({"topic": "t", "turns": row}) + "\n" for row in rows)

    (dialogue,) = read_self_dialogue(path)

    assert [role for role, _ in dialogue.turns] == ["user", "assistant", "user", "assistant"]


def test_personas_become_system_prompts_and_the_test_file_its_own_source(tmp_path: Path) -> None:
    path = tmp_path / "test.csv.xz"
    with lzma.open(path, "wt") as file:
        file.write('a,b,c\n"p","I like tea.\nI sing.","User 1: Hi\nUser 2: Hello"\n')

    (dialogue,) = read_persona(path)

    assert dialogue.source == "persona_test"
    assert dialogue.system == "This is who you are: I like tea. I sing."
    assert dialogue.turns == (("user", "Hi"), ("assistant", "Hello"))


def test_the_split_depends_on_the_words_alone_and_holds_a_little_out() -> None:
    parts = [Dialogue("x", (("user", str(i)), ("assistant", "ok"))).split() for i in range(2000)]

    assert parts.count("train") == pytest.approx(1920, abs=60)
    assert parts.count("test") > 20
    assert Dialogue("y", (("user", "7"), ("assistant", "ok")), "other").split() == parts[7]


def test_a_data_folder_without_corpora_is_refused_with_what_to_put_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="self_dialogue"):
        read_corpus(tmp_path)


def test_a_visit_may_show_liked_exchanges_in_the_system_prompt() -> None:
    neighbour = Dialogue("everyday", (("user", "Do you like tea?"),), "", ("Yes, a lot.",))
    plain = Dialogue("everyday", (("user", "hi"),), "", ("Hello.",))
    systems = [dress(plain, random.Random(i), [neighbour]).system for i in range(200)]

    shown = "\n".join(example_lines([("Do you like tea?", "Yes, a lot.")]))
    assert 5 < sum(shown in system for system in systems) < 45
    assert sum(system == "" for system in systems) > 50
