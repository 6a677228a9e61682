"""Votes that were gathered elsewhere: read, kept once, learned from like any others."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.app import App, open_app
from bot.config import Config
from bot.errors import DataError
from learning.votes.imported import import_votes, read_votes

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
HELLO = {
    "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hi"}],
    "reply": "Hello!", "label": True, "user": "ada",
}


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    async with open_app(Config(), tmp_path) as app:
        yield app


def line(**changes: object) -> str:
    return json.dumps({**HELLO, **changes})


async def test_an_imported_vote_is_a_vote_on_an_exchange_with_the_ids_of_this_model(
    app: App,
) -> None:
    given = list(read_votes([line(), "", line(user="bob", label=-1)]))
    done = await import_votes(app.store, app.engine, given, NOW)
    assert (done.votes, done.replies, done.known, done.too_long) == (2, 1, 1, 0)
    votes = await app.store.current_votes()
    assert {(vote.rater, vote.value, vote.time) for vote in votes} == {
        ("ada", 1, NOW), ("bob", -1, NOW),
    }
    exchange = await app.store.exchange(votes[0].exchange_id)
    assert exchange is not None
    template, ends = app.engine.template, app.engine.info.end_ids
    assert template.decode(exchange.reply_ids).strip() == "Hello!"
    assert [token in ends for token in exchange.reply_ids] == [False] * (
        len(exchange.reply_ids) - 1
    ) + [True]
    assert list(exchange.prompt_ids) == template.encode(template.render(exchange.prompt))


async def test_a_file_given_twice_is_taken_once_and_a_changed_mind_is_a_vote(app: App) -> None:
    for label in (True, True, False):
        given = list(read_votes([line(label=label)]))
        done = await import_votes(app.store, app.engine, given, NOW)
    assert done.known == 1
    assert await app.store.count_exchanges() == 1
    assert [vote.value for vote in await app.store.current_votes()] == [-1]


async def test_what_the_model_has_no_room_for_is_left_out_and_counted(app: App) -> None:
    given = list(read_votes([line(reply="word " * 5000), line()]))
    done = await import_votes(app.store, app.engine, given, NOW)
    assert (done.votes, done.too_long) == (1, 1)


def test_conversations_that_begin_alike_share_a_channel() -> None:
    longer = [*HELLO["messages"], {"role": "assistant", "content": "Hello!"},  # type: ignore[misc]
              {"role": "user", "content": "bye"}]
    first, second, other = read_votes([
        line(), line(messages=longer), line(messages=[{"role": "user", "content": "what?"}]),
    ])
    assert first.channel == second.channel != other.channel


@pytest.mark.parametrize(("bad", "why"), [
    ("nonsense", "line 2 "),
    ("[]", "line 2 is no JSON object"),
    (json.dumps({"reply": "x"}), "line 2 lacks 'messages'"),
    (line(messages=[]), "line 2 has 'messages' whose last is not the user's"),
    (line(messages=[{"role": "robot", "content": "x"}]), "whose role is none of system, user"),
    (line(reply=" "), "line 2 has no text as 'reply'"),
    (line(label="yes"), "line 2 has the label 'yes'; true"),
    (line(label=0), "line 2 has the label 0"),
    (line(time="yesterday"), "line 2 has the time 'yesterday'; write 2026-"),
    (line(user=None), "line 2 has no text as 'user'"),
])  # fmt: skip
def test_a_bad_line_is_named_with_what_is_wrong(bad: str, why: str) -> None:
    with pytest.raises(DataError, match=r"; nothing was imported$") as error:
        list(read_votes([line(), bad]))
    assert why in str(error.value)
