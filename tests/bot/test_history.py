"""The token log and the window, on the template of a real tokenizer."""

from __future__ import annotations

import random

import pytest

from bot.engine.template import ChatTemplate
from bot.errors import PromptTooLong
from bot.history import ELLIPSIS, ChannelLog, ChannelLogs, Window, clipped, restored
from bot.store import StoredTurn
from bot.types import ChannelKey, Turn
from tests.engine.tiny import WORDS, make_tokenizer

END = 0
PERSONA = "Be kind."


@pytest.fixture(scope="module")
def template() -> ChatTemplate:
    return ChatTemplate(make_tokenizer())


def window(template: ChatTemplate, budget: int = 10_000) -> Window:
    return Window(template, [END], budget)


def replied(window: Window, log: ChannelLog, reply: str, *, ended: bool = True) -> ChannelLog:
    """The log after the model has said `reply` to its question."""
    ids = window._template.encode(reply) + [END] * ended
    return window.prompt(log, PERSONA).answered(reply, ids)


def talked(window: Window, rounds: int) -> ChannelLog:
    log = ChannelLog()
    for n in range(rounds):
        log = replied(window, log.heard("ada", f"question {n}"), f"answer {n}")
    return log


def test_the_next_prompt_begins_with_the_last_one_and_the_very_ids_of_its_reply(
    template: ChatTemplate,
) -> None:
    view = window(template)
    first = view.prompt(ChannelLog().heard("ada", "Hello there"), PERSONA)
    # Ids that no encoder would give for this text: one token for each byte.
    spelled = [template.encode(letter)[0] for letter in "fine"]
    log = first.answered("fine", [*spelled, END])
    second = view.prompt(log.heard("ada", "And you?"), PERSONA)
    assert second.continued
    assert second.ids[: len(first.ids) + 5] == (*first.ids, *spelled, END)


def test_the_log_of_many_round_trips_equals_a_fresh_rendering(template: ChatTemplate) -> None:
    view, rng = window(template), random.Random(3)
    log = ChannelLog()
    for n in range(12):
        log = log.heard("ada", rng.choice(WORDS))
        prompt = view.prompt(log, PERSONA)
        assert prompt.continued == (n > 0)
        assert list(prompt.ids) == template.encode(template.render(prompt.turns))
        log = replied(view, log, rng.choice(WORDS), ended=n % 3 != 0)


def test_a_reply_cut_short_gets_its_end_mark_in_the_next_prompt(template: ChatTemplate) -> None:
    view = window(template)
    log = replied(view, ChannelLog().heard("ada", "Hello"), "I was about to", ended=False)
    prompt = view.prompt(log.heard("ada", "Go on"), PERSONA)
    assert prompt.continued
    assert list(prompt.ids) == template.encode(template.render(prompt.turns))


def test_a_reply_whose_ids_say_more_than_it_is_rendered_anew(template: ChatTemplate) -> None:
    view = window(template)
    log = view.prompt(ChannelLog().heard("ada", "Hello"), PERSONA).answered("Hi", ())
    prompt = view.prompt(log.heard("ada", "Go on"), PERSONA)
    assert not prompt.continued
    assert list(prompt.ids) == template.encode(template.render(prompt.turns))
    assert prompt.turns[-2:] == (Turn("assistant", "Hi"), Turn("user", "Go on"))


def test_a_changed_persona_is_rendered_anew(template: ChatTemplate) -> None:
    view = window(template)
    log = replied(view, ChannelLog().heard("ada", "Hello"), "Hi").heard("ada", "And?")
    prompt = view.prompt(log, "Be brief.")
    assert not prompt.continued
    assert prompt.turns[0] == Turn("system", "Be brief.")
    assert list(prompt.ids) == template.encode(template.render(prompt.turns))


def test_a_reply_that_the_template_would_write_otherwise_is_rendered_anew(
    template: ChatTemplate,
) -> None:
    view = window(template)
    log = replied(view, ChannelLog().heard("ada", "Hello"), "a mark: <|end|> inside")
    prompt = view.prompt(log.heard("ada", "And?"), PERSONA)
    assert not prompt.continued
    assert list(prompt.ids) == template.encode(template.render(prompt.turns))


def test_questions_without_a_reply_join_into_one_turn_with_all_their_authors() -> None:
    log = ChannelLog().heard("ada", "one").heard("bob", "two").heard("ada", "three")
    (line,) = log.lines
    assert (line.content, line.authors) == ("one\ntwo\nthree", ("ada", "bob"))


def test_over_budget_the_oldest_turns_go_until_half_is_left(template: ChatTemplate) -> None:
    generous = window(template)
    log = talked(generous, 20).heard("ada", "question 20")
    whole = len(generous.prompt(log, PERSONA).ids)
    prompt = window(template, whole - 1).prompt(log, PERSONA)
    assert whole // 2 - 40 < len(prompt.ids) <= (whole - 1) // 2
    assert prompt.turns[0] == Turn("system", PERSONA)
    assert prompt.turns[1].role == "user"
    assert prompt.turns[-1] == Turn("user", "question 20")


def test_one_cut_buys_many_prompts_that_continue_the_last(template: ChatTemplate) -> None:
    view = window(template, 300)
    log, continued = ChannelLog(), []
    for n in range(60):
        prompt = view.prompt(log.heard("ada", f"question {n}"), PERSONA)
        assert len(prompt.ids) <= 300
        continued.append(prompt.continued)
        log = prompt.answered(f"answer {n}", [*template.encode(f"answer {n}"), END])
    cuts = continued.count(False)
    assert 2 <= cuts <= 15


def test_a_question_too_long_for_the_window_is_cut_and_says_so(template: ChatTemplate) -> None:
    prompt = window(template, 60).prompt(ChannelLog().heard("ada", "mo on " * 500), PERSONA)
    assert prompt.shortened
    assert 50 < len(prompt.ids) <= 60
    assert prompt.turns[-1].content.endswith(ELLIPSIS)


def test_a_persona_that_leaves_no_room_is_refused_in_a_sentence(template: ChatTemplate) -> None:
    with pytest.raises(PromptTooLong, match="persona leaves no room"):
        window(template, 30).prompt(ChannelLog().heard("ada", "Hello"), "very kind " * 50)


def test_a_log_is_restored_from_stored_turns() -> None:
    turns = [
        StoredTurn("user", "Hello " * 10, "ada", None),
        StoredTurn("assistant", "Hi", None, 1),
        StoredTurn("user", "one", "ada", None),
        StoredTurn("user", "two", "bob", None),
    ]
    log = restored(turns, 20)
    assert [line.content for line in log.lines] == [clipped("Hello " * 10, 20), "Hi", "one\ntwo"]
    assert log.lines[0].content.endswith(ELLIPSIS)
    assert log.ids == ()


def test_a_reply_whose_question_fell_out_of_the_past_is_left_out() -> None:
    turns = [StoredTurn("assistant", "Hi", None, 1), StoredTurn("user", "one", "ada", None)]
    assert [line.role for line in restored(turns, 20).lines] == ["user"]


def test_only_the_channels_that_spoke_last_are_kept_in_memory() -> None:
    logs = ChannelLogs(2)
    a, b, c = (ChannelKey("console", "local", name) for name in "abc")
    logs.put(a, ChannelLog())
    logs.put(b, ChannelLog())
    assert logs.get(a) is not None
    logs.put(c, ChannelLog())
    assert logs.get(b) is None
    assert len(logs) == 2
