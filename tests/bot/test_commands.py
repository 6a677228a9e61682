"""Commands: found in a line, done once, answered in blocks."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from bot.commands import HELP, Answer, Asker, Command, Commands, Table, parse, version_name
from bot.config import Config, PermissionsConfig
from bot.engine.base import Request
from bot.engine.local import LocalEngine
from bot.errors import LearningError, RapportError
from bot.learning_port import Asked, Learning, LearningStatus, Report, ReportCheck, RunningStage
from bot.people import People
from bot.store import Store
from bot.types import BASE, AdapterRef, ChannelKey
from tests.bot.conftest import CHANNEL, NOON, Talk, ask
from tests.engine.tiny import GREEDY, Clock, held_up, load

OWNER = Asker(CHANNEL, "ada", "terminal", operator=True)
GUEST = Asker(CHANNEL, "bob", "terminal")


REPORT = Report(
    "v0003", BASE, "promote", "waiting", "Promoted: all 2 checks passed.",
    (ReportCheck("learned", True, "It moved +0.2."), ReportCheck("ends", False, "50% end.")),
    (("Hello", "Hm.", "Hello!\nHow are you?"),), b"picture",
)  # fmt: skip


class Pupil:
    """A learning half that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.now = LearningStatus(BASE, 3)
        self.exported = 10

    def current(self, channel: ChannelKey) -> str:
        return BASE

    async def retrain(self) -> Asked:
        raise LearningError("learning is paused;\nresume it first")

    async def cancel(self) -> str:
        return "cancelled"

    async def status(self) -> LearningStatus:
        return self.now

    async def adapters(self) -> list[AdapterRef]:
        return [AdapterRef("v0001", "champion", NOON, "better by far")]

    async def try_version(self, channel: ChannelKey, name: str | None) -> str:
        self.asked.append(("try", channel, name))
        return "tried"

    async def rollback(self, to: str | None = None) -> str:
        self.asked.append(("rollback", to))
        return "rolled back"

    async def report(self, name: str | None = None) -> Report:
        self.asked.append(("report", name))
        return REPORT

    async def approve(self, name: str) -> str:
        self.asked.append(("approve", name))
        return "approved"

    async def veto(self, name: str) -> str:
        self.asked.append(("veto", name))
        return "turned away"

    async def promote(self, name: str) -> str:
        self.asked.append(("promote", name))
        return "serves"

    async def ban(self, rater: str, by: str) -> str:
        self.asked.append(("ban", rater, by))
        return "banned"

    async def unban(self, rater: str, by: str) -> str:
        self.asked.append(("unban", rater, by))
        return "banned no more"

    async def forget(self, exchanges: Collection[int]) -> str:
        self.asked.append(("forget", *exchanges))
        return "No version was trained on that."

    async def export(self, form: str) -> str:
        self.asked.append(("export", form))
        return "x" * self.exported

    async def pause(self) -> str:
        return "paused"

    async def resume(self) -> str:
        return "resumed"


@pytest.fixture
def pupil() -> Pupil:
    return Pupil()


def commands_of(talk: Talk, store: Store, engine: LocalEngine, pupil: Pupil) -> Commands:
    """Commands over a conversation of their own."""
    conversation = talk()
    learning = cast(Learning, pupil)  # what is used of it
    people = People(store, Config(), conversation=conversation, learning=learning)
    return Commands(conversation, store, engine, learning, people)


@pytest.fixture
def commands(talk: Talk, store: Store, engine: LocalEngine, pupil: Pupil) -> Commands:
    return commands_of(talk, store, engine, pupil)


async def done(commands: Commands, line: str, asker: Asker = OWNER) -> Answer:
    command = parse(line)
    assert command is not None
    return await commands.run(command, asker)


def text_of(answer: Answer) -> str:
    parts = []
    for block in answer.blocks:
        if isinstance(block, Table):
            parts += [" ".join(row) for row in block.rows]
        else:
            parts.append(block.text)
    return "\n".join(parts)


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("/up", Command("up")),
        ("  /Learn  try v3 ", Command("learn", "try v3")),
        ("/persona Be kind.\nAnd brief.", Command("persona", "Be kind.\nAnd brief.")),
        ("/usr/bin is a folder", None),
        ("/ up", None),
        ("up", None),
        ("half / half", None),
    ],
)
def test_a_command_is_told_from_something_said(line: str, command: Command | None) -> None:
    assert parse(line) == command


@pytest.mark.parametrize(
    ("line", "hint"),
    [("/rest", "/reset"), ("/lern", "/learn"), ("/learn retrian", "/learn retrain"),
     ("/xyzzy", "/help")],
)  # fmt: skip
async def test_an_unknown_command_names_the_nearest(
    commands: Commands, line: str, hint: str
) -> None:
    assert hint in text_of(await done(commands, line))


