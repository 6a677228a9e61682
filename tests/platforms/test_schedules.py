"""The schedules of the other tests: the same for the same seed, and such as people are."""

from __future__ import annotations

import pytest

from tests.platforms.schedules import FLEET, Ask, Clear, React, fleets, named, schedule

SEEDS = range(100)


def test_a_schedule_asks_up_to_four_questions_and_signs_only_what_was_asked() -> None:
    for seed in SEEDS:
        asked = 0
        for step in schedule(seed):
            asked += isinstance(step, Ask)
            assert not isinstance(step, React | Clear) or step.reply < asked, seed
        assert 2 <= asked <= 4, seed


def test_nobody_leaves_two_signs_under_a_reply_or_takes_back_what_is_not_there() -> None:
    for seed in SEEDS:
        standing: dict[tuple[int, int], int] = {}
        for step in schedule(seed):
            if isinstance(step, Clear):
                standing = {key: sign for key, sign in standing.items() if key[0] != step.reply}
            elif isinstance(step, React) and step.given:
                assert (step.reply, step.person) not in standing, seed
                standing[step.reply, step.person] = step.value
            elif isinstance(step, React):
                assert standing.pop((step.reply, step.person)) == step.value, seed


def test_a_schedule_is_the_same_for_the_same_seed_and_no_other() -> None:
    assert [schedule(seed) for seed in SEEDS] == [schedule(seed) for seed in SEEDS]
    assert len({schedule(seed) for seed in SEEDS}) == len(SEEDS)


def test_as_many_are_played_as_asked_for_or_one_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAPPORT_SCHEDULES", str(2 * FLEET + 3))
    assert [len(seeds) for seeds in fleets()] == [FLEET, FLEET, 3]
    monkeypatch.setenv("RAPPORT_SCHEDULES", "137-137")
    assert [named(seeds) for seeds in fleets()] == ["137-137"]
