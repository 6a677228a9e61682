"""Only words that people gave are learned from, and words taken back are unlearned at once."""

from __future__ import annotations

import io
import struct
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.app import App, open_app
from bot.commands import Asker, Text, parse
from bot.config import Config, LearningConfig, WeighingConfig
from bot.errors import AdapterError, NothingToLearn
from bot.store import Consent, Decision
from bot.types import BASE, ChannelKey, Message
from learning.awaited import train_once
from learning.votes.dataset import folders_with, read_snapshot
from learning.votes.export import FORMATS, export_votes
from tests.learning.rated import HERE, Opener, World, config, exchange, vote
from tests.learning.test_loop import stuck

GUILD = ChannelKey("discord", "7", "general")
PLANTED = "xyzzy plover"
TERMS = {"platform_terms_acknowledged": True}


async def rate_on_discord(here: World, number: int, *authors: str) -> None:
    """Store and like exchanges of the first of `authors`, with the words of all in them."""
    for index in range(number):
        given = exchange(
            500 + index, base=here.engine.info.fingerprint, channel=GUILD,
            asker=authors[0], authors=authors,
        )  # fmt: skip
        key = await here.store.add_exchange(given)
        await here.store.add_vote(vote(key, time=datetime.now(UTC)))


# What may be learned from


async def test_without_acknowledged_terms_nothing_said_on_a_platform_is_learned_from(
    opened: Opener,
) -> None:
    async with opened(serve=False, settings=config(consent="granted")) as here:
        await rate_on_discord(here, 16, "ann")
        with pytest.raises(
            NothingToLearn, match=r"16 rated replies are left out: learning\.platform_terms"
        ):
            await here.loop.retrain()


@pytest.mark.parametrize("said", [None, "no"])
async def test_one_author_who_has_not_agreed_keeps_an_exchange_out(
    opened: Opener, said: str | None
) -> None:
    async with opened(serve=False, settings=config(**TERMS)) as here:
        await rate_on_discord(here, 16, "ann", "bob")
        await here.store.set_consent("discord", "ann", True, datetime.now(UTC))
        if said:
            await here.store.set_consent("discord", "bob", False, datetime.now(UTC))
        with pytest.raises(NothingToLearn, match="has not agreed"):
            await here.loop.retrain()
        await here.store.set_consent("discord", "bob", True, datetime.now(UTC))
        assert (await here.loop.retrain()).text == "Run 1 starts now."


async def test_the_frozen_data_of_a_run_holds_only_what_people_gave(opened: Opener) -> None:
    async with opened(train=stuck, settings=config(**TERMS)) as here:
        await here.rate(16)
        await rate_on_discord(here, 8, "zoe")
        await here.loop.retrain()
        await here.until("progress")
        (folder,) = (here.data / "runs").iterdir()
        assert {one.exchange_id for one in read_snapshot(folder).examples} == set(range(1, 17))


@pytest.mark.parametrize("form", FORMATS)
def test_words_that_were_not_given_are_not_exported(form: str) -> None:
    prompt = exchange(1).prompt
    exchanges = [
        exchange(1, reply="mine"),
        exchange(2, reply="mine too", prompt=prompt),
        exchange(3, channel=GUILD, asker="zoe", authors=("zoe",), reply=PLANTED, prompt=prompt),
    ]
    votes = [vote(1), vote(2, -1), vote(3)]
    texts = []
    settings = LearningConfig(platform_terms_acknowledged=True)
    decisions: tuple[Decision, ...] = ("refused", "granted")
    for said in decisions:
        out = io.StringIO()
        consent = Consent(settings, {("discord", "zoe"): said})
        export_votes(votes, exchanges, form, out, weighing=WeighingConfig(), consent=consent)
        texts.append(out.getvalue())
    assert [PLANTED in text for text in texts] == [False, True]


# What is unlearned


async def test_the_newest_version_that_never_saw_the_words_serves_again(opened: Opener) -> None:
    async with opened() as here:
        await here.rate(16)
        await here.learn()
        await here.rate(8, first=17)
        await here.learn()
        assert here.loop.current(HERE) == "v0002"
        told = await here.loop.forget([17])
        assert told == "v0002 learned from that and cannot serve again; v0001 serves."
        assert here.loop.current(HERE) == await here.store.champion() == "v0001"
        assert "v0002" not in here.engine.loaded()
        assert here.registry.names() == ["v0001"]
        assert {ref.name: ref.status for ref in await here.loop.adapters()} == {
            "v0001": "champion", "v0002": "retired",
        }  # fmt: skip
        with pytest.raises(AdapterError, match="there is no adapter v0002"):
            await here.loop.rollback("v0002")
        with pytest.raises(AdapterError, match="there is no adapter v0002"):
            await here.loop.try_version(HERE, "v0002")
        assert "serves instead" in (await here.store.events("fallback"))[0].data["text"]
        assert await here.loop.forget([17]) == "No version was trained on that."
        assert "the base model serves" in await here.loop.forget([1])
        assert here.loop.current(HERE) == BASE
    await opened.restart()
    async with opened() as here:
        assert here.loop.current(HERE) == BASE
        assert (await here.learn()).adapter == "v0003"


