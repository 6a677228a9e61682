"""Whatever happens in between, every question is answered once and every vote is counted.

Random schedules of questions, reactions, changes of mind, repeated and late events, each in
a channel of one workspace, while sockets are exchanged, closed and torn, and what was not
acknowledged comes again.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.platforms.slack import socket_mode
from bot.platforms.slack.manifest import EVENTS, SCOPES
from bot.types import ChannelKey
from tests.fakes.slack_server import SlackServer
from tests.fakes.slack_world import Message
from tests.platforms.conftest import config_of, running
from tests.platforms.schedules import PEOPLE, React, fleets, named
from tests.platforms.stage import PATIENCE, Play

BOT, APP = "xoxb-secret", "xapp-secret"
SIGNS = {1: "+1", -1: "-1"}


class SlackStage:
    """One workspace with everybody in every channel; each question opens a thread."""

    platform = "slack"

    def __init__(self, server: SlackServer, places: int) -> None:
        self._server = server
        self._people = [server.add_user(f"person-{one}") for one in range(PEOPLE)]
        self._channels = [server.add_channel(f"room-{place}") for place in range(places)]
        self._questions: list[list[Message]] = [[] for _ in range(places)]

    async def ask(self, place: int, person: int) -> None:
        text = f"<@BOT> what about {len(self._questions[place])}?"
        question = await self._server.say(self._channels[place], self._people[person], text)
        self._questions[place].append(question)

    def replies(self, place: int, question: int) -> list[tuple[ChannelKey, str]]:
        thread = f"{self._channels[place].id}:{self._questions[place][question].ts}"
        key = ChannelKey(self.platform, self._server.team_id, thread)
        return [(key, message.ts) for message in self._answers(place, question)]

    def seen(self, place: int, question: int) -> dict[str, int]:
        reactions = self._answers(place, question)[0].reactions
        return {
            person: value for value, sign in SIGNS.items() for person in reactions.get(sign, ())
        }

    async def react(self, place: int, step: React) -> None:
        act = self._server.react if step.given else self._server.unreact
        answer = self._answers(place, step.reply)[0]
        await act(answer, self._people[step.person], SIGNS[step.value])

    async def clear(self, place: int, question: int) -> None:
        """Nobody can do that for others on Slack: each takes their own back."""
        answer = self._answers(place, question)[0]
        for sign in SIGNS.values():
            for person in list(answer.reactions.get(sign, ())):
                await self._server.unreact(answer, self._server.users[person], sign)

    async def repeat(self, rng: random.Random) -> None:
        match rng.randrange(3):
            case 0:
                self._server.redeliver_next()
            case 1:
                await self._server.repeat_one(rng)
            case _:
                await self._server.redeliver()

    def hold(self) -> None:
        self._server.hold_events()

    async def release(self, rng: random.Random) -> None:
        await self._server.release_events(rng)

    async def lose(self, way: int) -> None:
        """Half of the times Slack asks first."""
        match way:
            case 0 | 1 | 2 | 3:
                await self._server.disconnect()
            case 4:
                await self._server.disconnect("warning")
            case 5 | 6 | 7:
                await self._server.close_sockets()
            case _:
                await self._server.drop()

    async def ready(self) -> None:
        await self._server.ready(PATIENCE)

    async def wait_for(self, holds: Callable[[], object]) -> None:
        await self._server.wait_for(lambda _: holds(), PATIENCE)

    def _answers(self, place: int, question: int) -> list[Message]:
        asked = self._questions[place][question]
        found = self._server.messages(self._channels[place], thread=asked)
        return [message for message in found if message.bot_id == self._server.bot_id]


@pytest.mark.slow
@pytest.mark.parametrize("seeds", fleets(), ids=named)
async def test_random_schedules_give_no_double_reply_and_lose_no_vote(
    tmp_path: Path, seeds: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A torn socket is noticed when it is looked at, which is every ten seconds.
    monkeypatch.setattr(socket_mode, "LOOK_AGAIN", 2.0)
    async with SlackServer(BOT, APP, scopes=SCOPES, subscriptions=EVENTS) as server:
        stage = SlackStage(server, len(seeds))
        config = config_of(
            slack={"api_base": server.api_base, "edit_seconds": 0.2},
            limits={"user_per_minute": 0, "guild_per_minute": 0},
            sampling={"temperature": 0.0, "max_tokens": 5},
        )
        tokens = {"SLACK_BOT_TOKEN": BOT, "SLACK_APP_TOKEN": APP}
        async with running(config, tmp_path, tokens) as here:
            await stage.ready()
            await Play(stage, here.app, seeds).run()
        assert (server.unknown_requests, server.complaints) == ([], [])