@pytest.mark.parametrize(("line", "value"), [("/up", 1), ("/down", -1)])
async def test_a_thumb_rates_the_last_reply(
    commands: Commands, store: Store, line: str, value: int
) -> None:
    reply = await ask(commands._conversation, "Hello")
    answer = await done(commands, line)
    (vote,) = await store.current_votes()
    assert answer.vote == vote
    assert (vote.exchange_id, vote.rater, vote.value) == (reply.exchange_id, "ada", value)


async def test_an_earlier_reply_can_be_rated_by_its_number(
    commands: Commands, store: Store
) -> None:
    first = await ask(commands._conversation, "Hello")
    await ask(commands._conversation, "And?")
    await done(commands, f"/down #{first.exchange_id}")
    (vote,) = await store.current_votes()
    assert vote.exchange_id == first.exchange_id


@pytest.mark.parametrize("line", ["/up", "/why", "/undo", "/up nonsense", "/up 99", "/up ²"])
async def test_what_cannot_be_rated_is_said_in_one_line(commands: Commands, line: str) -> None:
    answer = text_of(await done(commands, line))
    assert answer
    assert "\n" not in answer


async def test_undo_takes_back_the_last_vote_also_after_a_restart(
    commands: Commands, store: Store, talk: Talk, engine: LocalEngine, pupil: Pupil
) -> None:
    await ask(commands._conversation, "Hello")
    await done(commands, "/up")
    fresh = commands_of(talk, store, engine, pupil)
    assert "no vote of yours" in text_of(await done(fresh, "/undo", GUEST))
    assert (await done(fresh, "/undo")).vote is not None
    assert await store.current_votes() == []
    assert "no vote of yours" in text_of(await done(fresh, "/undo"))


async def test_why_shows_the_version_the_settings_and_what_the_model_saw(
    commands: Commands,
) -> None:
    await ask(commands._conversation, "Hello there")
    await done(commands, "/up")
    told = text_of(await done(commands, "/why"))
    for part in ("version base", "temperature 0", "Be kind.", "Hello there", "1 👍, 0 👎",
                 "s to its first token, then", "ms a token"):
        assert part in told


async def test_why_says_of_how_many_a_reply_is_the_best(commands: Commands, store: Store) -> None:
    await ask(commands._conversation, "Hello there")
    assert "the best of" not in text_of(await done(commands, "/why"))
    (plain,) = await store.exchanges([1])
    chosen = replace(plain, timings=replace(plain.timings, drawn=5), id=0)
    key = await store.add_exchange(chosen)
    assert "s, the best of 5" in text_of(await done(commands, f"/why {key}"))


async def test_persona_shows_changes_and_returns(commands: Commands) -> None:
    assert text_of(await done(commands, "/persona")) == "Be kind."
    await done(commands, "/persona Be brief.")
    assert text_of(await done(commands, "/persona")) == "Be brief."
    assert "Be kind." in text_of(await done(commands, "/persona default"))


async def test_status_tells_how_long_people_wait_once_they_have(
    talk: Talk, store: Store, folder: Path, config: Config, pupil: Pupil
) -> None:
    engine = LocalEngine(load(folder, config.engine), config.engine, 0.25)
    commands = commands_of(talk, store, engine, pupil)
    before = text_of(await done(commands, "/status"))
    async for _ in engine.stream(Request([5, 6, 7], sampling=GREEDY, tenant="a")):
        pass
    after = text_of(await done(commands, "/status"))
    await engine.close()
    assert before.count("nothing said yet") == 2
    assert re.search(r"first token half within [\d.]+ s, 95% within [\d.]+ s", after)
    assert re.search(r"each token half within [\d.]+ s, 95% within [\d.]+ s", after)


async def test_status_tells_of_an_engine_that_hangs(
    talk: Talk, store: Store, folder: Path, config: Config, pupil: Pupil
) -> None:
    clock = Clock()
    engine = LocalEngine(load(folder, config.engine), config.engine, 0.25, clock)
    commands = commands_of(talk, store, engine, pupil)
    async with held_up(engine):
        clock.now += config.engine.watchdog_seconds + 15.0
        hung = text_of(await done(commands, "/status"))
    well = text_of(await done(commands, "/status"))
    await engine.close()
    assert "the engine has not moved for 75 s" in hung
    assert "moved" not in well


async def test_status_and_learn_status_tell_how_things_stand(
    commands: Commands, pupil: Pupil
) -> None:
    assert "waiting" in text_of(await done(commands, "/status"))
    pupil.now = LearningStatus(
        "v0001", 5, RunningStage(2, "v0002", "training", 0.5, 12.0), queued=True,
        verdict="v0001: better", watched="v0001 is watched: 14 of 20 liked",
    )
    told = text_of(await done(commands, "/learn status"))
    for part in ("v0001", "run 2: training v0002 50%", "12 s left", "another run", "better",
                 "is watched: 14 of 20"):
        assert part in told


