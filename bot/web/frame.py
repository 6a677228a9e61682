"""What every page has around its content: name, navigation, light or dark.

Knows the pages' addresses and nothing of what is on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request
from nicegui import ui

ASSETS = Path(__file__).parent / "assets"
THEME = "rapport-theme"
"""The cookie that remembers light or dark; without it pages look as the browser likes."""


@dataclass(frozen=True, slots=True)
class Place:
    """A page in the navigation."""

    path: str
    title: str
    icon: str


CHAT = Place("/", "Chat", "forum")
OVERVIEW = Place("/dashboard", "Overview", "insights")
LEARNING = Place("/learning", "Learning", "school")
REVIEW = Place("/review", "Review", "fact_check")
RATERS = Place("/raters", "Raters", "groups")
PLACES = (CHAT, OVERVIEW, LEARNING, REVIEW, RATERS)


def head(here: Place, request: Request, *, leave: bool) -> None:
    """What is above the content.

    Args:
        leave: whether there is something to log out of.
    """
    ui.page_title(f"{here.title} · Rapport")
    for sheet in ("rapport.css", "dashboard.css"):
        ui.add_head_html(f'<link rel="stylesheet" href="/web/{sheet}">')
    ui.colors(primary="#0072b2", negative="#b3261e")
    dark = ui.dark_mode({"dark": True, "light": False}.get(request.cookies.get(THEME, "")))
    with ui.header(elevated=False).classes("bar"):
        with ui.element("nav").classes("nav").props('aria-label="Pages"'):
            ui.label("Rapport").classes("brand")
            for place in PLACES:
                current = ' aria-current="page"' if place is here else ""
                with ui.link(target=place.path).classes("tab").props(
                    f'aria-label="{place.title}"{current}'
                ):
                    ui.icon(place.icon).props('aria-hidden="true"')
                    ui.label(place.title).classes("tab-title")
        with ui.row().classes("bar-end"):
            _theme(dark)
            if leave:
                ui.link("Log out", "/logout").classes("tab")


@contextmanager
def content(kind: str = "page") -> Iterator[None]:
    """The content of a page; `kind` is a class of the stylesheet."""
    with ui.element("main").classes(kind) as main:
        yield
    ui.skip_link("Skip to the content", target=main)


def _theme(dark: ui.dark_mode) -> None:
    """A button that turns to the other theme, and has the browser remember it."""

    async def turn() -> None:
        shown = dark.value
        if shown is None:
            shown = await ui.run_javascript("matchMedia('(prefers-color-scheme: dark)').matches")
        dark.value = not shown
        chosen = "dark" if dark.value else "light"
        ui.run_javascript(
            f"document.cookie = '{THEME}={chosen}; path=/; max-age=31536000; samesite=strict'"
        )

    ui.button(icon="contrast", on_click=turn).props(
        'flat round dense color=inherit aria-label="Light or dark"'
    ).tooltip("Light or dark")
