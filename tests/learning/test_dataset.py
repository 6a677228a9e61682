from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from bot.engine.base import Delta, Request
from bot.errors import Busy, LearningError, NothingToLearn
from bot.store import Moment
from bot.types import BASE, ChannelKey, Exchange, Sampling
from learning.replay import base_replies
from learning.types import BaseReply, Example, Label, Snapshot
from learning.votes.dataset import (
    Built,
    build_examples,
    digest,
    read_snapshot,
    require_enough,
    write_snapshot,
)
from learning.votes.split import part_of, units
from tests.learning.rated import HERE, START, exchange


def made(
    exchanges: list[Exchange], liked: set[int] | None = None, *, private: bool = False
) -> tuple[Example, ...]:
    labels = [Label(one.id, liked is None or one.id in liked, 1.0, ("ann",)) for one in exchanges]
    timeline = [Moment(one.id, one.channel, one.time) for one in exchanges]
    return build_examples(labels, exchanges, timeline, base="tiny", private=private).examples


@pytest.mark.parametrize(
    "changes",
    [{"base": "other"}, {"private": True}, {"finish": "length"}, {"finish": "timeout"},
     {"finish": "cancelled"}, {"finish": "error"}, {"reply": " "}, {"reply_ids": ()}],
)  # fmt: skip
def test_what_must_not_be_learned_from_is_left_out(changes: dict[str, object]) -> None:
    assert made([exchange(1, **changes)]) == ()


def test_private_exchanges_are_learned_from_only_when_enabled() -> None:
    assert len(made([exchange(1, private=True)], private=True)) == 1


def test_near_identical_examples_become_one_that_remembers_the_others() -> None:
    same = [exchange(n, prompt=exchange(1).prompt, reply="Hello  there") for n in (1, 2, 3)]
    (one,) = made(same, {1, 2})
    assert one.liked
    assert one.weight == pytest.approx(1 / 3)
    assert sorted((one.exchange_id, *one.folded)) == [1, 2, 3]
    assert made(same[:2], {1}) == ()


def test_punctuation_of_a_reply_makes_a_difference() -> None:
    assert len(made([exchange(1, reply="Hi."), exchange(2, prompt=exchange(1).prompt)])) == 2


def moments(conversations: int, each: int = 3) -> list[Moment]:
    return [
        Moment(c * each + n + 1, HERE, START + timedelta(hours=c, minutes=n))
        for c in range(conversations)
        for n in range(each)
    ]


def test_a_conversation_ends_with_silence_in_its_channel_alone() -> None:
    found = units(moments(12))
    assert found[31] == found[32] == found[33] == f"{HERE}#31"
    assert found[34] == f"{HERE}#34"
    other = Moment(37, ChannelKey("local", "local", "there"), START + timedelta(hours=11))
    assert units([*moments(12), other])[37].endswith("there#37")


def test_the_first_ten_conversations_are_split_by_exchange() -> None:
    assert len(set(units(moments(10)).values())) == 30
    assert len(set(units(moments(14)).values())) == 34


def test_an_example_never_changes_its_part_as_data_grows() -> None:
    exchanges = [
        exchange(moment.exchange_id, time=moment.time) for moment in moments(30)
    ]
    whole = {one.exchange_id: one.part for one in made(exchanges)}
    for size in range(1, len(exchanges)):
        assert all(whole[one.exchange_id] == one.part for one in made(exchanges[:size]))


def test_a_duplicate_in_the_hold_out_holds_out_all_of_them() -> None:
    units_of = units(moments(9))
    held = next(key for key, unit in units_of.items() if part_of(unit) == "holdout")
    trained = next(key for key, unit in units_of.items() if part_of(unit) == "train")
    by_id = {m.exchange_id: m for m in moments(9)}
    same = [
        exchange(key, prompt=exchange(1).prompt, reply="same", time=by_id[key].time)
        for key in (held, trained)
    ]
    labels = [Label(one.id, True, 1.0, ("ann",)) for one in same]
    (one,) = build_examples(labels, same, moments(9), base="tiny", private=False).examples
    assert (one.exchange_id, one.part, one.folded) == (held, "holdout", (trained,))


def showing(example: int, number: int) -> tuple[list[Exchange], Built]:
    """Two rated exchanges, of which the second had the first as an example in its prompt."""
    both = [exchange(example), exchange(number, examples=(example,))]
    labels = [Label(one.id, True, 1.0, ("ann",)) for one in both]
    timeline = [Moment(n, HERE, START + timedelta(minutes=n)) for n in range(1, 60)]
    return both, build_examples(labels, both, timeline, base="tiny", private=False)


