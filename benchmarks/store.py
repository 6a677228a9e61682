"""How many votes a second are durable, and what history costs when there is a lot of it.

    python -m benchmarks.store --votes 2000 --exchanges 1000000 --json store.json

Votes: so many people vote at once, and each vote counts when its call has returned, which is
when it is on the disk. The peer writes the same rows to the same tables with one commit
each, as a bot does that calls the database from its handlers; both take turns within one
run. History: the newest turns of one channel and the last reply, with few exchanges in the
store and with many; the ratio says what growth costs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from bot.store import Store
from bot.store.store import FILE
from bot.types import ChannelKey, Exchange, Message, Sampling, Timings, Turn, Vote

NOW = datetime(2026, 11, 21, tzinfo=UTC)
CHANNELS = 100
REPEATS = 200


@dataclass(frozen=True)
class Row:
    """One figure, and what it is compared with."""

    what: str
    figure: float
    unit: str
    peer: float
    peer_is: str

    @property
    def ratio(self) -> float:
        """The figure divided by the peer's."""
        return self.figure / self.peer


def channel(number: int) -> ChannelKey:
    """One of the channels that everything is spread over."""
    return ChannelKey("bench", "guild", str(number % CHANNELS))


def exchange(number: int) -> Exchange:
    """A question and its reply, of ordinary size."""
    prompt = (Turn("system", "You are Rapport."), Turn("user", f"question {number}"))
    return Exchange(
        channel(number), f"p{number % 50}", (f"p{number % 50}",), prompt, tuple(range(60)),
        tuple(range(20)), f"an answer to question {number}", "stop", "base", "bench",
        Sampling(), Timings(), NOW, platform_ids=(f"r{number}",),
    )  # fmt: skip


async def fill(store: Store, first: int, last: int) -> None:
    """Record messages and their replies, many at once."""
    for start in range(first, last, 2000):
        numbers = range(start, min(start + 2000, last))
        await asyncio.gather(*(
            store.add_message(Message(channel(n), f"p{n % 50}", f"question {n}", f"m{n}", NOW))
            for n in numbers
        ))
        await asyncio.gather(*(store.add_exchange(exchange(n)) for n in numbers))


def multiply(file: Path, rows: int, total: int) -> None:
    """Copy the first `rows` messages and exchanges, with new ids, until there are `total`."""
    with closing(sqlite3.connect(file)) as connection, connection:
        for copy in range(1, total // rows):
            shift = copy * rows
            connection.execute(
                "INSERT INTO messages SELECT id + ?, channel_id, platform_id || ?, author, "
                "author_name, time, private, text FROM messages WHERE id <= ?",
                (shift, f"-{copy}", rows),
            )
            connection.execute(
                "INSERT INTO exchanges SELECT id + ?, channel_id, after_message + ?, asker, "
                "adapter, base, finish, time, private, reply, sampling, timings, reply_ids, "
                "prompt_ids, prompt FROM exchanges WHERE id <= ?", (shift, shift, rows),
            )


async def votes_a_second(store: Store, number: int, exchanges: int) -> float:
    """Votes on many exchanges, all in flight together."""
    votes = [Vote(1 + n % exchanges, f"v{n}", 1, "reaction", NOW) for n in range(number)]
    began = time.perf_counter()
    await asyncio.gather(*map(store.add_vote, votes))
    return number / (time.perf_counter() - began)


def single_commits(file: Path, number: int, exchanges: int) -> float:
    """The same rows with one durable commit each, on the plain driver."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA synchronous=FULL")
        began = time.perf_counter()
        for n in range(number):
            row = (1 + n % exchanges, f"w{n}", 1, "reaction", 0)
            with connection:
                connection.execute(
                    "INSERT INTO votes (exchange_id, rater, value, source, time) "
                    "VALUES (?, ?, ?, ?, ?)", row,
                )
                connection.execute(
                    "INSERT INTO current_votes (exchange_id, rater, value, source, time, adapter) "
                    "VALUES (?, ?, ?, ?, ?, 'base')", row,
                )
        return number / (time.perf_counter() - began)


async def milliseconds(call: Callable[[int], Awaitable[object]]) -> float:
    """The median of many calls, each about another channel."""
    times = []
    for number in range(REPEATS):
        began = time.perf_counter()
        await call(number)
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


async def main(arguments: argparse.Namespace) -> None:
    """Measure, print, write."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        async with await Store.open(Path(folder)) as store:
            few = 1000
            await fill(store, 0, few)
            calls: dict[str, Callable[[int], Awaitable[object]]] = {
                "history, 200 turns": lambda n: store.history(channel(n), 200),
                "last reply": lambda n: store.last_exchange(channel(n)),
            }
            before = {name: await milliseconds(call) for name, call in calls.items()}
            ours = await votes_a_second(store, arguments.votes, few)
            alone = min(arguments.votes, 500)
            theirs = await asyncio.to_thread(single_commits, Path(folder) / FILE, alone, few)
            rows.append(Row("durable votes", ours, "1/s", theirs, "one commit each"))
            await asyncio.to_thread(multiply, Path(folder) / FILE, few, arguments.exchanges)
            for name, call in calls.items():
                rows.append(Row(
                    f"{name}, {arguments.exchanges:,} exchanges", await milliseconds(call), "ms",
                    before[name], f"{few:,} exchanges",
                ))
    for row in rows:
        print(
            f"{row.what:>42} {row.figure:9.2f} {row.unit:4} {row.ratio:6.2f}x of "
            f"{row.peer:.2f} ({row.peer_is})"
        )
    if arguments.json:
        found = [asdict(row) | {"ratio": round(row.ratio, 3)} for row in rows]
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.store", description="Durable votes, and history at size."
    )
    parser.add_argument("--votes", type=int, default=2000, help="votes in flight together")
    parser.add_argument("--exchanges", type=int, default=1_000_000, help="how many there are then")
    parser.add_argument("--folder", type=Path, help="where the database is made (a real disk)")
    parser.add_argument("--json", type=Path, help="write the rows there")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(parse()))
