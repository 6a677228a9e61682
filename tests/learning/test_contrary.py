"""People whose votes go against what all others like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bot.config import Config, EngineConfig, TasteConfig
from bot.engine.local import LocalEngine
from learning.freezing import prepare
from learning.taste.contrary import contrary, without_contrary
from learning.types import Example
from tests.engine.tiny import load, make_model

RIDGE, ALPHA = 1.0, 0.05


def world(
    people: int, votes: int, contrary_ones: int, seed: int = 0, luck: bool = False
) -> tuple[np.ndarray, list[bool], list[tuple[str, ...]]]:
    """Replies of which one thing is liked; the first people say the contrary of what is so."""
    rng = np.random.default_rng(seed)
    look = rng.normal(size=(people * votes, 40))
    liked, raters = [], []
    for number, row in enumerate(look):
        person = number % people
        likes = bool(rng.random() < 0.5) if luck else bool(row[3] > 0)
        liked.append(likes != (person < contrary_ones))
        raters.append((f"p{person}",))
    return look, liked, raters


@pytest.mark.parametrize("number", [0, 1, 3])
def test_those_who_say_the_contrary_are_found_and_nobody_else(number: int) -> None:
    found = contrary(*world(10, 20, number), RIDGE, ALPHA)
    assert set(found) == {f"p{place}" for place in range(number)}


def test_with_votes_at_random_hardly_anybody_is_found() -> None:
    found = [contrary(*world(10, 12, 0, seed, luck=True), RIDGE, ALPHA) for seed in range(100)]
    assert sum(bool(one) for one in found) <= 10  # 5 of 100 are expected at most


def test_where_so_many_are_contrary_nobody_can_say_who_is() -> None:
    assert contrary(*world(10, 20, 5), RIDGE, ALPHA) == {}
    # Four people who vote often, against six who vote half as often.
    look, liked, raters = world(10, 40, 4)
    kept = [place for place in range(400) if place % 10 < 4 or place < 200]
    some = look[kept], [liked[place] for place in kept], [raters[place] for place in kept]
    assert contrary(*some, RIDGE, ALPHA) == {}


def test_too_few_votes_or_people_find_nobody() -> None:
    assert contrary(*world(10, 2, 3), RIDGE, ALPHA) == {}
    assert contrary(*world(2, 60, 1), RIDGE, ALPHA) == {}
    assert contrary(np.zeros((0, 40)), [], [], RIDGE, ALPHA) == {}


def test_who_has_only_one_kind_of_vote_is_not_contrary() -> None:
    look, liked, raters = world(10, 20, 0)
    liked = [False if some == ("p0",) else like for like, some in zip(liked, raters, strict=True)]
    assert contrary(look, liked, raters, RIDGE, ALPHA) == {}


async def test_a_run_is_without_what_contrary_people_alone_have_rated(tmp_path: Path) -> None:
    config = EngineConfig(rows=4, adapter_rank=4)
    engine = LocalEngine(load(make_model(tmp_path), config), config, 0.25)
    try:
        rng = np.random.default_rng(0)
        examples = []
        for number in range(200):
            ids = tuple(int(one) for one in rng.integers(40, 200, 6))
            liked, person = ids[0] > 120, number % 10
            raters = ("p0", "p5") if number == 190 else (f"p{person}",)
            examples.append(Example(
                number, f"c{number}", "train", (5, 6, 7), (*([ids[0]] * 6), 0),
                liked != (person == 0), 1.0, raters,
            ))  # fmt: skip
        kept, found = await without_contrary(engine, examples, TasteConfig())
        assert set(found) == {"p0"}
        assert {one.exchange_id for one in examples} - {one.exchange_id for one in kept} == {
            number for number in range(0, 200, 10) if number != 190
        }
        settings = Config.model_validate(
            {"learning": {"objective": "sft", "gate": {"anchors": 4}, "sft": {"gauge": 4}}}
        )
        prepared = await prepare(
            engine, settings, engine.info.fingerprint, examples, lambda _: None
        )
        assert (prepared.snapshot.examples, set(prepared.contrary)) == (tuple(kept), {"p0"})
        everybody, nobody = await without_contrary(
            engine, examples, TasteConfig(contrary_alpha=0.0)
        )
        assert (len(everybody), nobody) == (200, {})
    finally:
        await engine.close()