def test_what_showed_an_example_lies_on_the_same_side_of_the_border_or_nowhere() -> None:
    unit = units([Moment(n, HERE, START + timedelta(minutes=n)) for n in range(1, 60)])
    held = {key: part_of(name) == "holdout" for key, name in unit.items()}
    seen = set()
    for example in range(1, 30):
        for number in range(30, 59):
            _, built = showing(example, number)
            used = {one.exchange_id for one in built.examples}
            assert used == ({example, number} if held[example] == held[number] else {example})
            if number not in used:
                where = "is kept for judging" if held[example] else "is learned from"
                why = f"its prompt showed reply {example}, which {where}"
                assert built.left_out == {number: why}
            seen.add((held[example], held[number]))
    assert len(seen) == 4


def test_an_example_counts_where_it_lies_though_nobody_rates_it_now() -> None:
    for number in range(30, 59):
        both, rated = showing(1, number)
        timeline = [Moment(n, HERE, START + timedelta(minutes=n)) for n in range(1, 60)]
        alone = build_examples(
            [Label(number, True, 1.0, ("ann",))], both, timeline, base="tiny", private=False
        )
        assert alone.left_out == {
            key: why for key, why in rated.left_out.items() if key == number
        }
        assert bool(alone.examples) != bool(alone.left_out)


def test_an_example_that_was_folded_into_the_hold_out_is_on_its_side() -> None:
    unit = units(moments(9))
    held = next(key for key, name in unit.items() if part_of(name) == "holdout")
    first, last = [key for key, name in unit.items() if part_of(name) == "train"][:2]
    by_id = {one.exchange_id: one for one in moments(9)}
    same = [exchange(key, prompt=exchange(1).prompt, reply="same", time=by_id[key].time)
            for key in (held, first)]
    given = [*same, exchange(last, examples=(first,), time=by_id[last].time)]
    labels = [Label(one.id, True, 1.0, ("ann",)) for one in given]
    built = build_examples(labels, given, moments(9), base="tiny", private=False)
    assert [one.exchange_id for one in built.examples] == [held]
    assert set(built.left_out) == {last}


def test_parts_come_out_at_seventy_ten_twenty() -> None:
    parts = [part_of(f"conversation {n}") for n in range(5000)]
    assert parts.count("holdout") / 5000 == pytest.approx(0.2, abs=0.02)
    assert parts.count("validation") / 5000 == pytest.approx(0.1, abs=0.02)


def test_too_few_liked_replies_are_refused_with_the_numbers() -> None:
    with pytest.raises(NothingToLearn, match=r"0 liked replies to train on, 4 needed .1 rated"):
        require_enough(made([exchange(1)], set()), 4)


def snapshot() -> Snapshot:
    return Snapshot("tiny", made([exchange(1), exchange(2)]), (BaseReply((1,), (2, 0)),), ())


def test_a_snapshot_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    write_snapshot(tmp_path / "run", snapshot())
    assert read_snapshot(tmp_path / "run") == snapshot()
    assert digest(read_snapshot(tmp_path / "run")) == digest(snapshot())


def test_a_changed_or_damaged_snapshot_is_refused(tmp_path: Path) -> None:
    write_snapshot(tmp_path, snapshot())
    file = tmp_path / "snapshot.json"
    file.write_text(file.read_text().replace('"weight":1.0', '"weight":2.0'))
    with pytest.raises(LearningError, match="changed"):
        read_snapshot(tmp_path)
    file.write_text("{")
    with pytest.raises(LearningError, match="cannot be read"):
        read_snapshot(tmp_path)


class Parrot:
    """An engine's stream that is busy once; even prompts end, prompt 4 by a stop text."""

    info = SimpleNamespace(end_ids=(0,))

    def __init__(self) -> None:
        self.asked: list[Request] = []

    async def stream(self, request: Request) -> AsyncIterator[Delta]:
        self.asked.append(request)
        if len(self.asked) == 1:
            raise Busy(0.0)
        (prompt,) = request.prompt_ids
        yield Delta((prompt,), "a")
        yield Delta((0 if prompt < 4 else 9,), "", "stop" if prompt % 2 == 0 else "length")


async def test_base_replies_are_seeded_limited_and_whole() -> None:
    parrot = Parrot()
    prompts = [(n,) for n in range(6)]
    found = await base_replies(parrot, prompts, Sampling(), 7, 5)  # type: ignore[arg-type]  # only streams
    assert found == tuple(BaseReply((n,), (n, 0)) for n in (0, 2))
    assert {one.adapter for one in parrot.asked} == {BASE}
    assert {one.sampling.seed for one in parrot.asked} == set(range(7, 12))
