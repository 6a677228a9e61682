"""Verdicts as people on Discord and Slack see them, and what their buttons do.

The runs are real; the gate says what the test needs, as it does in the tests of the loop.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import learning.loop
from bot.admission import Admission
from bot.app import App
from bot.commands import Answer, Asker, Commands, Table
from bot.errors import LearningError
from bot.learning_port import Learning, Report, ReportCheck, ReportState
from bot.platforms.base import Notice
from bot.platforms.live import PostError
from bot.platforms.run_report import Reports
from bot.platforms.slack.manifest import COMMAND, EVENTS, SCOPES
from bot.platforms.verdict import ROOM, Presses, alt_text, offered, told
from bot.types import BASE, ChannelKey, Exchange, Sampling, Timings, Turn, Vote, VoteValue
from learning.types import Check, Verdict
from tests.fakes.discord_messages import Message
from tests.fakes.discord_server import DiscordServer
from tests.fakes.slack_server import SlackServer
from tests.platforms.conftest import config_of, running

PNG = b"\x89PNG\r\n"
TOKEN, EPHEMERAL = "secret-token", 64
BOT, APP = "xoxb-secret", "xapp-secret"
SLACK = {"SLACK_BOT_TOKEN": BOT, "SLACK_APP_TOKEN": APP}
HERE = ChannelKey("discord", "1", "2")
OWNER = Asker(HERE, "olga", "command", operator=True)
GUEST = Asker(HERE, "ada", "command")
SAMPLES = (
    ("How are you?", "I am a program.", "I am well,\nthank you. @everyone"),
    ("Hello", "Hello.", "Hello!"), ("Why?", "Because.", "That is so."), ("Yes?", "No.", "Yes."),
)
REPORT = Report(
    "v0003", "v0002", "promote", "serving", "Promoted: all 2 checks passed.",
    (ReportCheck("learned", True, "It learned."), ReportCheck("ends", True, "It ends.")),
    SAMPLES, PNG,
)


def failing(number: int, reason: str = "It forgot {}.") -> Report:
    checks = tuple(ReportCheck(f"check{n}", False, reason.format(n)) for n in range(number))
    return replace(
        REPORT, outcome="reject", state="turned away", sentence="Rejected: It forgot 0.",
        checks=(*checks, *REPORT.checks),
    )


def test_a_verdict_is_told_with_its_sentence_what_changes_and_how_it_stands() -> None:
    assert told(REPORT, 2000).split("\n\n") == [
        "**v0003**: Promoted: all 2 checks passed.",
        "“How are you?”\n> before: I am a program.\n"
        "> after: I am well, thank you. @\u200beveryone",
        "“Hello”\n> before: Hello.\n> after: Hello!",
        "“Why?”\n> before: Because.\n> after: That is so.",
        "It serves.",
    ]
    shadow = replace(REPORT, outcome="shadow", state="shadow", sentence="Too few votes.")
    assert "All 2 checks passed." in told(shadow, 2000)


def test_the_checks_that_failed_are_named_with_their_reasons() -> None:
    assert told(failing(2), 2000).split("\n\n")[1] == (
        "2 of 4 checks failed:\n- **check0**: It forgot 0.\n- **check1**: It forgot 1."
    )
    assert alt_text(failing(2)).endswith("compare it with v0002: check0, check1 failed.")


def test_a_verdict_of_any_length_fits_with_room_for_a_last_line() -> None:
    text = told(failing(20, "It is {} " + "longer than anybody reads " * 10), 2000)
    assert len(text) <= 2000 - ROOM + len("\n\nIt is turned away.")
    assert text.endswith("\n\nIt is turned away.")
    wordy = replace(REPORT, samples=(("x" * 999,) * 3,) * 3)
    assert len(told(wordy, 2000)) <= 2000
    assert len(alt_text(failing(900))) <= 1000


class Judged:
    """A learning half with one version that was judged."""

    def __init__(self, state: ReportState = "serving") -> None:
        self.state = state
        self.did: list[str] = []
        self.refusal = ""

    async def report(self, name: str | None = None) -> Report:
        assert name == "v0003"
        await asyncio.sleep(0)
        return replace(REPORT, state=self.state)

    async def approve(self, name: str) -> str:
        return self._do(f"approve {name}", "serving")

    async def veto(self, name: str) -> str:
        return self._do(f"veto {name}", "turned away")

    async def rollback(self, to: str | None = None) -> str:
        return self._do(f"rollback {to}", "retired")

    def _do(self, what: str, state: ReportState) -> str:
        if self.refusal:
            raise LearningError(self.refusal)
        self.did.append(what)
        self.state = state
        return "Done."

    def presses(self) -> Presses:
        nobody = cast(Any, None)  # /learn asks the learning half alone
        half = cast(Learning, self)
        talk = cast(Any, SimpleNamespace(admission=Admission(1000)))  # nobody is blocked
        return Presses(Commands(talk, nobody, nobody, half, nobody))


def text_of(answer: Answer) -> str:
    return "\n".join(str(b.rows) if isinstance(b, Table) else b.text for b in answer.blocks)


async def test_a_press_of_somebody_else_is_refused_and_changes_nothing() -> None:
    half = Judged("waiting")
    pressed = await half.presses().press("approve", "v0003", GUEST, "ada", 2000)
    assert text_of(pressed.answer) == "Only the bot's operators can do that."
    assert (pressed.text, half.did) == ("", [])


async def test_a_press_does_what_it_says_and_the_message_tells_who_did_it() -> None:
    half = Judged("waiting")
    assert offered(await half.report("v0003")) == ("approve", "veto")
    pressed = await half.presses().press("approve", "v0003", OWNER, "olga\n@everyone", 2000)
    assert half.did == ["approve v0003"]
    assert pressed.text.endswith("\n\n✅ Approved by olga @\u200beveryone.")
    assert "waits" not in pressed.text


async def test_two_who_roll_back_at_once_go_back_once() -> None:
    half = Judged("serving")
    presses = half.presses()
    first, second = await asyncio.gather(
        *(presses.press("rollback", "v0003", OWNER, name, 2000) for name in ("olga", "oleg"))
    )
    assert half.did == ["rollback None"]
    assert first.text.endswith("↩️ Rolled back by olga.")
    assert text_of(second.answer) == "v0003 does not serve any more."
    assert second.text.endswith("\n\nIt does not serve any more.")


async def test_what_learning_refuses_leaves_the_buttons_where_they_are() -> None:
    half = Judged("waiting")
    half.refusal = "another version serves now"
    pressed = await half.presses().press("approve", "v0003", OWNER, "olga", 2000)
    assert (text_of(pressed.answer), pressed.text) == ("another version serves now", "")


class Board:
    """A channel whose messages somebody deletes."""

    def __init__(self) -> None:
        self.posted = asyncio.Event()

    async def post(self, text: str) -> str:
        self.posted.set()
        return "1"

    async def edit(self, platform_id: str, text: str) -> None:
        raise PostError("the message is gone")


@pytest.mark.parametrize("is_gone", [False, True])
async def test_a_run_whose_message_is_gone_warns_once_and_tells_its_verdict_if_it_can(
    caplog: pytest.LogCaptureFixture, is_gone: bool
) -> None:
    shown: asyncio.Queue[str] = asyncio.Queue()

    async def show(version: str) -> None:
        shown.put_nowait(version)
        if is_gone:
            raise PostError("the channel is gone")

    board, reports = Board(), Reports(2000, interval=0)
    reports.follow(1, board, show)
    reports.hear(Notice("learning", "Run 1 starts."))
    await board.posted.wait()
    reports.hear(Notice("verdict", "v0001: Promoted.", adapter="v0001"))
    reports.hear(Notice("learning", "Run 1 finished.", last=True))
    assert await shown.get() == "v0001"
    await reports.close()
    assert [record.getMessage() for record in caplog.records] == [
        "a run is not followed any more: the message is gone"
    ]


async def test_a_run_that_ends_without_a_verdict_shows_none() -> None:
    shown: list[str] = []

    async def show(version: str) -> None:
        shown.append(version)

    reports = Reports(2000, interval=0)
    board = Board()
    reports.follow(1, board, show)
    reports.hear(Notice("problem", "Run 1 failed.", last=True, adapter="v0001"))
    await board.posted.wait()
    await reports.close()
    assert shown == []


def says(outcome: str) -> Callable[..., Any]:
    """A gate that comes to this verdict."""

    async def judge(
        engine: object, snapshot: object, candidate: str, champion: str, *rest: object
    ) -> Verdict:
        checks = (Check("learned", True, 1.0, 0.0, "It learned."),)
        sentence = "Promoted: all 1 checks passed."
        return Verdict(
            cast(Any, outcome), candidate, champion, sentence, checks, samples=SAMPLES[:1]
        )

    return judge


@pytest.fixture
def promoting(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = learning.loop.LearningLoop
    monkeypatch.setattr(
        learning.loop, "LearningLoop", functools.partial(whole, judge=says("promote"))
    )


QUICK: dict[str, object] = {
    "platform_terms_acknowledged": True, "consent": "granted",
    "sft": {"epochs": 1, "rank": 2, "replay": 0.0, "gauge": 4}, "gate": {"anchors": 4},
}


async def rated(app: App, key: ChannelKey, person: str) -> None:
    """Put a few rated exchanges on record."""
    template, ends = app.engine.template, app.engine.info.end_ids
    for number in range(16):
        prompt = (Turn("user", f"what do you think about the number {number}?"),)
        ids = (*template.encode("I like it."), ends[0])
        given = Exchange(
            key, person, (person,), prompt, tuple(template.encode(template.render(prompt))),
            ids, "I like it.", "stop", BASE, app.engine.info.fingerprint, Sampling(), Timings(),
            datetime.now(UTC),
        )  # fmt: skip
        row = await app.store.add_exchange(given)
        value: VoteValue = 1 if number % 4 else -1
        await app.store.add_vote(Vote(row, person, value, "reaction", given.time))


def buttons_of(message: Message) -> list[str]:
    return [part["label"] for row in message.components for part in row["components"]]


@pytest.fixture
async def discord() -> AsyncIterator[DiscordServer]:
    async with DiscordServer(TOKEN) as server:
        yield server
        assert server.unknown_requests == []


@pytest.mark.slow
@pytest.mark.usefixtures("promoting")
async def test_on_discord_an_operator_sees_the_verdict_and_rolls_back_after_a_restart(
    discord: DiscordServer, tmp_path: Path
) -> None:
    guild = discord.add_guild("Rabbits")
    channel, ada, owner = guild.add_channel("general"), guild.add_member("ada"), discord.owner
    config = config_of(discord={"api_base": discord.api_base}, learning=QUICK)
    key = ChannelKey("discord", str(guild.id), str(channel.id))
    secrets = {"DISCORD_BOT_TOKEN": TOKEN}

    async with running(config, tmp_path, secrets) as here:
        await discord.ready()
        await rated(here.app, key, str(ada.id))
        asked = await discord.slash(channel, owner, "learn retrain")
        await discord.wait_for(lambda _: asked.texts)

        def judged(_: DiscordServer) -> list[Message]:
            return [one for one in discord.messages(channel) if one.components]

        (verdict,) = await discord.wait_for(judged, timeout=240)
        assert verdict.content.startswith("**v0001**: Promoted: all 1 checks passed.")
        assert "> before: I am a program.\n> after: I am well, thank you." in verdict.content
        (picture,) = verdict.attachments
        assert picture.filename == "v0001.png" and picture.content.startswith(PNG)
        assert "compare it with base: all passed" in picture.description
        assert buttons_of(verdict) == ["Roll back"] and not verdict.mentions

        alone = await discord.slash(channel, owner, "learn report", {"version": "v1"})
        await discord.wait_for(lambda _: alone.texts)
        assert alone.ephemeral and alone.original is not None
        assert alone.texts == [verdict.content] and alone.original.attachments
        offers = await discord.autocomplete(channel, owner, "learn veto", {"version": "v"})
        assert [offer["value"] for offer in offers] == ["v0001"]

    async with running(config, tmp_path, secrets) as here:
        await discord.ready()
        refused = await discord.press(verdict, ada, "rapport:rollback:v0001")
        await discord.wait_for(lambda _: refused.followups)
        assert refused.followups[0].ephemeral
        assert refused.followups[0].content == "Only the bot's operators can do that."
        assert (await here.app.learning.status()).serving == "v0001"
        assert buttons_of(verdict) == ["Roll back"]

        pressed = await discord.press(verdict, owner, "rapport:rollback:v0001")
        await discord.wait_for(lambda _: not verdict.components)
        assert [one.content for one in pressed.followups] == [
            "Rolled back: the base model serves now."
        ]
        assert pressed.followups[0].ephemeral
        assert (await here.app.learning.status()).serving == BASE
        assert verdict.content.endswith("\n\n↩️ Rolled back by owner.")
        assert verdict.attachments == [picture] and not verdict.mentions


@pytest.fixture
async def slack() -> AsyncIterator[SlackServer]:
    async with SlackServer(BOT, APP, "", SCOPES, EVENTS) as server:
        yield server
        assert server.unknown_requests == [] and server.complaints == []


@pytest.mark.slow
@pytest.mark.usefixtures("promoting")
async def test_on_slack_an_operator_follows_the_run_approves_it_and_rolls_back(
    slack: SlackServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    channel = slack.add_channel("general")
    ada, owner = slack.add_user("ada"), slack.add_user("olga", is_owner=True)
    config = config_of(
        slack={"api_base": slack.api_base}, learning={**QUICK, "approval": "admin"}
    )
    key = ChannelKey("slack", slack.team_id, channel.id)
    approve, rollback = "rapport_verdict_approve", "rapport_verdict_rollback"

    async with running(config, tmp_path, SLACK) as here:
        app = here.app
        await slack.ready()
        await rated(app, key, ada.id)
        await slack.command(channel, owner, COMMAND, "learn retrain")
        await slack.wait_for(lambda _: slack.messages(channel)[2:], timeout=240)
        story, verdict, shared = slack.messages(channel)
        assert "⚖️ v0001: Promoted" in story.text and "/rapport learn approve v1" in story.text
        assert story.edits
        assert verdict.text.startswith("*v0001*: Promoted: all 1 checks passed.")
        assert "&gt; before: I am a program." in verdict.text
        assert verdict.text.endswith("\n\nIt waits for approval.")
        assert [
            (button["text"]["text"], button["value"]) for button in verdict.blocks[-1]["elements"]
        ] == [("Approve", "v0001"), ("Veto", "v0001")]
        (picture,) = slack.files.values()
        assert shared.files[0]["id"] == picture.id
        assert picture.content is not None and picture.content.startswith(PNG)
        assert "compare it with base: all passed" in shared.text and not picture.alt

        refused = await slack.press(verdict, ada, approve)
        (response,) = await slack.wait_for(lambda _: refused.responses)
        assert response.kind == "ephemeral"
        assert response.text == "Only the bot's operators can do that."
        assert (await app.learning.status()).serving == BASE

        pressed = await slack.press(verdict, owner, approve)
        told, changed = await slack.wait_for(
            lambda _: pressed.responses if len(pressed.responses) == 2 else []
        )
        assert (told.kind, told.text) == ("ephemeral", "Approved: v0001 serves now.")
        assert changed.kind == "replace"
        assert (await app.learning.status()).serving == "v0001"
        assert verdict.text.endswith("\n\n✅ Approved by olga.")
        assert all(block["type"] == "section" for block in verdict.blocks)

        asked = await slack.command(channel, owner, COMMAND, "learn report v1")
        await slack.wait_for(lambda _: asked.responses)
        alone = slack.ephemerals[-1]
        assert alone.ephemeral_to == owner.id
        pressed = await slack.press(alone, owner, rollback)
        await slack.wait_for(lambda _: len(pressed.responses) == 2)
        assert (await app.learning.status()).serving == BASE
        assert "↩️ Rolled back by olga." in str(alone.blocks)
        assert all(block["type"] == "section" for block in alone.blocks)
    warned = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert [one.getMessage() for one in warned] == []
