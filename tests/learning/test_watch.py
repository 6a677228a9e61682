from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from bot.types import Vote, VoteValue
from learning.watch.comparison import evidence, rated_otherwise, weigh, worse
from learning.watch.health import Health, is_sick
from tests.learning.rated import vote

ERROR = 0.05


def said(likes: int, dislikes: int, *, of: str = "p", raters: int = 0) -> list[Vote]:
    """So many votes, each of another person, or of `raters` people in turn."""
    values: list[VoteValue] = [1] * likes + [-1] * dislikes
    return [
        vote(at, value, rater=f"{of}{at % raters if raters else at}")
        for at, value in enumerate(values)
    ]


def lives(rate: float, *, seed: int, number: int, votes: int, every: int) -> list[int]:
    """At which vote each of `number` versions liked at `rate`, after .62 of 300, is called worse.

    0 where it never is. Everybody votes once.
    """
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(number):
        record = int(rng.binomial(300, 0.62))
        likes = np.cumsum(rng.random(votes) < rate)
        for now in range(every, votes + 1, every):
            up = int(likes[now - 1])
            raters = {(1, 0, 0, 0): record, (0, 1, 0, 0): 300 - record,
                      (0, 0, 1, 0): up, (0, 0, 0, 1): now - up}
            if weigh(raters) >= 1 / (0.8 * ERROR):
                found.append(now)
                break
        else:
            found.append(0)
    return found


def test_a_version_liked_as_much_is_hardly_ever_called_worse_however_often_one_looks() -> None:
    assert sum(map(bool, lives(0.62, seed=1, number=100, votes=500, every=10))) <= 5


def test_a_clear_fall_is_seen_within_sixty_votes() -> None:
    seen = lives(0.42, seed=2, number=41, votes=200, every=5)
    assert np.median([at or 201 for at in seen]) <= 60


def test_the_evidence_is_none_before_there_are_votes_on_both() -> None:
    assert evidence([], []) == 1.0
    assert evidence(said(60, 30), []) == pytest.approx(1.0)


def test_a_short_record_proves_less_than_a_long_one() -> None:
    fallen = said(15, 35, of="new")
    short, long = (evidence(said(6 * times, 4 * times), fallen) for times in (1, 40))
    assert short < 5 < 25 < long


def test_nobody_brings_down_a_version_alone_however_often_they_vote() -> None:
    record = said(62, 38)
    hater = [vote(at, -1, rater="p0") for at in range(200)]
    others = said(12, 8, of="new")
    assert worse(record, [], others + hater, ERROR) == ""
    crowd = said(0, 40, of="many")
    assert worse(record, [], others + crowd, ERROR) == "record"


def test_who_dislikes_everything_says_hardly_anything_about_the_new_version() -> None:
    # Ten people who like all and ten who like nothing; of the new version the latter see more.
    record = said(100, 0, of="glad", raters=10) + said(0, 60, of="sour", raters=10)
    now = said(20, 0, of="glad", raters=10) + said(0, 60, of="sour", raters=10)
    assert evidence(record, now) < 5
    strangers = said(20, 60, of="new")
    assert evidence(said(100, 60), strangers) > 1000


def test_the_live_channels_see_a_loss_that_the_record_does_not_know() -> None:
    live, now = said(80, 20, of="live"), said(40, 60, of="new")
    assert worse(said(4, 6), live, now, ERROR) == "live"


def test_a_bad_season_is_not_held_against_the_new_version() -> None:
    record, now = said(186, 114), said(40, 60, of="new")
    assert worse(record, [], now, ERROR) == "record"
    assert worse(record, said(4, 8, of="live"), now, ERROR) == ""
    assert worse(record, said(8, 4, of="live"), now, ERROR) == "record"


def test_a_version_that_is_liked_more_is_never_called_worse() -> None:
    assert evidence(said(30, 60), said(80, 10, of="new")) < 1


@pytest.mark.parametrize("now", [(0, 200), (60, 200)])
def test_ratings_that_become_rarer_or_more_frequent_are_noticed(now: tuple[int, int]) -> None:
    assert rated_otherwise((20, 200), now) > 1 / ERROR
    assert rated_otherwise((20, 200), (18, 200)) < 1


def ids(text: Sequence[int], times: int = 1) -> list[int]:
    return list(text) * times


@pytest.mark.parametrize(
    ("finish", "text", "reply", "sick"),
    [
        ("stop", "hello", range(20), False),
        ("stop", "  \n", (0,), True),
        ("error", "half a", (1, 2), True),
        ("length", "and so on", range(100), False),
        ("length", "so so so", ids((5, 6, 7), 30), True),
        ("stop", "so so so", ids((5, 6, 7), 30), False),
        ("timeout", "and so on", range(100), True),
        ("expired", "", (), False),
        ("cancelled", "", (), False),
    ],
)
def test_empty_endless_late_and_failed_replies_are_sick(
    finish: str, text: str, reply: Sequence[int], sick: bool
) -> None:
    assert is_sick(finish, text, reply) is sick  # type: ignore[arg-type]


def sick(health: Health, version: str, *replies: bool) -> None:
    for reply in replies:
        health.note(version, reply)


def test_one_odd_reply_is_no_illness_and_two_close_together_are() -> None:
    health = Health()
    sick(health, "old", *[False] * 100)
    sick(health, "new", True, *[False] * 9)
    assert not health.ill("new", "old", 2)
    sick(health, "new", False, True)  # the odd one is long ago
    assert not health.ill("new", "old", 2)
    sick(health, "new", True)
    assert health.ill("new", "old", 2)
    assert health.sentence("new", "old") == (
        "2 of its last 10 replies were empty, endless, out of time or failed, "
        "against 0 of 100 before"
    )


def test_what_was_usual_before_is_no_illness() -> None:
    health = Health()
    sick(health, "old", True, *[False] * 99)
    sick(health, "new", True, True)
    assert not health.ill("new", "old", 2)
    sick(health, "new", True)
    assert health.ill("new", "old", 2)


def test_what_was_usual_before_is_told_by_the_last_hundred_replies() -> None:
    health = Health()
    sick(health, "old", True, *[False] * 100)
    sick(health, "new", True, True)
    assert health.ill("new", "old", 2)
