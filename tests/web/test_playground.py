"""The playground as somebody sees it who opens it in a browser."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from bot.store import Store
from bot.types import BASE, ChannelKey, Exchange, Message, Sampling, Timings, Turn
from tests.web.visits import Demo, demo, visit

MESSAGE = "Message"
QUICK = """
[learning.taste]
rounds = 1
draws = 4

[learning.gate]
folds = 2
replies = 24
anchors = 32
reported_prompts = 0
"""
"""A run that takes a part of the time; everything is done all the same."""
EVIL = '<script>document.title = "taken"</script><img src="https://example.org/a.png"> **bold** '


async def _write_evil(data: Path) -> None:
    """A reply of a model gone wrong, on record as any other."""
    here, now = ChannelKey("playground", "local", "ideas"), datetime.now(UTC)
    async with await Store.open(data) as store:
        row = await store.add_message(Message(here, "You", "say it", "m1", now, "You"))
        told = Exchange(
            here, "You", ("You",), (Turn("user", "say it"),), (1, 2), (3,), EVIL + "x" * 10_000,
            "length", BASE, "some base", Sampling(), Timings(), now,
        )
        await store.add_exchange(told, answers=row)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """One demo for all tests of this file, each in a channel of its own."""
    data = tmp_path_factory.mktemp("data")
    with ThreadPoolExecutor() as beside:  # the browser's own loop runs in this thread
        beside.submit(asyncio.run, _write_evil(data)).result()
    with demo(data) as running:
        yield running


def say(page: Page, text: str) -> None:
    """Type a line and send it with Enter."""
    page.get_by_role("textbox", name=MESSAGE).fill(text)
    page.get_by_role("textbox", name=MESSAGE).press("Enter")


def replies(page: Page) -> list[str]:
    """What the bot has said in the channel that is open, once it has ended."""
    expect(page.locator("article.bot").last).to_have_attribute("aria-busy", "false")
    expect(page.locator("article.bot:not([aria-busy=false])")).to_have_count(0)
    return page.locator("article.bot .text").all_inner_texts()


def test_somebody_talks_and_votes_and_changes_their_mind(browser: Browser, here: Demo) -> None:
    with visit(browser, here.url) as page:
        say(page, "hello, how are you?")
        expect(page.locator("article.person .text")).to_have_text("hello, how are you?")
        expect(page.get_by_role("button", name="Good reply")).to_be_visible()
        assert replies(page)[0].strip("… ")
        expect(page.locator("article.bot .badge")).to_have_text("base")
        good, bad = (page.get_by_role("button", name=f"{which} reply") for which in ("Good", "Bad"))
        good.click()
        expect(good).to_have_attribute("aria-pressed", "true")
        bad.click()
        expect(bad).to_have_attribute("aria-pressed", "true")
        expect(good).to_have_attribute("aria-pressed", "false")
        expect(page.get_by_text("0 of 1 rated replies liked")).to_be_visible()
        page.get_by_role("button", name="Why this reply?").click()
        expect(page.get_by_role("dialog")).to_contain_text("What the model saw")
        page.get_by_role("button", name="Close").click()

        before = replies(page)
        page.reload()
        expect(page.locator("article.person .text")).to_have_text("hello, how are you?")
        assert replies(page) == before
        expect(bad).to_have_attribute("aria-pressed", "true")


def test_of_two_answers_the_better_one_stays(browser: Browser, here: Demo) -> None:
    with visit(browser, f"{here.url}/?channel=crowd&as=Dan") as page:
        say(page, "tell me something")
        page.get_by_role("button", name="Another answer").click()
        page.get_by_role("button", name="This is better").click()
        expect(page.locator(".rival")).to_have_count(0)
        expect(page.get_by_role("button", name="Good reply")).to_have_attribute(
            "aria-pressed", "true")
        kept = replies(page)
        page.reload()
        expect(page.get_by_role("button", name="Good reply")).to_have_count(1)
        assert replies(page) == kept
        page.get_by_role("button", name="Start anew").click()
        expect(page.get_by_text("Nothing has been said in #crowd yet")).to_be_visible()


def test_two_people_see_each_other_in_a_channel_and_marks_in_another(
    browser: Browser, here: Demo
) -> None:
    with (
        visit(browser, f"{here.url}/?channel=random&as=Ada") as ada,
        visit(browser, f"{here.url}/?channel=random&as=Ben") as ben,
        visit(browser, f"{here.url}/?channel=crowd&as=Chen") as chen,
    ):
        expect(chen.get_by_text("Nothing has been said in #crowd yet")).to_be_visible()
        expect(ben.get_by_text("Nothing has been said in #random yet")).to_be_visible()
        say(ada, "who is here?")
        expect(ben.locator("article.person .author")).to_have_text("Ada")
        said = replies(ada)
        expect(ben.locator("article.bot .text")).to_have_text(said)
        ben.get_by_role("button", name="Good reply").click()
        expect(ada.get_by_role("button", name="Good reply").locator(".block")).to_have_text("1")
        expect(ada.get_by_role("button", name="Good reply")).to_have_attribute(
            "aria-pressed", "false")
        mark = chen.get_by_role("button", name="# random").get_by_label("unread")
        expect(mark).to_have_text("2")
        chen.get_by_role("button", name="# random").click()
        expect(chen.locator("article.bot .text")).to_have_text(said)
        expect(mark).to_be_hidden()


def test_what_a_model_says_is_shown_as_text_whatever_it_is(browser: Browser, here: Demo) -> None:
    asked: list[str] = []
    with visit(browser, here.url) as page:
        page.on("request", lambda request: asked.append(request.url))
        page.get_by_role("button", name="# ideas").click()
        text = page.locator("article.bot .text")
        expect(text).to_have_text(EVIL + "x" * 10_000)
        assert text.locator("script, img, strong").count() == 0
        assert page.title() == "Chat · Rapport"
        assert not [url for url in asked if "example.org" in url]
        # However long a word is, the page does not become wider for it.
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        say(page, EVIL)
        expect(page.locator("article.person .text").last).to_have_text(EVIL.strip())


def test_commands_are_answered_on_the_page_that_asked_alone(browser: Browser, here: Demo) -> None:
    with (
        visit(browser, f"{here.url}/?channel=crowd&as=Ada") as ada,
        visit(browser, f"{here.url}/?channel=crowd&as=Ben") as ben,
    ):
        say(ada, "/status")
        expect(ada.locator(".aside table")).to_contain_text("rapport-tiny")
        say(ada, "/hlep")
        expect(ada.get_by_text("Did you mean /help?")).to_be_visible()
        say(ben, "hello")
        expect(ben.get_by_role("button", name="Good reply")).to_be_visible()
        assert ben.locator(".aside").count() == 0
        ben.get_by_role("button", name="Start anew").click()
        expect(ada.get_by_text("Nothing has been said in #crowd yet")).to_be_visible()


def test_the_page_is_used_without_a_mouse(browser: Browser, here: Demo) -> None:
    with visit(browser, f"{here.url}/?channel=crowd") as page:
        expect(page.get_by_role("textbox", name=MESSAGE)).to_be_visible()
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        names = page.evaluate(
            "[...document.querySelectorAll('button, a[href], input, textarea, [role=combobox]')]"
            ".filter(e => e.offsetParent && !(e.getAttribute('aria-label') || e.innerText.trim()"
            " || e.labels?.length)).map(e => e.outerHTML)"
        )
        assert names == []
        page.get_by_role("textbox", name=MESSAGE).focus()
        page.keyboard.type("one")
        page.keyboard.press("Shift+Enter")
        page.keyboard.type("two")
        page.keyboard.press("Enter")
        expect(page.locator("article.person .text").last).to_have_text("one\ntwo")


def test_a_server_that_starts_again_is_found_again_with_everything(
    browser: Browser, tmp_path: Path
) -> None:
    away = "ERR_CONNECTION_REFUSED"
    with demo(tmp_path) as first, visit(browser, first.url, forgive=away) as page:
        say(page, "remember me")
        expect(page.get_by_role("button", name="Good reply")).to_be_visible()
        said, port = replies(page), int(first.url.rpartition(":")[2])
        assert first.stop() == 0
        page.evaluate("document.body.id = 'before'")
        with demo(tmp_path, port=port):
            expect(page.locator("body#before")).to_have_count(0)
            expect(page.locator("article.person .text")).to_have_text("remember me")
            assert replies(page) == said
            say(page, "and now?")
            expect(page.get_by_role("button", name="Good reply")).to_have_count(2)
            page.goto("about:blank")


def vote_until_one_is_fit(page: Page) -> str:
    """Let people vote and retrain, again where sixty votes left it to luck; the version's name."""
    for number in range(1, 5):
        page.get_by_role("button", name="# crowd").click()
        page.get_by_role("button", name="Let them vote").click()
        expect(page.get_by_text("60 votes since the last run")).to_be_visible()
        page.get_by_role("button", name="Retrain").click()
        expect(page.get_by_role("progressbar", name="Progress of the run")).to_be_visible()
        page.get_by_role("button", name="# general").click()
        say(page, "do you still talk?")
        expect(page.locator("article.bot .badge").last).to_have_text("base")
        verdict = page.get_by_role("status").filter(has_text=f"run {number} finished")
        expect(verdict).to_be_visible(timeout=300_000)
        if f"run {number} finished: Fit to serve" in verdict.inner_text():
            expect(page.get_by_text(f"v{number:04} answers")).to_be_visible()
            return f"v{number:04}"
    raise AssertionError("four times sixty votes have taught it nothing")


@pytest.mark.slow
def test_a_newcomer_sees_the_whole_circle(browser: Browser, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(QUICK, encoding="utf-8")
    with (
        demo(tmp_path / "data", "--config", str(config)) as running,
        visit(browser, f"{running.url}/?channel=crowd") as page,
    ):
        page.get_by_role("button", name="Retrain").click()
        expect(page.get_by_text("Not enough to learn from")).to_be_visible()
        version = vote_until_one_is_fit(page)
        expect(page.get_by_text("Fit to serve: all 15 checks passed.", exact=True)).to_be_visible()
        say(page, "and who is it now?")
        expect(page.locator("article.bot .badge").last).to_have_text(version)
        page.get_by_role("button", name="Checks, and replies").click()
        expect(page.get_by_role("dialog")).to_contain_text("It was compared with the base model.")
        page.get_by_role("button", name="Close").click()
        page.get_by_role("button", name="Roll back").click()
        expect(page.get_by_text("The base model answers")).to_be_visible()
        say(page, "who are you again?")
        expect(page.locator("article.bot .badge").last).to_have_text("base")
