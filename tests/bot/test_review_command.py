"""/learn review: what waits is shown one after the other, and decided by operators alone."""

from __future__ import annotations

from typing import cast

import pytest

from bot.answers import Answer, Table
from bot.errors import LearningError
from bot.learning_port import Learning, ReviewItem
from bot.lessons import Lessons
from tests.bot.conftest import NOON
from tests.bot.test_commands import GUEST, OWNER, text_of


class Queue:
    """A learning half with some replies that wait."""

    def __init__(self, *waiting: int) -> None:
        self.waiting = list(waiting)
        self.decided: list[tuple[int, bool, str]] = []

    async def review(self) -> list[ReviewItem]:
        return [
            ReviewItem(one, f"question {one}", f"reply\n{one}", (f"evil.example/{one}",),
                       ("ann",), NOON)
            for one in self.waiting
        ]

    async def decide(self, exchange_id: int, keep: bool, by: str) -> str:
        if exchange_id not in self.waiting:
            raise LearningError(f"there is no reply {exchange_id} to decide about")
        self.waiting.remove(exchange_id)
        self.decided.append((exchange_id, keep, by))
        return "decided"


@pytest.fixture
def queue() -> Queue:
    return Queue(4, 7, 9)


@pytest.fixture
def lessons(queue: Queue) -> Lessons:
    # What is used of learning; the store is not asked.
    return Lessons(cast(Learning, queue), cast("None", None))  # type: ignore[arg-type]


async def shown(lessons: Lessons, args: str) -> str:
    return text_of(await lessons.run(OWNER, f"review {args}"))


async def test_the_first_that_waits_is_shown_with_what_is_new_about_it(lessons: Lessons) -> None:
    answer: Answer = await lessons.run(OWNER, "review")
    assert text_of(answer).splitlines() == [
        "1 of 3: reply 4 is not learned from before you have looked at it.",
        "new in it evil.example/4", "question question 4", "reply reply 4", "rated by ann",
        "given 2026-08-01 12:00 UTC",
        "/learn review keep 4 lets it be learned from, /learn review drop 4 never; "
        "/learn review next shows the next one.",
    ]  # fmt: skip
    assert isinstance(answer.blocks[1], Table)


async def test_next_pages_on_and_begins_again_at_the_end(lessons: Lessons) -> None:
    pages = [(await shown(lessons, args)).split(" is not")[0]
             for args in ("", "next", "next", "next", "")]  # fmt: skip
    assert pages == ["1 of 3: reply 4", "2 of 3: reply 7", "3 of 3: reply 9", "1 of 3: reply 4",
                     "1 of 3: reply 4"]  # fmt: skip


async def test_a_decision_is_passed_on_with_who_made_it_and_the_next_one_is_shown(
    lessons: Lessons, queue: Queue
) -> None:
    await shown(lessons, "")
    await shown(lessons, "next")
    told = await shown(lessons, "keep #7")
    assert told.splitlines()[:2] == [
        "decided", "2 of 2: reply 9 is not learned from before you have looked at it."
    ]  # fmt: skip
    assert "1 of 1: reply 4" in await shown(lessons, "Drop 9")
    assert await shown(lessons, "drop 4") == "decided\nNo reply waits for your word."
    assert queue.decided == [(7, True, "console/ada"), (9, False, "console/ada"),
                             (4, False, "console/ada")]  # fmt: skip
    assert await shown(lessons, "") == "No reply waits for your word."


@pytest.mark.parametrize("args", ["keep", "drop twelve", "keep ²", "keep 1234567890123456"])
async def test_a_decision_needs_a_number(lessons: Lessons, queue: Queue, args: str) -> None:
    assert "Which reply?" in await shown(lessons, args)
    assert queue.decided == []


async def test_what_is_not_there_is_an_error_and_other_words_are_refused(
    lessons: Lessons,
) -> None:
    with pytest.raises(LearningError, match="no reply 5"):
        await lessons.run(OWNER, "review keep 5")
    assert "keep NUMBER, drop NUMBER or next" in await shown(lessons, "all")


async def test_only_operators_see_and_decide(lessons: Lessons, queue: Queue) -> None:
    for args in ("", "next", "keep 4", "drop 4"):
        told = text_of(await lessons.run(GUEST, f"review {args}".strip()))
        assert told == "Only the bot's operators can do that."
    assert queue.decided == []
