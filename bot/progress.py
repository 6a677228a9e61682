"""How far something has come, on the standard error.

A bar in a terminal, otherwise a line for each tenth. It does not know what is being done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

Show = Callable[[float, str], None]
"""Takes the share done, from 0 to 1, and what is going on."""


@contextmanager
def progress_bar(title: str) -> Iterator[Show]:
    """Show how far something has come, until the context ends."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield _lines(console, title)
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(),
               TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(title, total=1.0)
        yield lambda share, text: progress.update(task, completed=share, description=text)


def _lines(console: Console, title: str) -> Show:
    before = -1

    def show(share: float, text: str) -> None:
        nonlocal before
        tenth = int(share * 10)
        if tenth != before:
            before = tenth
            console.print(f"{title}: {share:.0%} {text}", markup=False)

    return show
