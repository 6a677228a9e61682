"""How long a reaction takes to become a vote, and how late the event loop is meanwhile.

    python -m benchmarks.platforms --seconds 10 --json platforms.json

The whole bot, run as in production, beside a server that speaks the platform's protocol over
a real socket. So many people change their minds without a pause: the clock starts when one
reacts at the server and stops when the vote is on the disk. Before that a task that sleeps
for 5 ms says by how much it is late. Both are measured while nothing else happens, while
replies are made in some channels, and while a learning run is on as well. Server, people
and bot share one event loop and one process, so all figures hold their work too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.figures import quantile
from bot.app import App, run_platforms
from bot.config import Config
from bot.types import BASE, ChannelKey, Exchange, Sampling, Timings, Turn, Vote
from learning.awaited import train_once
from tests.fakes.discord_server import DiscordServer
from tests.fakes.slack_server import SlackServer

NAMES = ["discord", "slack"]
BOT, APP = "xoxb-secret", "xapp-secret"
NAP, PATIENCE = 0.005, 120.0
"""Seconds: of the task that may be late, and before something that hangs is given up."""
RATED = 240
"""Replies on record with a vote, for the run to learn from."""


@dataclass(frozen=True)
class Row:
    """One platform in one phase: milliseconds, but for the first figure."""

    platform: str
    phase: str
    reactions_per_s: float
    vote_p50_ms: float
    vote_p95_ms: float
    lag_p50_ms: float
    lag_p99_ms: float
    lag_max_ms: float
    replies: int
    """Finished in the phase."""


class Place:
    """A server with channels and people, which are numbers here."""

    name: ClassVar[str]
    sign: ClassVar[str]
    """The reaction that is given."""
    tokens: ClassVar[Mapping[str, str]]
    """What the bot finds in its environment."""

    def __init__(
        self, server: DiscordServer | SlackServer, rooms: Sequence[Any], people: Sequence[Any]
    ) -> None:
        self._server: Any = server
        self._rooms = rooms
        self._people = people
        self.rooms = [str(room.id) for room in rooms]
        """The ids of the channels, as conversations begin with them."""
        self.people = [str(person.id) for person in people]
        """The ids of the people, as votes name them."""
        self.api_base = server.api_base

    async def ready(self) -> None:
        """Return once the bot is connected."""
        await self._server.ready(PATIENCE)

    async def ask(self, room: int) -> None:
        """Somebody asks the bot something."""
        await self._server.say(self._rooms[room], self._people[0], "<@BOT> what is new?")

    async def toggle(self, room: int, person: int) -> None:
        """Somebody gives the first reply of a channel a sign, or takes it back."""
        reply, who = self._server.messages(self._rooms[room])[1], self._people[person]
        given = who.id in reply.reactions.get(self.sign, ())
        await (self._server.unreact if given else self._server.react)(reply, who, self.sign)


class OnDiscord(Place):
    """One guild."""

    name = "discord"
    sign = "👍"
    tokens: ClassVar = {"DISCORD_BOT_TOKEN": "secret-token"}

    def __init__(self, server: DiscordServer, rooms: int, people: int) -> None:
        guild = server.add_guild("Bench")
        super().__init__(
            server, [guild.add_channel(f"room-{one}") for one in range(rooms)],
            [guild.add_member(f"person-{one}") for one in range(people)],
        )


class OnSlack(Place):
    """One workspace."""

    name = "slack"
    sign = "+1"
    tokens: ClassVar = {"SLACK_BOT_TOKEN": BOT, "SLACK_APP_TOKEN": APP}

    def __init__(self, server: SlackServer, rooms: int, people: int) -> None:
        users = [server.add_user(f"person-{one}") for one in range(people)]
        super().__init__(
            server, [server.add_channel(f"room-{one}") for one in range(rooms)], users
        )


class Witness:
    """Sees what is on the disk, by standing in the way of two calls of the store."""

    def __init__(self, app: App) -> None:
        self.replies = 0
        self._store = app.store
        self._votes: dict[str, asyncio.Event] = {}
        self._replies: dict[str, asyncio.Event] = {}
        self._add_vote, self._link = app.store.add_vote, app.store.link_platform_ids
        app.store.add_vote = self._see_vote  # type: ignore[method-assign]
        app.store.link_platform_ids = self._see_reply  # type: ignore[method-assign]

    def vote_of(self, person: str) -> asyncio.Event:
        """Set when the next vote of somebody is on the disk."""
        return self._votes.setdefault(person, asyncio.Event())

    def reply_in(self, room: str) -> asyncio.Event:
        """Set when the next reply in a channel is, with where it was posted."""
        return self._replies.setdefault(room, asyncio.Event())

    async def _see_vote(self, vote: Vote) -> None:
        await self._add_vote(vote)
        if (event := self._votes.pop(vote.rater, None)) is not None:
            event.set()

    async def _see_reply(self, exchange_id: int, platform_ids: Sequence[str]) -> None:
        await self._link(exchange_id, platform_ids)
        self.replies += 1
        exchange = await self._store.exchange(exchange_id)
        assert exchange is not None
        room = exchange.channel.channel.partition(":")[0]
        if (event := self._replies.pop(room, None)) is not None:
            event.set()


@dataclass(frozen=True)
class Bench:
    """A bot at work, and what it is measured with."""

    app: App
    place: Place
    witness: Witness

    async def ask(self, room: int) -> None:
        """Ask, and return when the answer is there."""
        replied = self.witness.reply_in(self.place.rooms[room])
        await self.place.ask(room)
        await asyncio.wait_for(replied.wait(), PATIENCE)

    async def talk(self, room: int) -> None:
        """Ask one question after another."""
        while True:
            await self.ask(room)

    async def learn(self, begun: asyncio.Event) -> None:
        """One learning run after another."""
        while True:
            await train_once(self.app.learning, self.app.store, lambda *_: begun.set())

    async def react(self, person: int, until: float, seconds: list[float]) -> None:
        """Change one's mind without a pause; how long each time took."""
        room = 0
        while (began := time.perf_counter()) < until:
            voted = self.witness.vote_of(self.place.people[person])
            await self.place.toggle(room, person)
            await asyncio.wait_for(voted.wait(), PATIENCE)
            seconds.append(time.perf_counter() - began)
            room = (room + 1) % len(self.place.rooms)

    async def measure(self, phase: str, seconds: float) -> Row:
        """The lag alone, then the reactions of everybody at once."""
        replies = self.witness.replies
        late = sorted(1e3 * one for one in await lag(seconds))
        took: list[float] = []
        began = time.perf_counter()
        await asyncio.gather(*(
            self.react(person, began + seconds, took) for person in range(len(self.place.people))
        ))
        rate = len(took) / (time.perf_counter() - began)
        took = sorted(1e3 * one for one in took)
        return Row(
            self.place.name, phase, round(rate, 1),
            round(quantile(took, 0.5), 1), round(quantile(took, 0.95), 1),
            round(quantile(late, 0.5), 2), round(quantile(late, 0.99), 2), round(late[-1], 2),
            self.witness.replies - replies,
        )  # fmt: skip


