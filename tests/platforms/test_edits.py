"""What people do to messages that they have sent, on both platforms, and files on Slack."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from slack_sdk.web.async_client import AsyncWebClient

from bot.platforms.slack.files import Files
from bot.types import ChannelKey
from bot.types import Message as Said
from tests.fakes import slack_server
from tests.platforms.conftest import until
from tests.platforms.places import (
    APP,
    BOT,
    OnSlack,
    Place,
    Start,
    answered,
    ask,
    heard,
    last,
    left,
    on,
    on_slack,
    spoken,
)


@pytest.fixture
async def slack() -> AsyncIterator[OnSlack]:
    async with on_slack() as slack:
        yield slack


@pytest.fixture(params=["discord", "slack"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    async with on(request.param) as place:
        yield place


@pytest.fixture
def start(tmp_path: Path) -> Start:
    return Start(tmp_path / "data")


async def test_an_edit_is_in_later_prompts_and_brings_no_second_reply(
    place: Place, start: Start
) -> None:
    async with start(place) as here:
        app = here.app
        await place.ready()
        question, _ = await ask(app, place, "my word is xyzzy")
        first = await last(app, place)
        stranger = await place.chat("nobody is asked here")
        await place.edit(stranger, "still nobody")
        await place.delete(stranger)
        await place.edit(question, "my word is plugh")
        await heard(app, place, question, "my word is plugh")
        await ask(app, place, "and then?")
        assert spoken(await last(app, place)) == ["my word is plugh", "and then?"]
        stored = await app.store.exchange(first.id)
        assert stored is not None
        assert spoken(stored) == ["my word is xyzzy"]
        assert await app.store.count_exchanges() == 2


async def test_a_deleted_message_is_in_no_prompt_and_a_deleted_reply_stays_with_its_votes(
    place: Place, start: Start
) -> None:
    async with start(place) as here:
        app = here.app
        await place.ready()
        one, _ = await ask(app, place, "one")
        _, reply = await ask(app, place, "two")
        three, _ = await ask(app, place, "three")
        await place.react(reply)
        await until(app.store.current_votes)
        await place.delete(reply)
        await place.delete(one, three)
        await left(app, place, one, three)
        await place.say("four")
        await answered(app, place, 3)
        newest = await last(app, place)
        assert spoken(newest) == ["two", "four"]
        said = await app.store.exchange_of(place.key, place.id_of(reply))
        assert said is not None
        replied = await app.store.exchange(said)
        assert replied is not None
        assert replied.reply in spoken(newest, "assistant")[-1]
        assert len(await app.store.current_votes()) == 1
        assert await app.store.count_exchanges() == 4


async def test_of_questions_that_wait_an_edited_one_is_answered_anew_and_a_deleted_one_never(
    place: Place, start: Start
) -> None:
    async with start(place, receipt=True) as here:
        app = here.app
        await place.ready()
        async with app.conversation.quiet([place.key]):
            first = await place.say("one")
            await heard(app, place, first)
            second = await place.say("two")
            await heard(app, place, second)
            third = await place.say("three")
            await heard(app, place, third)
            await place.wait_for(lambda: place.signs(second) == place.signs(third) == ["PUT"])
            await place.edit(second, "zwei")
            await heard(app, place, second, "zwei")
            await place.delete(third)
            await left(app, place, third)
        await answered(app, place, 2)
        assert spoken(await last(app, place)) == ["one", "zwei"]
        await place.wait_for(lambda: place.signs(third) == ["PUT", "DELETE"])
        await place.wait_for(lambda: place.signs(second) == ["PUT", "DELETE"])
        assert place.signs(first) == []
        assert await app.store.count_exchanges() == 2


async def test_a_sign_that_is_refused_keeps_nobody_from_an_answer_and_none_is_given_unasked(
    place: Place, start: Start
) -> None:
    for receipt, signs in ((True, ["PUT"]), (False, [])):
        async with start(place, receipt=receipt) as here:
            app = here.app
            await place.ready()
            place.refuse_signs()
            before = len(place.replies())
            async with app.conversation.quiet([place.key]):
                for text in ("one", "two"):
                    message = await place.say(text)
                    await heard(app, place, message)
            await answered(app, place, before + 2)
            assert place.signs(message) == signs


async def test_what_was_asked_by_or_where_it_is_blocked_since_is_not_answered_after_a_restart(
    place: Place, start: Start
) -> None:
    allowed, bob = await place.say("I am bob", place.bob), str(place.bob.id)
    place.give_up()
    asked = [
        (place.key, place.person, "142"), (place.thread, "42", "143"),
        (place.key, bob, place.id_of(allowed)),
    ]
    async with start(place) as here:
        for key, person, message in asked:
            said = Said(key, person, f"I am {person}", message, datetime.now(UTC))
            assert await here.app.conversation.hear(said) is not None
    blocked = {
        "users": {"blocked_ids": [place.person]}, "channels": {"blocked_ids": [place.games]},
    }
    async with start(place, permissions=blocked) as here:
        await answered(here.app, place, 1)
        assert (await last(here.app, place)).asker == bob
        assert await here.app.store.count_exchanges() == 1
        assert await here.app.store.waiting_messages(place.name) == []
    assert len(place.replies()) == 1


async def test_a_question_with_a_thread_on_slack_leaves_it_when_it_is_deleted(
    slack: OnSlack, start: Start
) -> None:
    server = slack.server
    games = server.add_channel("games")
    async with start(slack) as here:
        app = here.app
        await slack.ready()
        question = await server.say(games, slack.ada, "<@BOT> my word is xyzzy")
        slack.channel = games
        slack.key = ChannelKey("slack", server.team_id, f"{games.id}:{question.ts}")
        await answered(app, slack, 1)
        await server.edit(question, f"<@{server.bot.id}> my word is plugh")
        await heard(app, slack, question, "my word is plugh")
        await server.delete(question)
        assert question.subtype == "tombstone"
        await left(app, slack, question)
        await server.say(games, slack.ada, "and then?", thread=question)
        await answered(app, slack, 2)
        assert spoken(await last(app, slack)) == ["and then?"]


async def test_a_text_file_on_slack_is_read_with_the_message_and_another_is_named(
    slack: OnSlack, start: Start
) -> None:
    server = slack.server
    files = [
        server.attach("big.txt", b"x" * 70_000, "text/plain"),
        server.attach("notes.txt", "The fox is réd.".encode() * 400, "text/plain"),
        server.attach("cat.png", b"\x89PNG", "image/png"),
        server.attach("more.txt", b"too late", "text/plain"),
    ]
    async with start(slack, attachment_characters=40) as here:
        await slack.ready()
        await server.say(slack.channel, slack.ada, "look", files=files)
        await answered(here.app, slack, 1)
        (text,) = spoken(await last(here.app, slack))
    assert text.startswith(
        "look\n[attached file big.txt]\n[attached file notes.txt:\nThe fox is réd."
    )
    assert text.endswith("[…]]\n[attached file cat.png]\n[attached file more.txt]")
    assert len(text) < 170
    assert server.downloads == [files[1]["id"]]


async def test_a_file_of_somebody_who_is_not_answered_is_not_fetched(
    slack: OnSlack, start: Start
) -> None:
    server = slack.server
    file = server.attach("notes.txt", b"The fox is red.", "text/plain")
    bob = server.add_user("bob")
    permissions: dict[str, object] = {"users": {"blocked_ids": [slack.ada.id]}}
    async with start(slack, permissions) as here:
        await slack.ready()
        await server.say(slack.channel, slack.ada, "look", files=[file])
        await server.say(slack.channel, bob, "hello")
        await answered(here.app, slack, 1)  # what was said first was taken first
    assert server.downloads == []


async def test_the_token_is_sent_to_slack_alone_and_to_no_page_it_leads_to(
    slack: OnSlack, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        slack_server.SlackServer("xoxb-other", APP) as other,
        aiohttp.ClientSession() as session,
    ):
        client = AsyncWebClient(BOT, base_url=slack.server.api_base, session=session)
        files = Files(client, 2000)
        foreign = other.attach("a.txt", b"secret", "text/plain")
        hidden = slack.server.attach("b.txt", b"secret", "text/plain")
        slack.server.scopes -= {"files:read"}
        shown = await files.shown({"files": [foreign, hidden, {"mode": "tombstone"}]})
        assert shown == ["[attached file a.txt]", "[attached file b.txt]", "[attached file ]"]
        assert other.downloads == []
        assert slack.server.downloads == [hidden["id"]]
        for address, safe in (
            ("https://files.slack.com/files-pri/T1-F1/a.txt", True),
            ("https://slack.com/x", True),
            ("http://files.slack.com/files-pri/T1-F1/a.txt", False),
            ("https://files.slack.com.evil.org/a", False),
            ("https://evilslack.com/a", False),
            ("https://files.slack.com:8443/a", False),
            ("https://me@files.slack.com/a", False),
            ("https://evil.org/files.slack.com", False),
            ("//files.slack.com/a", False),
            ("http://[", False),
            ("", False),
        ):
            assert (files._safe(address) is not None) is safe, address
    assert BOT not in caplog.text
