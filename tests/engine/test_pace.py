"""How much of the prompts a step reads follows the time that reading takes."""

from __future__ import annotations

from bot.engine.pace import FIRST_GUESS, LEAST, Pace


def test_a_step_reads_what_the_time_allows() -> None:
    pace = Pace(0.1, most=2048)
    assert pace.tokens() == FIRST_GUESS
    pace.told(200, 0.1)
    assert pace.tokens() == 200
    for _ in range(30):
        pace.told(400, 0.1)
    assert 395 <= pace.tokens() <= 400


def test_what_a_step_takes_anyway_is_not_laid_to_the_prompts() -> None:
    pace = Pace(0.2, most=2048)
    for _ in range(3):
        pace.told(0, 0.03)
    # A thousandth of a second a token: as few as many tell so.
    for tokens in (20, 100, 20):
        pace.told(tokens, 0.03 + tokens * 0.001)
        assert 199 <= pace.tokens() <= 200
    # Prompts take some of a step's time, even of one that was faster than those without.
    for _ in range(50):
        pace.told(100, 0.02)
    assert pace.tokens() == 2048


def test_a_step_reads_a_little_however_slow_it_is_and_no_more_than_memory_allows() -> None:
    pace = Pace(0.2, most=2048)
    pace.told(10, 60.0)
    assert pace.tokens() == LEAST
    fast = Pace(0.2, most=300)
    fast.told(1000, 0.001)
    assert fast.tokens() == 300
    assert Pace(0.2, most=64).tokens() == 64


def test_a_slow_model_may_hold_others_up_for_some_of_its_steps() -> None:
    pace = Pace(0.1, most=2048)
    for _ in range(40):
        pace.told(0, 0.04)
        pace.told(100, 0.04 + 100 * 0.001)
    assert 199 <= pace.tokens() <= 200


def test_a_step_that_holds_nobody_up_reads_more() -> None:
    pace = Pace(0.1, most=2048)
    pace.told(100, 0.1)
    assert 99 <= pace.tokens() <= 100
    assert 399 <= pace.tokens(waited_for=False) <= 400