async def lag(seconds: float) -> list[float]:
    """By how much a task that sleeps for `NAP` is late, each time, in seconds."""
    late = []
    now, end = time.perf_counter(), time.perf_counter() + seconds
    while now < end:
        await asyncio.sleep(NAP)
        before, now = now, time.perf_counter()
        late.append(now - before - NAP)
    return late


async def rate_many(app: App) -> None:
    """Put rated replies on record: short ones liked, long ones not."""
    template, ends = app.engine.template, app.engine.info.end_ids
    now = datetime.now(UTC)
    for number in range(RATED):
        prompt = (Turn("user", f"what do you think about the number {number}?"),)
        liked = number % 3 > 0
        reply = "I like it." if liked else "It is a number that many people have heard of."
        row = await app.store.add_exchange(Exchange(
            ChannelKey("bench", "guild", "rated"), "ada", ("ada",), prompt,
            tuple(template.encode(template.render(prompt))),
            (*template.encode(reply), ends[0]), reply, "stop", BASE,
            app.engine.info.fingerprint, Sampling(), Timings(), now,
        ))  # fmt: skip
        await app.store.add_vote(Vote(row, "ada", 1 if liked else -1, "reaction", now))


@asynccontextmanager
async def running(config: Config, data: Path, tokens: Mapping[str, str]) -> AsyncIterator[App]:
    """The bot on its platform."""
    opened: asyncio.Future[App] = asyncio.get_running_loop().create_future()
    bot = asyncio.create_task(run_platforms(config, data, tokens, opened.set_result))
    both: list[asyncio.Future[Any]] = [bot, opened]
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    if bot.done():
        await bot
    try:
        yield opened.result()
    finally:
        bot.cancel()
        await asyncio.wait([bot])


