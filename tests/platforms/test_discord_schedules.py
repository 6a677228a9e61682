"""Whatever happens in between, every question is answered once and every vote is counted.

Random schedules of questions, reactions, changes of mind, repeated and late events, each in
a channel of one server, while connections to Discord are lost and resumed, or lost for good.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.types import ChannelKey
from tests.fakes.discord_messages import Message
from tests.fakes.discord_server import DiscordServer
from tests.platforms.conftest import config_of, running
from tests.platforms.schedules import PEOPLE, React, fleets, named
from tests.platforms.stage import PATIENCE, Play

SIGNS = {1: "👍", -1: "👎"}


class DiscordStage:
    """One guild with everybody on it."""

    platform = "discord"

    def __init__(self, server: DiscordServer, places: int) -> None:
        self._server = server
        self._guild = server.add_guild("Rabbits")
        self._channels = [self._guild.add_channel(f"room-{place}") for place in range(places)]
        self._people = [self._guild.add_member(f"person-{one}") for one in range(PEOPLE)]
        self._questions: list[list[Message]] = [[] for _ in range(places)]
        self._anew: int | None = None
        """How many requests there were when a session was lost for good."""

    async def ask(self, place: int, person: int) -> None:
        text = f"<@BOT> what about {len(self._questions[place])}?"
        question = await self._server.say(self._channels[place], self._people[person], text)
        self._questions[place].append(question)

    def replies(self, place: int, question: int) -> list[tuple[ChannelKey, str]]:
        key = ChannelKey(self.platform, str(self._guild.id), str(self._channels[place].id))
        return [(key, str(message.id)) for message in self._answers(place, question)]

    def seen(self, place: int, question: int) -> dict[str, int]:
        reactions = self._answers(place, question)[0].reactions
        return {
            str(person): value for value, sign in SIGNS.items()
            for person in reactions.get(sign, {})
        }  # fmt: skip

    async def react(self, place: int, step: React) -> None:
        act = self._server.react if step.given else self._server.unreact
        answer = self._answers(place, step.reply)[0]
        await act(answer, self._people[step.person], SIGNS[step.value])

    async def clear(self, place: int, question: int) -> None:
        answer = self._answers(place, question)[0]
        if place % 2:
            await self._server.clear_reactions(answer)
            return
        for sign in SIGNS.values():
            await self._server.clear_emoji(answer, sign)

    async def repeat(self, rng: random.Random) -> None:
        await self._server.duplicate_next_event(rng.randint(1, 2))

    def hold(self) -> None:
        self._server.hold_events()

    async def release(self, rng: random.Random) -> None:
        await self._server.release_events(rng)

    async def lose(self, way: int) -> None:
        """Eight of ten times in a way that can be resumed."""
        if way > 7:
            self._anew = len(self._server.requests)
        match way:
            case 0 | 1 | 2:
                await self._server.drop()
            case 3 | 4:
                await self._server.drop(4000)
            case 5 | 6:
                await self._server.request_reconnect()
            case 7:
                await self._server.invalidate_session(resumable=True)
            case 8:
                await self._server.invalidate_session()
            case _:
                await self._server.drop(4009)

    async def ready(self) -> None:
        """In a new session only when the bot looks at what it missed, so that more happens then."""
        await self._server.ready(PATIENCE)
        if (anew := self._anew) is not None:
            self._anew = None
            await self.wait_for(lambda: any(
                request.method == "GET" and "/messages" in request.path
                for request in self._server.requests[anew:]
            ))

    async def wait_for(self, holds: Callable[[], object]) -> None:
        await self._server.wait_for(lambda _: holds(), PATIENCE)

    def _answers(self, place: int, question: int) -> list[Message]:
        asked = self._questions[place][question]
        return [
            message for message in self._server.messages(self._channels[place])
            if message.author is self._server.bot and message.reference is asked
        ]


@pytest.mark.slow
@pytest.mark.parametrize("seeds", fleets(), ids=named)
async def test_random_schedules_give_no_double_reply_and_lose_no_vote(
    tmp_path: Path, seeds: range
) -> None:
    async with DiscordServer("secret-token") as server:
        stage = DiscordStage(server, len(seeds))
        config = config_of(
            discord={"api_base": server.api_base, "edit_seconds": 0.2},
            limits={"user_per_minute": 0, "guild_per_minute": 0},
            sampling={"temperature": 0.0, "max_tokens": 5},
        )
        async with running(config, tmp_path, {"DISCORD_BOT_TOKEN": "secret-token"}) as here:
            await stage.ready()
            await Play(stage, here.app, seeds).run()
        assert server.unknown_requests == []
