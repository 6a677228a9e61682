"""People who compare two versions without knowing which is which, and what that comes to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.config import EngineConfig
from bot.engine.local import LocalEngine
from bot.store import Judgement, Store
from bot.types import BASE, Sampling, Turn
from learning.judging.pairs import Pair, Plan, digest, drawn, luck, swapped
from learning.judging.session import Better, Sitting, Word, compare
from learning.judging.tally import QUESTIONS, Tally, comparison, comparisons
from learning.registry import Registry
from learning.reports.difference import difference, sections
from learning.reports.document import as_json, as_markdown
from learning.reports.record import record_of
from tests.engine.tiny import load, make_adapter, make_model
from tests.learning.records import make_version

NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)
SLOTS = EngineConfig(adapter_rank=4, rows=4, adapter_slots=2)
PROMPTS = tuple((Turn("user", f"How is the weather in place {n}?"),) for n in range(6))


def plan(**changes: object) -> Plan:
    made = Plan("v0001", BASE, PROMPTS, Sampling(temperature=1.0, max_tokens=8), "Be kind.", 5)
    return replace(made, **changes)  # type: ignore[arg-type]  # tests change any field


def said(
    value: int, prompt: str = "p", question: str = "fluency", judge: str = "console/ann",
    one: str = "v0003", other: str = "v0007", asked: bool = True,
) -> Judgement:
    return Judgement(one, other, judge, prompt, 0, question, value, asked, NOON)


# What it comes to


@pytest.mark.parametrize(
    ("wins", "losses", "chance"), [(0, 0, 1.0), (5, 5, 1.0), (15, 5, 0.0414), (5, 15, 0.0414)]
)
def test_the_sign_test_is_the_exact_one_of_both_sides(
    wins: int, losses: int, chance: float
) -> None:
    assert Tally("", wins, 7, losses).chance == pytest.approx(chance, abs=5e-5)


def test_a_win_is_one_whichever_of_the_two_was_named_first() -> None:
    given = [said(1, "a"), said(-1, "b", one="v0007", other="v0003"), said(0, "c"), said(-1, "d")]
    fluency = comparison(given, "v0003", "v0007").questions[list(QUESTIONS).index("fluency")]
    assert (fluency.wins, fluency.ties, fluency.losses) == (2, 1, 1)
    other = comparison(given, "v0007", "v0003").questions[list(QUESTIONS).index("fluency")]
    assert (other.wins, other.ties, other.losses) == (1, 1, 2)


def test_a_prompt_counts_once_however_many_people_judge_it() -> None:
    given = [said(1, judge=f"console/{n}") for n in range(9)]
    found = comparison([*given, said(-1, judge="console/bob")], "v0003", "v0007")
    assert (found.judges, found.prompts, found.overall.decided) == (10, 1, 1)


def test_the_last_word_of_a_person_counts() -> None:
    found = comparison([said(1), said(-1)], "v0003", "v0007")
    assert (found.overall.wins, found.overall.losses) == (0, 1)


def test_overall_is_by_all_answers_on_a_prompt_together() -> None:
    given = [said(value, question=question)
             for question, value in zip(QUESTIONS, (1, -1, 0, -1), strict=True)]
    found = comparison(given, "v0003", "v0007")
    assert (found.overall.wins, found.overall.ties, found.overall.losses) == (0, 0, 1)
    assert [one.wins for one in found.questions] == [1, 0, 0, 0]


def test_the_sentence_says_how_sure_it_is() -> None:
    many = [said(1 if n < 15 else -1, str(n)) for n in range(20)]
    assert comparison(many, "v0003", "v0007").sentence() == (
        "People find v0003 better than v0007: v0003 is better on 15, v0007 on 5 of 20 prompts "
        "(luck alone does as much in 4 % of such tests)."
    )
    assert comparison(many, "v0007", "v0003").sentence().startswith(
        "People find v0003 better than v0007: v0007 is better on 5,"
    )
    few = comparison(many[:4], "v0003", "v0007")
    assert few.sentence().startswith("It is open which of the two people like better: v0003 is")
    assert few.lines()[-1] == (
        "Where one was better, it was v0003 in 100 % (with 95 % certainty between 51 % and 100 %)."
    )
    same = comparison([said(0, asked=False)], "v0003", "v0007")
    assert same.sentence() == (
        "People see no difference between v0003 and v0007: on 1 prompt neither is better."
    )
    assert same.lines() == ["1 person judged.", "On 1 prompt both said the same: ties."]
    assert comparison([], "v0003", BASE).sentence() == (
        "Nobody has compared v0003 with the base model yet."
    )


def test_a_version_stands_beside_each_it_was_compared_with() -> None:
    given = [said(1), said(1, one=BASE, other="v0003")]
    assert [(one.other, one.overall.wins) for one in comparisons(given, "v0003")] == [
        (BASE, 0), ("v0007", 1),
    ]  # fmt: skip


# Pairs


def test_the_side_and_the_luck_of_a_prompt_follow_from_its_words_and_the_seed() -> None:
    many = [(Turn("user", str(n)),) for n in range(200)]
    sides = [swapped(plan(), one) for one in many]
    assert 60 < sum(sides) < 140
    assert sides == [swapped(plan(prompts=()), one) for one in many]
    assert sides != [swapped(plan(seed=6), one) for one in many]
    assert len({luck(5, one) for one in many}) == 200
    assert luck(5, many[0]) != luck(6, many[0])


def test_a_side_means_the_version_that_stands_there() -> None:
    pair = Pair(PROMPTS[0], "hers", "his", swapped=False)
    assert (pair.left, pair.right) == ("hers", "his")
    assert [pair.value(side) for side in ("left", "right", "tie")] == [1, -1, 0]
    turned = replace(pair, swapped=True)
    assert (turned.left, turned.right) == ("his", "hers")
    assert [turned.value(side) for side in ("left", "right", "tie")] == [-1, 1, 0]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
async def engine(model: Path, tmp_path: Path) -> AsyncIterator[LocalEngine]:
    made = LocalEngine(load(model, SLOTS), SLOTS, 0.25)
    await made.load("v0001", make_adapter(model, tmp_path / "adapter", 1))
    yield made
    await made.close()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await Store.open(tmp_path / "data") as opened:
        yield opened


async def test_both_versions_answer_every_prompt_with_the_same_luck(engine: LocalEngine) -> None:
    twice = [[pair async for pair in drawn(engine, plan())] for _ in range(2)]
    assert twice[0] == twice[1]
    pairs = [pair for pair in twice[0] if pair is not None]
    assert [pair.messages for pair in pairs] == list(PROMPTS)
    assert not any(pair.same for pair in pairs)
    alike = [pair async for pair in drawn(engine, plan(other="v0001"))]
    assert all(pair is not None and pair.same for pair in alike)
    assert [pair and pair.one for pair in alike] == [pair.one for pair in pairs]


async def test_what_is_drawn_does_not_depend_on_the_place_of_a_prompt(engine: LocalEngine) -> None:
    forth = [pair async for pair in drawn(engine, plan())]
    back = [pair async for pair in drawn(engine, plan(prompts=PROMPTS[::-1]))]
    assert back == forth[::-1]


async def test_a_prompt_that_is_too_long_is_none(engine: LocalEngine) -> None:
    long = (Turn("user", "word " * 20_000),)
    pairs = [pair async for pair in drawn(engine, plan(prompts=(long, PROMPTS[0])))]
    assert pairs[0] is None and pairs[1] is not None


# A sitting


class Scripted:
    """Says these words in turn, and looks at each time what is in the store."""

    def __init__(self, store: Store, *words: Word) -> None:
        self.words = list(words)
        self.shown: list[Pair] = []
        self.asked: list[str] = []
        self.kept: list[int] = []
        self._store = store

    def show(self, pair: Pair, number: int, of: int) -> None:
        self.shown.append(pair)

    async def better(self, question: str) -> Word:
        self.asked.append(question)
        self.kept.append(len(await self._store.judgements_of("v0001")))
        return self.words.pop(0)


async def sit(
    engine: LocalEngine, store: Store, *words: Word, judge: str = "console/ann", **changes: object
) -> tuple[Sitting, Scripted]:
    person = Scripted(store, *words)
    return await compare(engine, store, plan(**changes), judge, person, lambda: NOON), person


LEFT, RIGHT, TIE = Better("left"), Better("right"), Better("tie")
ALL_LEFT = Better("left", rest=True)


async def test_every_answer_is_in_the_store_before_the_next_is_asked_for(
    engine: LocalEngine, store: Store
) -> None:
    sitting, person = await sit(engine, store, LEFT, RIGHT, TIE, LEFT, ALL_LEFT, "quit")
    assert person.kept == [0, 1, 2, 3, 4, 8]
    assert person.asked == [*QUESTIONS, "relevance", "relevance"]
    first = sitting.judged[0]
    sign = -1 if first.pair.swapped else 1
    assert first.values == dict(zip(QUESTIONS, (sign, -sign, 0, sign), strict=True))
    assert sitting.left
    kept = await store.judgements_of("v0001")
    assert [one.value for one in kept[:4]] == list(first.values.values())
    assert {(one.judge, one.seed, one.asked) for one in kept} == {("console/ann", 5, True)}
    assert kept[0].prompt == digest(PROMPTS[0])


async def test_a_sitting_goes_on_where_it_was_left(engine: LocalEngine, store: Store) -> None:
    _, before = await sit(engine, store, LEFT, "skip", LEFT, LEFT, "quit")
    assert len(before.shown) == 2
    sitting, after = await sit(engine, store, *[ALL_LEFT] * 6)
    assert after.asked[:2] == ["diversity", "fluency"]
    assert after.shown[:2] == before.shown
    assert (sitting.before, len(sitting.judged), sitting.left) == (0, 6, False)
    assert len(await store.judgements_of("v0001")) == 4 * len(PROMPTS)
    again, person = await sit(engine, store)
    assert (again.before, again.judged, person.asked) == (6, (), [])
    _, another = await sit(engine, store, "quit", judge="console/bob")
    assert another.asked == ["relevance"]
    _, anew = await sit(engine, store, "quit", seed=6)
    assert anew.asked == ["relevance"]


async def test_replies_that_are_the_same_are_ties_without_asking(
    engine: LocalEngine, store: Store, model: Path, tmp_path: Path
) -> None:
    await engine.load("v0002", make_adapter(model, tmp_path / "twin", 1))
    sitting, person = await sit(engine, store, other="v0002")
    assert person.shown == []
    assert len(sitting.judged) == len(PROMPTS)
    kept = await store.judgements_of("v0002")
    assert len(kept) == 4 * len(PROMPTS)
    assert {(one.value, one.asked) for one in kept} == {(0, False)}
    assert comparison(kept, "v0001", "v0002").same == len(PROMPTS)


# In the reports


async def test_a_report_and_a_difference_tell_what_people_found(
    store: Store, tmp_path: Path
) -> None:
    registry = Registry(tmp_path / "adapters")
    for name in ("v0003", "v0007"):
        await make_version(store, registry, name)
    records = [await record_of(store, registry, name) for name in ("v0003", "v0007")]
    assert "which is which" not in as_markdown(records[0])
    assert not any("Blind" in one.title for one in sections(difference(*records, ())))
    await store.add_judgements([said(1, str(n)) for n in range(9)])
    records = [await record_of(store, registry, name) for name in ("v0003", "v0007")]
    for record in records:
        assert "**People find v0003 better than v0007: " in as_markdown(record)
    assert "| fluency | 0 | 0 | 9 | less than 1 % |" in as_markdown(records[1])
    assert '"sentence": "People find v0003 better than v0007' in as_json(records[0])
    found = next(
        one for one in sections(difference(*records, ())) if one.title.startswith("Blind: People")
    )
    assert found.columns[1:4] == ("v0003 better", "as good", "v0007 better")
    assert ("fluency", "9", "0", "0", "less than 1 %") in found.rows