@asynccontextmanager
async def beside(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do this for as long as the context lasts; what fails in it is raised."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            raise error


async def phases(place: Place, arguments: argparse.Namespace, data: Path) -> list[Row]:
    """One platform, from silence to a learning run."""
    config = Config.model_validate({
        "model": {"device": "cpu", "threads": arguments.threads}, "log": {"level": "warning"},
        place.name: {"api_base": place.api_base},
        "sampling": {"temperature": 0.0, "max_tokens": 48},
        "limits": {"user_per_minute": 0, "guild_per_minute": 0},
        "learning": {"consent": "granted", "platform_terms_acknowledged": True},
    })  # fmt: skip
    async with running(config, data, place.tokens) as app:
        bench = Bench(app, place, Witness(app))
        await place.ready()
        rooms = range(len(place.rooms))
        await asyncio.gather(*map(bench.ask, rooms))
        await rate_many(app)
        rows = [await bench.measure("idle", arguments.seconds)]
        async with beside(*map(bench.talk, rooms)):
            rows.append(await bench.measure("replies", arguments.seconds))
        begun = asyncio.Event()
        async with beside(bench.learn(begun), *map(bench.talk, rooms)):
            await asyncio.wait_for(begun.wait(), PATIENCE)
            rows.append(await bench.measure("replies, training", arguments.seconds))
    return rows


async def main(arguments: argparse.Namespace) -> None:
    """Measure, print, write."""
    rows: list[Row] = []
    sizes = (arguments.channels, arguments.people)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        if "discord" in arguments.platforms:
            async with DiscordServer("secret-token") as discord:
                rows += await phases(OnDiscord(discord, *sizes), arguments, Path(folder, "d"))
        if "slack" in arguments.platforms:
            async with SlackServer(BOT, APP) as slack:
                rows += await phases(OnSlack(slack, *sizes), arguments, Path(folder, "s"))
    for row in rows:
        print(
            f"{row.platform:>8}, {row.phase:<18} {row.reactions_per_s:7.1f} reactions/s  "
            f"vote {row.vote_p50_ms:.1f}/{row.vote_p95_ms:.1f} ms  "
            f"lag {row.lag_p50_ms:.2f}/{row.lag_p99_ms:.1f}/{row.lag_max_ms:.1f} ms  "
            f"{row.replies} replies"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.platforms",
        description="Reactions until they are votes, and the lag of the event loop.",
    )
    parser.add_argument("--platforms", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--seconds", type=float, default=10, help="each of both figures a phase")
    parser.add_argument("--channels", type=int, default=4, help="where replies are made")
    parser.add_argument("--people", type=int, default=16, help="who react all at once")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as the process may use")
    parser.add_argument("--folder", type=Path, help="where the database is made (a real disk)")
    parser.add_argument("--json", type=Path, help="write the rows there")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(parse()))
