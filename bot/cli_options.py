"""What all commands of the terminal share: options, the error border, and running a coroutine.

Imports nothing heavy, so that ``rapport --help`` answers at once; the rooms are imported
inside the commands that need them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

from bot.errors import RapportError

if TYPE_CHECKING:
    from bot.config import Config

T = TypeVar("T")
Function = TypeVar("Function", bound=Callable[..., Any])

INTERRUPTED = 130
TERMINATED = 143


class OneLine(click.ClickException):
    """An error for the operator: one line on the standard error, exit status 1."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line."""
        click.echo(f"error: {' '.join(self.message.split())}", err=True)


class RapportGroup(click.Group):
    """The border where every error of ours becomes one line."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except RapportError as error:
            raise OneLine(str(error)) from error


def config_option(function: Function) -> Function:
    """``--config``."""
    return click.option(
        "--config", "config_file", metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Configuration (default: $RAPPORT_CONFIG, else ./config.toml, else defaults).",
    )(function)


def data_option(function: Function) -> Function:
    """``--data``, the folder that holds everything Rapport remembers."""
    return click.option(
        "--data", metavar="DIR", envvar="RAPPORT_DATA", default="data", show_default=True,
        type=click.Path(path_type=Path),
        help="Folder for everything that is kept: database, adapters, log. Also $RAPPORT_DATA.",
    )(function)


def examples(*lines: str) -> str:
    """An epilog that click leaves as it is."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def read_config(file: Path | None) -> Config:
    """The configuration that ``--config`` names.

    Raises:
        ConfigError: it cannot be used.
    """
    from bot.config.file import load_config

    return load_config(file)


def run(
    main: Coroutine[Any, Any, T], *, terminated: int = TERMINATED, interrupted: int = INTERRUPTED
) -> T:
    """Run a coroutine to its end; Ctrl-C and SIGTERM cancel it, so that all is closed in order.

    Args:
        terminated: exit status after SIGTERM.
        interrupted: exit status after Ctrl-C.
    """
    import asyncio
    import signal

    stopped = False

    async def guarded() -> T:
        nonlocal stopped
        task = asyncio.current_task()
        assert task is not None

        def stop() -> None:
            nonlocal stopped
            stopped = True
            task.cancel()

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
        return await main

    try:
        return asyncio.run(guarded())
    except KeyboardInterrupt:
        sys.exit(interrupted)
    except asyncio.CancelledError:
        if stopped:
            sys.exit(terminated)
        raise
