from __future__ import annotations

import csv
import io
import json

import pytest

from bot.config import LearningConfig, WeighingConfig
from bot.errors import DataError
from bot.store import Consent
from learning.votes.export import export_votes
from tests.learning.rated import exchange, vote

EXCHANGES = [
    exchange(1, reply="good"), exchange(2, reply="bad", prompt=exchange(1).prompt),
    exchange(3, reply="=1+1"), exchange(4, private=True), exchange(5, finish="length"),
]  # fmt: skip
VOTES = [vote(1, 1), vote(2, -1), vote(3, 1), vote(4, 1), vote(5, 1)]
PROMPT = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "question 1"}]


def exported(form: str) -> str:
    out = io.StringIO()
    consent = Consent(LearningConfig(), {})
    number = export_votes(VOTES, EXCHANGES, form, out, weighing=WeighingConfig(), consent=consent)
    assert number == len(out.getvalue().splitlines()) - (form == "csv")
    return out.getvalue()


def rows(form: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in exported(form).splitlines()]


def test_sft_has_the_liked_replies_as_messages() -> None:
    first, second = rows("sft")
    assert first == {"messages": [*PROMPT, {"role": "assistant", "content": "good"}]}
    assert second["messages"][-1]["content"] == "=1+1"  # type: ignore[index]


def test_kto_has_every_rated_reply_with_its_label() -> None:
    assert rows("kto")[1] == {
        "prompt": PROMPT, "completion": [{"role": "assistant", "content": "bad"}], "label": False,
    }  # fmt: skip
    assert len(rows("kto")) == 3


def test_dpo_pairs_a_liked_and_a_disliked_reply_to_the_same_prompt() -> None:
    assert rows("dpo") == [
        {
            "prompt": PROMPT,
            "chosen": [{"role": "assistant", "content": "good"}],
            "rejected": [{"role": "assistant", "content": "bad"}],
        }
    ]


def test_the_table_has_a_row_a_vote_and_starts_no_formula() -> None:
    found = list(csv.DictReader(io.StringIO(exported("csv"))))
    assert [row["exchange"] for row in found] == ["1", "2", "3", "5"]
    assert (found[0]["vote"], found[1]["vote"]) == ("1", "-1")
    assert found[2]["reply"] == "'=1+1"


def test_private_channels_are_in_no_format() -> None:
    assert all("question 4" not in exported(form) for form in ("sft", "kto", "dpo", "csv"))


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(DataError, match="sft, kto, dpo, csv"):
        exported("xml")
