"""The scenarios on the command line: which are asked for, how long they take, and their results."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from benchmarks.scenarios import beside, history, irc, lora, soak, swap
from bot.engine.model import LoadedModel

NAMES = ("history", "lora", "swap", "while_training", "soak", "irc")
"""In the order in which they are measured; keys of the JSON as well."""
SHORTEST, FEWEST = 16, 100
"""Tokens of a history, and replies of a soak: with fewer the figures say nothing."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Let scenarios be asked for."""
    group = parser.add_argument_group(
        "scenarios", "Measured instead of the table, or after it where --channels is given."
    )
    group.add_argument("--history", type=int, nargs="+", metavar="TOKENS",
                       help="time to first token after so long a history, kept and read anew")
    group.add_argument("--lora", action="store_true",
                       help="what adapters beside the weights cost against merged ones")
    group.add_argument("--swap", type=float, nargs="?", const=20.0, metavar="SECONDS",
                       help="a new version every second while 16 channels talk (20)")
    group.add_argument("--while-training", type=float, nargs="?", const=20.0, metavar="SECONDS",
                       help="how long people wait while a run learns (20)")
    group.add_argument("--soak", type=int, metavar="REPLIES",
                       help="memory and latency over so many short replies")
    group.add_argument("--irc", type=Path, metavar="FOLDER",
                       help="the traffic of a log of IRC channels, a line of JSON a message")
    group.add_argument("--irc-channels", type=int, default=8, help="channels of the log")
    group.add_argument("--irc-minutes", type=int, default=10, help="of each, the busiest")
    group.add_argument("--irc-seconds", type=float, default=20.0, help="which these minutes take")


def refuse_nonsense(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """End with a message where a scenario is asked for that cannot be measured."""
    if min(arguments.history or [SHORTEST]) < SHORTEST:
        parser.error(f"--history begins at {SHORTEST} tokens")
    if arguments.soak is not None and arguments.soak < FEWEST:
        parser.error(f"--soak begins at {FEWEST} replies")
    seconds = (arguments.swap, arguments.while_training, arguments.irc_seconds)
    if any(one is not None and one < 1 for one in seconds):
        parser.error("--swap, --while-training and --irc-seconds begin at 1 second")
    if min(arguments.irc_channels, arguments.irc_minutes) < 1:
        parser.error("--irc-channels and --irc-minutes begin at 1")


def asked(arguments: argparse.Namespace) -> list[str]:
    """The scenarios that are asked for."""
    return [name for name in NAMES if getattr(arguments, name)]


async def measured(
    arguments: argparse.Namespace, loaded: LoadedModel
) -> AsyncIterator[tuple[str, Any]]:
    """Each scenario that is asked for, with its result: a dataclass that says itself."""
    for name in asked(arguments):
        yield name, await _measure(name, arguments, loaded)


async def _measure(name: str, arguments: argparse.Namespace, loaded: LoadedModel) -> Any:
    match name:
        case "history":
            return await history.measure(loaded, arguments.history, arguments.repeats)
        case "lora":
            return await lora.measure(loaded, arguments.repeats)
        case "swap":
            return await swap.measure(loaded, arguments.swap)
        case "while_training":
            return await beside.measure(loaded, arguments.while_training)
        case "soak":
            return await soak.measure(loaded, arguments.soak)
        case _:
            return await irc.measure(
                loaded, arguments.irc, arguments.irc_channels, arguments.irc_minutes,
                arguments.irc_seconds,
            )
