"""People's own words: consent, everything kept of one person, and deletion to the last byte."""

from __future__ import annotations

import json
import random
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from bot.config import LearningConfig
from bot.errors import StoreError
from bot.store import Consent, Store, Traces
from bot.types import ChannelKey, Exchange, Turn
from tests.store.samples import HERE, NOW, THERE, exchange, later, message, vote

GUILD = ChannelKey("discord", "7", "general")
NOTHING = Traces(0, (), 0, ())


def bytes_in(folder: Path) -> bytes:
    """Everything in every file of a folder."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


async def test_nobody_has_decided_until_they_do(store: Store) -> None:
    assert await store.consent_of("discord", "ann") == ""
    assert await store.consents() == {}
    await store.set_consent("discord", "ann", True, NOW)
    await store.set_consent("slack", "ann", False, NOW)
    assert await store.consent_of("discord", "ann") == "granted"
    assert await store.consents("slack") == {("slack", "ann"): "refused"}
    await store.set_consent("discord", "ann", False, later(1))
    assert set((await store.consents()).values()) == {"refused"}


async def test_a_person_is_asked_once_in_their_life(store: Store) -> None:
    assert await store.mark_asked("discord", "ann", NOW)
    assert not await store.mark_asked("discord", "ann", later(9))
    assert await store.mark_asked("slack", "ann", NOW)
    await store.set_consent("discord", "bob", True, NOW)
    assert await store.mark_asked("discord", "bob", NOW)
    assert await store.consent_of("discord", "bob") == "granted"
    await store.forget("discord", "ann", NOW)
    assert not await store.mark_asked("discord", "ann", later(9))


@pytest.mark.parametrize(
    ("rule", "silent", "yes", "no"),
    [("ask", False, True, False), ("opt-in", False, True, False), ("opt-out", True, True, False),
     ("granted", True, True, False)],
)  # fmt: skip
def test_who_consents_depends_on_the_rule_and_a_no_always_holds(
    rule: str, silent: bool, yes: bool, no: bool
) -> None:
    settings = LearningConfig.model_validate(
        {"consent": rule, "platform_terms_acknowledged": True}
    )
    said = {("discord", "yes"): "granted", ("discord", "no"): "refused"}
    consent = Consent(settings, said)  # type: ignore[arg-type]  # mypy widens the literals
    assert [consent.of("discord", who) for who in ("silent", "yes", "no")] == [silent, yes, no]


def test_everybody_in_the_prompt_must_consent_and_the_terms_be_acknowledged() -> None:
    known = LearningConfig(platform_terms_acknowledged=True)
    both: Exchange = exchange(GUILD, asker="ann", authors=("bob", "ann"))
    said = {("discord", "ann"): "granted", ("discord", "bob"): "granted"}
    assert Consent(known, said).covers(both)  # type: ignore[arg-type]
    assert not Consent(LearningConfig(), said).covers(both)  # type: ignore[arg-type]
    assert not Consent(known, {("discord", "ann"): "granted"}).covers(both)
    assert not Consent(known, {("discord", "bob"): "granted"}).covers(both)


@pytest.mark.parametrize("platform", ["console", "playground", "simulate"])
def test_on_the_operators_own_platforms_nobody_is_to_be_asked(platform: str) -> None:
    assert Consent(LearningConfig(), {}).covers(exchange(ChannelKey(platform, "local", "x")))


async def fill(store: Store) -> dict[str, int]:
    """Ann and bob talk on Discord, ann also in the terminal; ids by what they are about."""
    rows = [
        await store.add_message(message(1, GUILD, author="ann", text="ann asks"), waits=True),
        await store.add_message(message(2, GUILD, author="bob", text="bob asks")),
        await store.add_message(message(3, HERE, author="ann", text="at home")),
    ]
    keys = {
        "ann's": await store.add_exchange(
            exchange(GUILD, asker="ann", authors=("ann",), platform_ids=("r1",)), rows[0]
        ),
        "bob's after ann": await store.add_exchange(
            exchange(GUILD, asker="bob", authors=("ann", "bob"), platform_ids=("r2",)), rows[1]
        ),
        "bob's": await store.add_exchange(exchange(GUILD, asker="bob", authors=("bob",)), rows[1]),
        "at home": await store.add_exchange(exchange(HERE, asker="ann", authors=("ann",))),
    }
    for name in keys:
        await store.add_vote(vote(keys[name], "bob"))
    await store.add_vote(vote(keys["bob's"], "ann", -1))
    await store.add_message(message(4, GUILD, author="ann", text="unanswered"), waits=True)
    return keys


async def test_what_is_kept_of_a_person_is_given_as_json(store: Store) -> None:
    keys = await fill(store)
    await store.set_consent("discord", "ann", True, NOW)
    data = json.loads(json.dumps(await store.data_of("discord", "ann")))
    assert [one["text"] for one in data["messages"]] == ["ann asks", "unanswered"]
    (asked,) = data["exchanges"]
    assert (asked["id"], asked["question"], asked["reply"]) == (keys["ann's"], "ann asks", "hello")
    assert asked["channel"] == str(GUILD)
    assert data["votes"] == [
        {"exchange": keys["bob's"], "time": NOW.isoformat(), "value": -1, "source": "reaction"}
    ]
    assert (data["consent"], data["consent_changed"]) == ("granted", NOW.isoformat())
    assert (await store.data_of("discord", "zoe"))["messages"] == []


async def test_where_the_question_is_not_on_record_it_is_what_the_model_saw(store: Store) -> None:
    await store.add_exchange(exchange(THERE))
    (asked,) = (await store.data_of("console", "ann"))["exchanges"]
    assert asked["question"] == "hi\n\x00 é 🙂"


async def test_a_question_that_was_edited_is_given_as_it_is_and_as_it_was_read(
    store: Store
) -> None:
    for number, said in enumerate(("my word is xyzzy", "bob was here\nand then?"), start=1):
        row = await store.add_message(message(number, author="ann", text=said.split("\n")[-1]))
        prompt = (Turn("system", "persona"), Turn("user", said))
        await store.add_exchange(exchange(asker="ann", prompt=prompt), row)
    await store.change_message([(HERE, "m1")], "my word")
    edited, joined = (await store.data_of("console", "ann"))["exchanges"]
    assert (edited["question"], edited["read"]) == ("my word", "my word is xyzzy")
    assert joined["question"] == "and then?" and "read" not in joined


async def test_who_is_forgotten_leaves_nothing_but_their_no(store: Store) -> None:
    keys = await fill(store)
    expected = Traces(2, (keys["ann's"], keys["bob's after ann"]), 1, (GUILD,))
    assert await store.traces_of("discord", "ann") == expected
    assert await store.forget("discord", "ann", NOW) == expected
    assert await store.traces_of("discord", "ann") == NOTHING
    assert await store.consent_of("discord", "ann") == "refused"
    assert await store.waiting_messages("discord") == []
    assert await store.exchange_of(GUILD, "r2") is None
    left = await store.exchanges(list(keys.values()))
    assert [one.id for one in left] == [keys["bob's"], keys["at home"]]
    assert {(one.exchange_id, one.rater) for one in await store.current_votes()} == {
        (keys["bob's"], "bob"), (keys["at home"], "bob"),
    }  # fmt: skip
    assert [turn.content for turn in await store.history(GUILD)] == ["bob asks", "hello"]
    assert len((await store.data_of("console", "ann"))["messages"]) == 1


async def test_what_must_follow_a_deletion_is_on_record_until_it_has(store: Store) -> None:
    keys = await fill(store)
    assert await store.unfinished() is None
    await store.forget("discord", "ann", NOW)
    await store.forget("console", "ann", NOW)
    gone = [keys["ann's"], keys["bob's after ann"], keys["at home"]]
    assert await store.unfinished() == gone
    await store.finished(gone[:2])
    assert await store.unfinished() == gone[2:]
    await store.finished(gone[2:])
    assert await store.unfinished() is None
    await store.forget("discord", "nobody", NOW)
    assert await store.unfinished() == []
    await store.finished([])
    assert await store.unfinished() is None


async def test_not_a_byte_of_forgotten_words_is_left_however_rows_have_moved(
    store: Store, tmp_path: Path
) -> None:
    draw = random.Random(5)
    names = [f"p{number}" for number in range(12)]
    for number in range(600):
        author = draw.choice(names)
        text = f"SECRET-{author}-" + "x" * draw.choice([5, 50, 300, 2000, 9000])
        await store.add_message(message(number, THERE, author=author, text=text))
        if not number % 10:
            await store.add_exchange(exchange(THERE, asker=author, authors=(author,), reply=text))
    for author in names:
        assert f"SECRET-{author}-".encode() in bytes_in(tmp_path)
        await store.forget("console", author, NOW)
        await store.sweep()
        assert f"SECRET-{author}-".encode() not in bytes_in(tmp_path)


async def test_sweeping_says_so_when_another_program_reads_the_log(store: Store) -> None:
    await fill(store)
    reader = sqlite3.connect(store._file, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM messages").fetchone()
    await store.forget("discord", "ann", NOW)
    await store._writer.alone(lambda connection: connection.execute("PRAGMA busy_timeout=1"))
    with pytest.raises(StoreError, match="stop that program and start Rapport again"):
        await store.sweep()
    reader.close()
    await store.sweep()
    assert await store.count_exchanges() == 2


async def test_old_words_of_people_without_consent_are_purged_and_no_others(store: Store) -> None:
    old, new = NOW - timedelta(days=40), NOW
    authors = {"ann": "granted", "bob": "refused", "cid": ""}
    kept = []
    for place, author in enumerate(authors):
        for time in (old, new):
            row = await store.add_message(
                message(f"{place}{time}", GUILD, author=author, time=time)  # type: ignore[arg-type]
            )
            key = await store.add_exchange(
                exchange(GUILD, asker=author, authors=(author,), time=time), row
            )
            if author == "ann" or time == new:
                kept.append(key)
    mixed = exchange(GUILD, asker="ann", authors=("bob", "ann"), time=old)
    await store.add_exchange(mixed)
    await store.set_consent("discord", "ann", True, NOW)
    await store.set_consent("discord", "bob", False, NOW)
    consent = await store.consent(LearningConfig())
    before = NOW - timedelta(days=30)
    gone = await store.purge_messages("discord", before, consent)
    assert (gone.messages, len(gone.exchanges), gone.channels) == (2, 3, (GUILD,))
    assert [one.id for one in await store.exchanges(range(1, 20))] == kept
    assert await store.purge_messages("discord", before, consent) == NOTHING
    assert await store.purge_messages("slack", NOW, consent) == NOTHING
