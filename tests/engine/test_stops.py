"""A reply ends before its stop texts, and nobody is shown a part of one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bot.engine.base import Delta, Request
from bot.engine.detokenise import Detokeniser
from bot.engine.local import LocalEngine
from bot.engine.stops import Stops
from bot.engine.template import ChatTemplate
from bot.types import Sampling
from tests.engine.conftest import Start
from tests.engine.tiny import collect, ids_of, make_tokenizer, prompt_ids, reply

SAYING = Sampling(2.0, top_p=1.0, max_tokens=40, min_tokens=40, seed=3)


def shown(text: str, stops: Sequence[str], cuts: Sequence[int] = ()) -> list[str]:
    """The pieces that are shown of a text that comes in pieces cut at these places."""
    places = [0, *cuts, len(text)]
    pieces = [text[one:two] for one, two in itertools.pairwise(places)]
    growing = Stops(Detokeniser(lambda ids: "".join(pieces[one] for one in ids)), stops)
    said = []
    for number in range(len(pieces)):
        said.append(growing.add(number))
        if growing.stopped:
            return said
    return [*said, growing.finish()]


@pytest.mark.parametrize(
    ("text", "stops", "wanted"),
    [
        ("one two three", ("two",), "one "),
        ("one two three", ("four",), "one two three"),
        ("one two three", ("e t", "two", "three"), "on"),
        ("aabaabaac", ("aabaac",), "aab"),
        ("aaab", ("aab",), "a"),
        ("abc", ("abc", "b"), "a"),
        ("xabcd", ("bcd", "abc"), "x"),
        ("xabc", ("c", "bc", "abc"), "x"),
        ("stop", ("stop",), ""),
        ("sto", ("stop",), "sto"),
        ("naïve 😀 café", ("😀",), "naïve "),
    ],
)
def test_what_is_shown_ends_before_the_first_stop_text_however_the_text_is_cut(
    text: str, stops: tuple[str, ...], wanted: str
) -> None:
    for count in range(4):
        for cuts in itertools.combinations(range(1, len(text)), count):
            assert "".join(shown(text, stops, cuts)) == wanted, cuts
    assert "".join(shown(text, stops, range(1, len(text)))) == wanted


def test_what_may_be_the_beginning_of_a_stop_text_waits_until_it_is_not() -> None:
    assert shown("a\nUser", ("\nUser:",), range(1, 6)) == ["a", "", "", "", "", "", "\nUser"]
    assert shown("a\nUsed", ("\nUser:",), range(1, 6)) == ["a", "", "", "", "", "\nUsed", ""]
    assert shown("\n\nU.", ("\nUs",), range(1, 4)) == ["", "\n", "", "\nU.", ""]


def test_a_character_in_two_tokens_and_a_stop_text_do_not_disturb_each_other() -> None:
    template = ChatTemplate(make_tokenizer())
    ids = template.encode("Käse 😀 läßt")
    for stop, wanted in (("ß", "Käse 😀 lä"), ("😀 l", "Käse "), ("é", "Käse 😀 läßt")):
        growing = Stops(Detokeniser(template.decode), (stop,))
        pieces, places = [], iter(ids)
        while not growing.stopped and (token := next(places, None)) is not None:
            pieces.append(growing.add(token))
        assert "".join([*pieces, growing.finish()]) == wanted
        assert growing.stopped == (stop != "é")


async def said(engine: LocalEngine, sampling: Sampling, key: str = "") -> list[Delta]:
    return await collect(engine.stream(Request(prompt_ids(8), sampling=sampling, cache_key=key)))


def text_of(deltas: Sequence[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


async def test_a_reply_ends_before_a_stop_text_and_its_ids_are_those_that_were_sampled(
    kind: str, folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders[kind])
    whole = await said(engine, SAYING)
    text, ids = text_of(whole), ids_of(whole)
    stops = [text[place : place + 2] for place in range(3, len(text) - 2)]
    stops = [stop for stop in stops if stop.isascii()]  # else half a character of bytes may be one
    assert len(stops) > 5
    for stop in stops:
        cut = await said(engine, replace(SAYING, stop=("never said", stop)))
        assert text_of(cut) == text[: text.index(stop)]
        assert cut[-1].finish == "stop"
        kept = ids_of(cut)
        assert kept == ids[: len(kept)]
        assert stop in engine.template.decode(kept)
        assert stop not in engine.template.decode(kept[:-1])
        assert cut[-1].timings is not None
        assert cut[-1].timings.reply_tokens == len(kept)


async def test_a_stop_text_that_is_not_said_changes_nothing_but_when_text_is_shown(
    folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders["llama"])
    whole = await said(engine, SAYING)
    text = text_of(whole)
    for stop in (text[-4:] + "!", f"{text[:-1]}!", "never said"):
        kept = await said(engine, replace(SAYING, stop=(stop,)))
        assert text_of(kept) == text
        assert ids_of(kept) == ids_of(whole)
        assert kept[-1].finish == whole[-1].finish


async def test_what_is_kept_of_a_stopped_reply_is_what_was_sampled(
    folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders["llama"])
    whole = await said(engine, SAYING)
    stop = text_of(whole)[6:8]
    cut = await said(engine, replace(SAYING, stop=(stop,)), key="room")
    longer = [*prompt_ids(8), *ids_of(cut), *prompt_ids(5, 1)]
    before = engine.stats().reused_tokens
    again = await reply(engine, longer, key="room")
    # All but the last id, which no step has read.
    assert engine.stats().reused_tokens - before == 8 + len(ids_of(cut)) - 1
    assert again == await reply(engine, longer)
