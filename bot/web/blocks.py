"""What commands answer, drawn: paragraphs and tables.

Everything is text: nothing that a model or a person wrote is read as markup.
"""

from __future__ import annotations

from nicegui import ui

from bot.answers import Answer, Table, Text


def draw_answer(answer: Answer) -> None:
    """Draw an answer into what is open; a file becomes a button."""
    for block in answer.blocks:
        if isinstance(block, Text):
            ui.label(block.text).classes(f"text {block.tone}")
        else:
            _draw_table(block)
    if answer.file is not None:
        name, text = answer.file
        ui.button(
            f"Save {name}", icon="download",
            on_click=lambda: ui.download.content(text.encode(), name),
        ).props("flat dense no-caps")


def _draw_table(table: Table) -> None:
    with ui.element("div").classes("scroll"), ui.element("table").classes("plain"):
        if table.title:
            with ui.element("caption"):
                ui.label(table.title)
        if any(table.columns):
            with ui.element("thead"), ui.element("tr"):
                for column in table.columns:
                    _cell("th", column)
        with ui.element("tbody"):
            for row in table.rows:
                with ui.element("tr"):
                    for cell in row:
                        _cell("td", cell)


def _cell(tag: str, text: str) -> None:
    with ui.element(tag):
        ui.label(text)
