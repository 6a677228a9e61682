"""A long answer on Discord: real messages, cut where they may be cut, within the rate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import discord
import yarl
from discord.gateway import DiscordWebSocket

from bot.conversation import Reply, ReplyEvent, TextDelta
from bot.platforms.discord import outgoing
from bot.platforms.discord.client import set_api_base
from bot.platforms.live import LiveReply, Messages
from bot.types import BASE, ChannelKey, Exchange, Sampling, Timings, Turn
from tests.fakes.discord_server import DiscordServer
from tests.platforms.conftest import config_of, running, until

CODE = "\n".join(f"    total += weights[{n}] * values[{n}]" for n in range(110))
ANSWER = (
    "Here is how it works.\n\n" + "It goes on and on. " * 110 + "\n\n```python\ndef total():\n"
    + CODE + "\n    return total\n```\n\n" + "That is all there is to it, see <@123456>. " * 60
)


async def test_nine_thousand_characters_with_code_become_sound_messages_within_the_rate() -> None:
    assert len(ANSWER) >= 8900
    async with DiscordServer("secret-token") as server:
        server.edit_limit = (5, 1.0)
        place = server.add_guild("Rabbits").add_channel("general")
        set_api_base(server.api_base)
        DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(server.gateway)
        async with discord.AutoShardedClient(intents=discord.Intents(guilds=True)) as client:
            connection = asyncio.create_task(client.start("secret-token"))
            await server.ready()
            channel = await client.fetch_channel(place.id)
            assert isinstance(channel, discord.TextChannel)
            poster = outgoing.Reply(channel, None, ping=False)
            grown = asyncio.Event()

            async def events() -> AsyncIterator[ReplyEvent]:
                for start in range(0, len(ANSWER), 300):
                    yield TextDelta(ANSWER[start : start + 300])
                    if not start:
                        await grown.wait()
                yield Reply(ANSWER, 1)

            paper = Messages(poster, limit=outgoing.LIMIT, posted=lambda _: grown.set())
            await LiveReply(paper, interval=0.25).follow(events())
            await client.close()
            await connection
        said = [message.content for message in server.messages(place)]

    assert server.rate_limited == 0
    assert len(said) == len(paper.ids) >= 5
    for text in said:
        assert len(text) <= 2000
        assert text.count("```") % 2 == 0
    bare = [text.replace("```python", "").replace("```", "") for text in (*said, ANSWER)]
    *parts, whole = ["".join(text.split()) for text in bare]
    assert "".join(parts) == whole
    assert all(message.mentions == [] for message in server.messages(place))


async def test_a_vote_under_one_message_of_a_long_reply_outlives_the_session(
    tmp_path: Path
) -> None:
    async with DiscordServer("secret-token") as server:
        guild = server.add_guild("Rabbits")
        channel = guild.add_channel("general")
        ada, bob = guild.add_member("ada"), guild.add_member("bob")
        key = ChannelKey("discord", str(guild.id), str(channel.id))
        config = config_of(discord={"api_base": server.api_base})
        async with running(config, tmp_path, {"DISCORD_BOT_TOKEN": "secret-token"}) as here:
            store = here.app.store
            await server.ready()
            first, last = [await server.say(channel, server.bot, part) for part in ("one", "two")]
            await store.add_exchange(Exchange(
                key, str(ada.id), (str(ada.id),), (Turn("user", "count"),), (1, 2), (3, 4),
                "one\n\ntwo", "stop", BASE, "tiny", Sampling(), Timings(), datetime.now(UTC),
                platform_ids=(str(first.id), str(last.id)),
            ))  # fmt: skip
            await server.react(first, ada, "👍")
            await until(store.current_votes)
            before = len(server.requests)
            await server.drop(4009)
            await server.react(last, bob, "👎")
            # What was said is read again after the votes have been compared.
            await server.wait_for(lambda _: any(
                request.path.partition("?")[0].endswith("/messages")
                for request in server.requests[before:] if request.method == "GET"
            ), timeout=20)  # fmt: skip
            votes = {vote.rater: vote.value for vote in await store.current_votes()}
            assert votes == {str(ada.id): 1, str(bob.id): -1}
