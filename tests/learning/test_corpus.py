"""Reading dialogues: the formats, the split and the dressing of a visit."""

from __future__ import annotations

import json
import lzma
import random
from pathlib import Path

import pytest

from bot.errors import DataError
from learning.pretraining.corpus import (
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
    last = {dialogue.said(random.Random(i)).messages()[-1]["content"] for i in range(20)}
    assert last == {"Fine.", "Well!"}


def test_repeated_user_lines_are_ways_to_say_the_turn_and_each_is_visited(tmp_path: Path) -> None:
    (dialogue,) = block(tmp_path, "U: hi\nU: hey [you|there]\nB: Hello!\nU: bye\nB: Bye.")

    said = {dialogue.said(random.Random(i)).turns[0][1] for i in range(60)}
    assert said == {"hi", "hey you", "hey there"}
    assert dialogue.openings == 2


def test_a_row_of_a_table_stays_for_the_whole_dialogue(tmp_path: Path) -> None:
    text = "= pet: sound\ncat | meow\nowl | hoot\n\nU: I got {a pet}\nB: {pet.sound}! not {a pet2}."
    (dialogue,) = block(tmp_path, text)

    said = {dialogue.said(random.Random(i)).messages()[-1]["content"]: None for i in range(20)}
    assert set(said) == {"Meow! Not an owl.", "Hoot! Not a cat."}


@pytest.mark.parametrize("line", ["{dog}", "{pet.colour}", "[a|b", "a|b"])
def test_a_line_that_cannot_be_said_is_refused_where_it_is_read(tmp_path: Path, line: str) -> None:
    with pytest.raises(DataError, match=r"a\.txt, block 2"):
        block(tmp_path, f"= pet: sound\ncat | meow\n\nU: {line}\nB: ok")


def test_a_table_whose_rows_have_other_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 of 2 columns"):
        block(tmp_path, "= pet: sound\ncat")


def test_people_in_a_hurry_type_without_capitals_and_marks_and_the_bot_never_does() -> None:
    plain = Dialogue("everyday", (("user", "I'm home."),), "", ("It's good to hear. well done.",))
    said = [plain.said(random.Random(i), hurried=True) for i in range(200)]

    assert {d.turns[0][1] for d in said} > {"I'm home.", "i'm home.", "i'm home", "im home"}
    assert {d.replies for d in said} == {("It's good to hear. Well done.",)}


@pytest.mark.parametrize(
    "text", ["B: no question", "U: no answer", "U: a\nB: b\nS: late\nB: e", "X: what"]
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
