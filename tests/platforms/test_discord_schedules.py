"""Whatever happens in between, every question is answered once and every vote is counted.

Random schedules of questions, reactions, changes of mind, duplicated events and lost
connections over several channels. At the end the store must agree with what people see on
Discord; the seed is in the test's name.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bot.app import App
from bot.types import ChannelKey
from tests.fakes.discord_messages import Message
from tests.fakes.discord_server import DiscordServer
from tests.fakes.discord_world import Channel, Guild, User
from tests.platforms.conftest import config_of, running, until

SIGNS = {"👍": 1, "👎": -1}
STEPS, QUESTIONS = 150, 15


@dataclass
class Crowd:
    """People who act at random in a few channels, and what they did."""

    server: DiscordServer
    guild: Guild
    channels: list[Channel]
    people: list[User]
    rng: random.Random
    asked: int = 0
    signs: dict[tuple[int, int], tuple[Message, User, str]] = field(default_factory=dict)

    def answers(self) -> list[Message]:
        """Every reply of the bot, in all channels."""
        return [
            message for channel in self.channels for message in self.server.messages(channel)
            if message.author == self.server.bot
        ]

    async def act(self) -> None:
        """One thing that happens."""
        draw = self.rng.random()
        answers = self.answers()
        if draw < 0.12 and self.asked < QUESTIONS:
            await self.ask()
        elif draw < 0.90:
            await self.sign(self.rng.choice(answers), self.rng.choice(self.people))
        elif draw < 0.96:
            await self.server.duplicate_next_event()
        else:
            await self.server.drop(self.rng.choice([1006, 4000]))

    async def ask(self) -> None:
        """Somebody asks something."""
        self.asked += 1
        await self.server.say(
            self.rng.choice(self.channels), self.rng.choice(self.people),
            f"<@BOT> what about {self.asked}?",
        )

    async def sign(self, answer: Message, person: User) -> None:
        """Somebody reacts, or takes the reaction back, never two at once."""
        before = self.signs.pop((answer.id, person.id), None)
        if before is not None:
            await self.server.unreact(answer, person, before[2])
        if before is None or self.rng.random() < 0.6:
            sign = self.rng.choice(list(SIGNS))
            await self.server.react(answer, person, sign)
            self.signs[answer.id, person.id] = (answer, person, sign)

    async def seen(self, app: App) -> set[tuple[int, str, int]]:
        """The votes that people see: exchange, person, value."""
        found = set()
        for answer, person, sign in self.signs.values():
            key = ChannelKey("discord", str(self.guild.id), str(answer.channel.id))
            exchange = await app.store.exchange_of(key, str(answer.id))
            assert exchange is not None
            found.add((exchange, str(person.id), SIGNS[sign]))
        return found


@pytest.fixture
async def server() -> AsyncIterator[DiscordServer]:
    async with DiscordServer("secret-token") as server:
        yield server
        assert server.unknown_requests == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
async def test_a_random_schedule_gives_no_double_reply_and_loses_no_vote(
    server: DiscordServer, tmp_path: Path, seed: int
) -> None:
    guild = server.add_guild("Rabbits")
    crowd = Crowd(
        server, guild, [guild.add_channel(name) for name in ("a", "b", "c")],
        [guild.add_member(name) for name in ("ada", "bob", "cyd")], random.Random(seed),
    )
    config = config_of(
        discord={"api_base": server.api_base, "edit_seconds": 0.2},
        limits={"user_per_minute": 0, "guild_per_minute": 0}, sampling={"max_tokens": 8},
    )
    async with running(config, tmp_path, {"DISCORD_BOT_TOKEN": "secret-token"}) as here:
        await server.ready()
        for _ in range(3):
            await crowd.ask()
        await server.wait_for(lambda _: len(crowd.answers()) == 3)
        for step in range(STEPS):
            await crowd.act()
            if step == STEPS // 2:
                await server.drop(4009)
            await asyncio.sleep(0)
        await server.wait_for(lambda _: len(crowd.answers()) >= crowd.asked, timeout=40)

        async def agreed() -> bool:
            held = {
                (vote.exchange_id, vote.rater, vote.value)
                for vote in await here.app.store.current_votes()
            }
            return held == await crowd.seen(here.app)

        async def recorded() -> bool:
            return await here.app.store.count_exchanges() == crowd.asked

        await until(recorded)
        await until(agreed)
        assert len(crowd.answers()) == crowd.asked