async def test_learn_passes_on_what_operators_ask(commands: Commands, pupil: Pupil) -> None:
    for line in ("/learn try v3", "/learn try none", "/learn rollback", "/learn rollback V02",
                 "/learn rollback base", "/learn report", "/learn report 3", "/learn approve v3",
                 "/learn veto v3", "/learn promote v3", "/learn ban <@!42>",
                 "/learn ban <@U42|eve>", "/learn unban @eve"):  # fmt: skip
        await done(commands, line)
    assert pupil.asked == [
        ("try", CHANNEL, "v0003"), ("try", CHANNEL, None), ("rollback", None),
        ("rollback", "v0002"), ("rollback", "base"), ("report", None), ("report", "v0003"),
        ("approve", "v0003"), ("veto", "v0003"), ("promote", "v0003"),
        ("ban", "42", "console/ada"), ("ban", "U42", "console/ada"),
        ("unban", "eve", "console/ada"),
    ]  # fmt: skip


async def test_learn_belongs_to_operators(commands: Commands, pupil: Pupil) -> None:
    for line in ("/learn rollback", "/learn", "/learn try v1", "/learn approve v1",
                 "/learn veto v1", "/learn report", "/learn promote v1",
                 "/learn ban ann"):  # fmt: skip
        assert "operators" in text_of(await done(commands, line, GUEST))
    assert pupil.asked == []
    assert "/learn" not in text_of(await done(commands, "/help", GUEST))


async def test_a_report_says_the_verdict_then_the_checks_then_replies(
    commands: Commands,
) -> None:
    answer = await done(commands, "/learn report v3")
    assert text_of(answer).splitlines() == [
        "v0003: Promoted: all 2 checks passed.",
        "It waits for approval: /learn approve v3 or /learn veto v3. "
        "It was compared with the base model.",
        "✓ learned It moved +0.2.",
        "✗ ends 50% end.",
        "prompt Hello",
        "before Hm.",
        "after Hello! How are you?",
    ]
    assert answer.report == REPORT


@pytest.mark.parametrize("act", ["approve", "veto", "promote"])
async def test_approval_needs_to_know_the_version(
    commands: Commands, pupil: Pupil, act: str
) -> None:
    assert f"/learn {act} v3" in text_of(await done(commands, f"/learn {act}"))
    assert pupil.asked == []


@pytest.mark.parametrize("act", ["ban", "unban"])
async def test_a_ban_needs_to_know_the_person(
    commands: Commands, pupil: Pupil, act: str
) -> None:
    assert f"/learn {act} @ann" in text_of(await done(commands, f"/learn {act}"))
    assert pupil.asked == []


async def test_a_refusal_is_one_line(commands: Commands) -> None:
    told = text_of(await done(commands, "/learn retrain"))
    assert told == "learning is paused; resume it first"


async def test_the_versions_are_listed_with_their_verdicts(commands: Commands) -> None:
    told = text_of(await done(commands, "/learn adapters"))
    assert "v0001 champion 2026-08-01 12:00 – better by far" in told


async def test_help_names_every_command(commands: Commands) -> None:
    told = text_of(await done(commands, "/help"))
    for name in commands._general:
        assert f"/{name}" in told
    for name in commands._lessons.acts:
        assert f"/learn {name}" in told
    assert len(HELP) == len(commands._general) - 1 + len(commands._lessons.acts)


async def test_quit_says_so(commands: Commands) -> None:
    assert (await done(commands, "/quit")).quit


@pytest.mark.parametrize("text", ["latest", "v", "../v0001", "v0001/..", "-1", "v²"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(RapportError, match="not a version"):
        version_name(text)


async def test_who_is_blocked_commands_and_votes_nothing_but_keeps_the_say_over_their_data(
    talk: Talk, store: Store, engine: LocalEngine, pupil: Pupil, config: Config
) -> None:
    permissions = PermissionsConfig.model_validate({"users": {"blocked_ids": ["eve"]}})
    conversation = talk(config.model_copy(update={"permissions": permissions}))
    people = People(store, config, conversation=conversation, learning=cast(Learning, pupil))
    commands = Commands(conversation, store, engine, cast(Learning, pupil), people)
    server = ChannelKey("discord", "g", "c")
    eve = Asker(server, "eve", "command", operator=True, admin=True)

    assert "may not use" in text_of(await done(commands, "/status", eve))
    assert "may not use" not in text_of(await done(commands, "/mydata", eve))
    with pytest.raises(RapportError, match="may not rate"):
        await conversation.ratings.vote(server, 1, "eve", 1, "button")


async def test_an_export_is_a_file_for_the_operator_unless_it_is_too_large(
    commands: Commands, pupil: Pupil
) -> None:
    assert (await done(commands, "/learn export")).file == ("votes.csv", "x" * 10)
    assert (await done(commands, "/learn export DPO")).file == ("votes.jsonl", "x" * 10)
    pupil.exported = 8_000_001
    answer = await done(commands, "/learn export kto")
    assert answer.file is None
    assert "rapport votes export --format kto" in text_of(answer)
    assert pupil.asked == [("export", "csv"), ("export", "dpo"), ("export", "kto")]
