"""Makes the pictures in docs/images: every page, light and dark, wide and narrow.

    python -m docs.screenshots [--out FOLDER] [--votes 120]

Opens `rapport demo` on an empty folder, lets simulated people vote, trains once, and looks at each
page with the Chromium of the system.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.web.visits import CHROMIUM, QUIET, demo

PAGES = {
    "chat": "/?channel=general", "overview": "/dashboard", "learning": "/learning",
    "review": "/review", "raters": "/raters",
}
WIDTHS = {"": 1280, "-phone": 390}
THEMES = ("light", "dark")
TALK = ("Hi there! How was your day?", "What should I cook tonight?")


def live(page: Page, url: str, votes: int) -> None:
    """Have something to look at: talk, votes, a version."""
    page.goto(f"{url}/?channel=crowd")
    page.get_by_label("How many votes").click()
    page.get_by_role("option", name=f"{votes} votes").click()
    page.get_by_role("button", name="Let them vote").click()
    expect(page.get_by_text(f"{votes} votes since the last run")).to_be_visible()
    page.get_by_role("button", name="Retrain").click()
    expect(page.get_by_text(re.compile("v0001 answers|Rejected"))).to_be_visible()
    page.get_by_role("button", name="# general").click()
    for number, words in enumerate(TALK, 1):
        page.get_by_role("textbox", name="Message").fill(words)
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Good reply")).to_have_count(number)
    page.get_by_role("button", name="Good reply").first.click()


def picture(browser: Browser, url: str, name: str, theme: str, width: int, file: Path) -> None:
    """One page in one look."""
    context = browser.new_context(
        viewport={"width": width, "height": 800},
        color_scheme="dark" if theme == "dark" else "light",
    )
    page = context.new_page()
    page.goto(url + PAGES[name])
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1500)  # charts grow into their place
    page.screenshot(path=file, full_page=name != "chat")
    context.close()
    sys.stdout.write(f"{file}\n")


def main() -> None:
    """Make them all."""
    parser = argparse.ArgumentParser(description="Make the pictures of the pages.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images")
    parser.add_argument("--votes", type=int, default=120, choices=(60, 120, 200))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as data, demo(Path(data)) as running,
        sync_playwright() as playwright,
    ):
        url = running.url
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page()
        page.set_default_timeout(600_000)
        expect.set_options(timeout=600_000)
        live(page, url, asked.votes)
        for name in PAGES:
            for theme in THEMES:
                for suffix, width in WIDTHS.items():
                    picture(browser, url, name, theme, width,
                            asked.out / f"{name}-{theme}{suffix}.png")
        browser.close()


if __name__ == "__main__":
    main()
