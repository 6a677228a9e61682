"""What commands answer, drawn: paragraphs and tables.

Everything is text: nothing that a model or a person wrote is read as markup.
"""

from __future__ import annotations

from nicegui import ui

from bot.answers import Answer, Text
from bot.dashboard.tables import plain_table


def draw_answer(answer: Answer) -> None:
    """Draw an answer into what is open; a file becomes a button."""
    for block in answer.blocks:
        if isinstance(block, Text):
            ui.label(block.text).classes(f"text {block.tone}")
        else:
            plain_table(block.title, block.columns, block.rows)
    if answer.file is not None:
        name, text = answer.file
        ui.button(
            f"Save {name}", icon="download",
            on_click=lambda: ui.download.content(text.encode(), name),
        ).props("flat dense no-caps")
