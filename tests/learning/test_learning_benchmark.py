"""`benchmarks.learning`: from files of votes to rows of figures."""

from __future__ import annotations

import io
import json
import lzma
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.learning import main
from benchmarks.public_votes import convert
from bot.errors import DataError
from learning.votes.imported import read_votes

# So warm, the model without any training ends its replies now and then.
QUICK = """
[learning.sft]
epochs = 2
replay = 0.1
rank = 4
gauge = 8
[learning.gate]
anchors = 8
[learning.taste]
draws = 2
[sampling]
temperature = 5.0
top_p = 1.0
max_tokens = 60
"""

Words = Callable[..., list[str]]


def ordered(reply: object, reward: float = 1.0, **changes: object) -> str:
    """A line as Taskmaster has it."""
    context = [
        {"role": "agent", "text": "What will it be?"}, {"role": "user", "text": " tea"},
        {"role": "agent", "api": {"kettle": {}}}, {"role": "api", "response": {"kettle": "hot"}},
    ]
    row = {
        "conversation_id": "c1", "context": json.dumps(context),
        "generation": json.dumps({"role": "agent"} | {"text": reply}), "reward": reward,
    }
    return json.dumps(row | changes)


def compared(chosen: str, rejected: str) -> str:
    """A line as HH-RLHF has it."""
    return json.dumps({
        side: f"\n\nHuman: a tip?\n\nAssistant: On what?\n\nHuman: knots\n\nAssistant: {text}"
        for side, text in (("chosen", chosen), ("rejected", rejected))
    })


def test_task_replies_become_votes_without_the_calls_around_them(tmp_path: Path) -> None:
    file = tmp_path / "orders.jsonl.xz"
    call = ordered("", generation=json.dumps({"role": "agent", "api": {"pour": {}}}))
    lines = [ordered("With milk? "), call, ordered("No.", 0.0), ordered(" ")]
    file.write_bytes(lzma.compress("\n".join(lines).encode()))
    votes, left_out = convert("taskmaster", file)
    assert left_out == {"calls of a service": 1, "empty texts": 1}
    first, second = read_votes(map(json.dumps, votes))
    assert [(turn.role, turn.content) for turn in first.turns] == [
        ("assistant", "What will it be?"), ("user", "tea"),
    ]
    assert (first.reply, first.value, first.rater) == ("With milk?", 1, "c1")
    assert (second.reply, second.value) == ("No.", -1)


def test_a_pair_becomes_a_like_and_a_dislike_of_one_person(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    lines = [compared("Try a bowline.", "Ask others."), compared("Same.", "Same.")]
    file.write_text("\n".join(lines) + "\n")
    votes, left_out = convert("hh-rlhf", file)
    assert left_out == {"pairs of the same reply": 1}
    liked, disliked = read_votes(map(json.dumps, votes))
    assert [turn.content for turn in liked.turns] == ["a tip?", "On what?", "knots"]
    assert liked.turns == disliked.turns and liked.rater == disliked.rater
    assert (liked.reply, liked.value) == ("Try a bowline.", 1)
    assert (disliked.reply, disliked.value) == ("Ask others.", -1)


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("taskmaster", "{"), ("taskmaster", "[]"), ("taskmaster", ordered("Yes.", 0.5)),
        ("taskmaster", ordered(7)), ("taskmaster", ordered("Yes.", context="tea")),
        ("taskmaster", compared("Yes.", "No.")), ("hh-rlhf", ordered("Yes.")),
        ("hh-rlhf", json.dumps({"chosen": "Yes.", "rejected": "No."})),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, source: str, line: str) -> None:
    file = tmp_path / "votes.jsonl"
    whole = ordered("Yes.") if source == "taskmaster" else compared("Yes.", "No.")
    file.write_text(f"{whole}\n\n{line}\n")
    with pytest.raises(DataError, match=rf"votes\.jsonl: line 3 is none of {source}"):
        convert(source, file)


@pytest.fixture
def asked(model: Path, tmp_path: Path) -> Words:
    """The command line of a small measurement of votes on friendly and on curt replies."""
    config, file = tmp_path / "config.toml", tmp_path / "votes.jsonl"
    config.write_text(QUICK)
    votes = [
        {"messages": [{"role": "user", "content": f"How is number {number}?"}], "label": liked,
         "reply": f"{'Hello there, fine' if liked else 'Go away'}.", "user": f"rater {number}"}
        for number in range(40) for liked in (True, False)
    ]  # fmt: skip
    file.write_text("".join(json.dumps(one) + "\n" for one in votes))

    def words(*more: str) -> list[str]:
        return [
            "--votes", str(file), "--sizes", "20", "--seeds", "1", "--held-out", "12",
            "--model", str(model), "--threads", "1", "--config", str(config),
            "--json", str(tmp_path / "found.json"), *more,
        ]

    return words


def found(tmp_path: Path) -> Any:
    return json.loads((tmp_path / "found.json").read_text())


def test_each_run_that_was_asked_for_is_a_row_with_its_figures(
    asked: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(asked("--objective", "sft", "taste", "--flipped", "0", "1"))
    measured = found(tmp_path)
    rows = {(one["objective"], one["votes"], one["flipped"]): one for one in measured["rows"]}
    assert list(rows) == [
        ("base", 0, 0.0), ("sft", 20, 0.0), ("taste", 20, 0.0), ("sft", 20, 1.0),
        ("taste", 20, 1.0),
    ]
    assert measured["finished"] and measured["failed"] == []
    assert (measured["votes"]["pool"], measured["votes"]["held_out"]) == (68, 12)
    assert rows["base", 0, 0.0]["reward"] == 0.0
    plain, flipped = rows["sft", 20, 0.0], rows["sft", 20, 1.0]
    assert plain["reward"] > 0.05 > -0.05 > flipped["reward"]
    assert plain["auc"] > 0.9 and flipped["auc"] < 0.1
    assert rows["taste", 20, 0.0]["head_auc"] > 0.9 > 0.1 > rows["taste", 20, 1.0]["head_auc"]
    assert plain["head_auc"] is None and plain["anchor_rise"] != 0.0
    mean = next(one for one in measured["means"] if one["objective"] == "sft")
    assert mean["reward"] == {"value": plain["reward"], "error": None, "runs": 1}
    assert re.search(r"^sft +20 +0% +1 +\+\d\.", capsys.readouterr().out, re.MULTILINE)


class Impatient(io.StringIO):
    """A standard error that ends the program as soon as a text is written to it."""

    def write(self, text: str) -> int:
        if "2 of 2" in text:
            signal.raise_signal(signal.SIGINT)
        return super().write(text)


def test_ctrl_c_keeps_what_was_measured(
    asked: Words, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "stderr", Impatient())
    with pytest.raises(SystemExit) as end:
        main(asked("--objective", "sft", "kto"))
    assert end.value.code == 130
    measured = found(tmp_path)
    assert [one["objective"] for one in measured["rows"]] == ["base", "sft"]
    assert not measured["finished"]
    assert re.search(r"^sft +20", capsys.readouterr().out, re.MULTILINE)


def test_votes_that_cannot_judge_are_told(asked: Words) -> None:
    with pytest.raises(SystemExit, match="too few votes to judge by: of 80 that fit the model"):
        main(asked("--held-out", "4"))
