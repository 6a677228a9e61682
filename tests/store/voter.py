"""A program to be killed: it votes, takes versions, and prints what was confirmed.

Run by `test_durability` as ``python voter.py FOLDER``; it ends only when it is killed.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path

from bot.store import Store
from tests.store.samples import exchange, vote


async def _vote(store: Store, key: int, rater: str) -> None:
    await store.add_vote(vote(key, rater))
    sys.stdout.write(f"vote {rater}\n")
    sys.stdout.flush()


async def _version(store: Store) -> None:
    name = await store.next_version()
    sys.stdout.write(f"version {name}\n")
    sys.stdout.flush()


async def _main(folder: Path) -> None:
    store = await Store.open(folder)
    key = await store.add_exchange(exchange())
    for number in itertools.count():
        votes = (_vote(store, key, f"{number}-{part}") for part in range(5))
        await asyncio.gather(*votes, _version(store))


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1])))