async def test_a_channel_that_tries_such_a_version_follows_the_others(opened: Opener) -> None:
    async with opened("shadow") as here:
        await here.rate(16)
        await here.learn()
        await here.loop.try_version(HERE, "v0001")
        await here.loop.forget([1, 2, 3])
        assert here.loop.current(HERE) == BASE
        assert await here.store.channel_adapters() == {}


async def test_a_run_that_holds_the_words_is_given_up_and_begins_anew_without_them(
    opened: Opener,
) -> None:
    async with opened(train=stuck) as here:
        await here.rate(16)
        await here.loop.retrain()
        await here.until("progress")
        assert await here.loop.forget([99]) == "No version was trained on that."
        assert folders_with(here.data / "runs", [1]) == {"v0001"}
        told = await here.loop.forget([1])
        assert "Given up: run 1. Another run begins without it." in told
        assert folders_with(here.data / "runs", [1]) == set()
        assert not (here.registry.root / "v0001.staging").exists()
        assert (await here.until("cancelled")).text.endswith("words in it were deleted")
        assert (await here.until("progress")).run == 2


async def test_an_interrupted_run_that_holds_the_words_does_not_go_on(opened: Opener) -> None:
    async with opened(train=stuck) as here:
        await here.rate(16)
        await here.loop.retrain()
        await here.until("progress")
    async with opened(serve=False) as here:
        assert (here.data / "runs" / "v0001").exists()
        assert "Given up: run 1" in await here.loop.forget([16])
        assert not (here.data / "runs" / "v0001").exists()
        (run,) = await here.store.runs()
        assert run.status == "cancelled"


async def test_a_run_that_is_about_to_be_published_is_waited_for(opened: Opener) -> None:
    async with opened() as here:
        await here.rate(16)
        await here.loop.retrain()
        while (await here.until("stage")).text != "run 1: v0001 is judged":
            pass
        assert "v0001 learned from that" in await here.loop.forget([1, 2, 3, 4])
        assert here.loop.current(HERE) == BASE
        assert here.registry.names() == []


async def say(app: App, text: str, author: str, number: int) -> None:
    """Say something in the guild, and have the exchange liked as if the reply had ended."""
    said = Message(GUILD, author, text, f"{author}{number}", datetime.now(UTC))
    async with aclosing(app.conversation.respond(said, seed=number)) as events:
        assert [event async for event in events]
    given = await app.conversation.last(GUILD)
    assert given is not None
    reply_ids = (*given.reply_ids, app.engine.info.end_ids[0])
    ended = replace(given, reply="ok", reply_ids=reply_ids, finish="stop")
    key = await app.store.add_exchange(ended)
    await app.conversation.ratings.vote(GUILD, key, "ann", 1, "reaction")


def traces_of(folder: Path, needles: list[bytes]) -> list[str]:
    """The files below a folder that hold any of these bytes."""
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and any(needle in path.read_bytes() for needle in needles)
    ]


async def test_forgotten_words_are_in_no_byte_of_the_data_folder(
    model: Path, tmp_path: Path
) -> None:
    settings = config(min_examples=1, consent="granted", **TERMS)
    settings = Config.model_validate({
        **settings.model_dump(),
        "model": {"name": str(model), "device": "cpu", "threads": 2},
        "sampling": {"max_tokens": 8},
        "conversation": {"persona": ""},
        "log": {"level": "debug"},
    })  # fmt: skip
    data = tmp_path / "data"
    async with open_app(settings, data) as app:
        for number in range(6):
            await say(app, f"{PLANTED} {number}", "zoe", number)
            await say(app, f"an answer to that {number}", "ann", number)
            await app.conversation.reset(GUILD)
        ids = app.engine.template.encode(PLANTED)[2:-2]
        packed, listed = struct.pack(f"<{len(ids)}I", *ids), ",".join(map(str, ids)).encode()
        needles = [PLANTED.encode(), packed, listed]
        outcome = await train_once(app.learning, app.store)
        assert outcome.verdict == "shadow", outcome
        await app.learning.try_version(GUILD, "v0001")
        assert traces_of(data, needles)
        command = parse("/mydata forget yes")
        assert command is not None
        answer = await app.commands.run(command, Asker(GUILD, "zoe", "command"))
        (block,) = answer.blocks
        assert isinstance(block, Text)
        assert "v0001 learned from that and cannot serve again; the base model" in block.text
        assert traces_of(data, needles) == []
        assert app.learning.current(GUILD) == BASE
        assert not (data / "adapters" / "v0001").exists()
        assert (await app.store.traces_of("discord", "ann")).messages == 6
    assert traces_of(data, needles) == []
