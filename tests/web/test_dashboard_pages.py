"""The operators' pages in a browser, on a store in which something has happened."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from bot.store import Store
from tests.learning.rated import exchange, vote
from tests.web.visits import Demo, demo, visit

LINK = "https://evil.example/a"
PAGES = {
    "/dashboard": "How replies are liked", "/learning": "Change who serves",
    "/review": re.compile("repl(y waits|ies wait)"), "/raters": "of all votes: ann",
}
"""Each page, and something that stands on it."""


async def _write(data: Path) -> None:
    """Votes on replies of the built-in model, whose fingerprint its first reply tells."""
    now = datetime.now(UTC)
    async with await Store.open(data) as store:
        (first,) = await store.exchanges([1])
        for number in range(2, 10):
            reply = f"reply <b>{number}</b>"
            key = await store.add_exchange(exchange(number, reply=reply, base=first.base))
            await store.add_vote(vote(key, 1 if number % 3 else -1, "ann", now))
            await store.add_vote(vote(key, 1, "bob", now))
        key = await store.add_exchange(exchange(10, reply=f"Go to {LINK}.", base=first.base))
        await store.add_vote(vote(key, 1, "eve", now))
        key = await store.add_exchange(exchange(11, reply=f"See {LINK}/b", base=first.base))
        await store.add_vote(vote(key, 1, "mallory", now))


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """One demo for all tests of this file."""
    data = tmp_path_factory.mktemp("data")
    talk = [sys.executable, "-m", "bot.cli", "chat", "--data", str(data)]
    subprocess.run(talk, input="hello\n", text=True, check=True)
    with ThreadPoolExecutor() as beside:  # the browser's own loop runs in this thread
        beside.submit(asyncio.run, _write(data)).result()
    with demo(data) as running:
        yield running


@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_opens_without_complaints_and_fits(
    browser: Browser, here: Demo, width: int
) -> None:
    with visit(browser, here.url, width) as page:
        for path, words in PAGES.items():
            page.goto(here.url + path)
            expect(page.get_by_text(words).first).to_be_visible()
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
            expect(page.locator("nav a[aria-current=page]")).to_have_count(1)


def test_an_operator_bans_somebody_from_the_queue_and_lifts_the_ban(
    browser: Browser, here: Demo
) -> None:
    with visit(browser, f"{here.url}/review") as page:
        page.get_by_role("button", name="Ban mallory").click()
        page.get_by_role("alertdialog").get_by_role("button", name="Ban mallory").click()
        expect(page.get_by_text("mallory is banned: 1 vote is not counted")).to_be_visible()
        expect(page.get_by_role("button", name="Ban mallory")).to_have_count(0)
        page.goto(f"{here.url}/raters")
        expect(page.get_by_text("banned by playground/operator")).to_be_visible()
        page.get_by_role("button", name="Lift the ban").click()
        expect(page.get_by_text("mallory is banned no more: 1 vote is counted")).to_be_visible()
        page.goto(f"{here.url}/review")
        expect(page.get_by_role("button", name="Ban mallory")).to_be_visible()


def test_an_operator_drops_what_one_person_alone_likes(browser: Browser, here: Demo) -> None:
    with visit(browser, f"{here.url}/review") as page:
        expect(page.get_by_text(f"Go to {LINK}.")).to_be_visible()
        assert page.locator(f"a[href*='{LINK}']").count() == 0
        page.get_by_role("button", name="Drop").first.click()
        expect(page.get_by_text(f"Go to {LINK}.")).to_be_hidden()
        page.reload()
        expect(page.get_by_text("1 reply waits.")).to_be_visible()
        page.get_by_role("button", name="Drop").click()
        expect(page.get_by_text(f"See {LINK}/b")).to_be_hidden()
        page.reload()
        expect(page.get_by_text("Nothing waits").first).to_be_visible()


def test_an_operator_with_too_few_votes_is_told_what_is_missing(
    browser: Browser, here: Demo
) -> None:
    with visit(browser, f"{here.url}/learning") as page:
        page.get_by_role("button", name="Learn from the votes now").click()
        expect(page.get_by_text("Not enough to learn from").first).to_be_visible()


def test_light_or_dark_is_remembered(browser: Browser, here: Demo) -> None:
    with visit(browser, f"{here.url}/dashboard") as page:
        expect(page.locator("body.body--light")).to_have_count(1)
        page.get_by_role("button", name="Light or dark").click()
        expect(page.locator("body.body--dark")).to_have_count(1)
        page.goto(f"{here.url}/learning")
        expect(page.locator("body.body--dark")).to_have_count(1)


def test_with_a_token_every_page_asks_for_it_first(browser: Browser, tmp_path: Path) -> None:
    with (
        demo(tmp_path, RAPPORT_WEB_TOKEN="open sesame") as guarded,
        visit(browser, f"{guarded.url}/dashboard", forgive="403 (Forbidden)") as page,
    ):
        token = page.get_by_label("Token")
        token.fill("guess")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("alert")).to_have_text("That is not the token.")
        token.fill("open sesame")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("textbox", name="Message")).to_be_visible()
        page.goto(f"{guarded.url}/dashboard")
        expect(page.get_by_text("How replies are liked")).to_be_visible()
        page.get_by_role("link", name="Log out").click()
        expect(page.get_by_label("Token")).to_be_visible()
