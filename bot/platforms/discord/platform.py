"""Discord as a platform: connecting, staying connected, and saying plainly what is wrong.

A wrong token or a missing intent ends the platform with an error that names the page and
the switch; a network that is not there is tried again, for ever, with growing pauses.
"""

from __future__ import annotations

import asyncio
import logging
import threading

import aiohttp
import discord
from discord.gateway import KeepAliveHandler

from bot.commands import Commands
from bot.config import Config
from bot.conversation import Conversation
from bot.errors import ConfigError
from bot.people import People
from bot.platforms.base import Notice
from bot.platforms.discord.client import RapportClient, invitation, set_api_base
from bot.platforms.discord.incoming import NAME
from bot.platforms.discord.slash import Slash
from bot.store import Store

log = logging.getLogger(__name__)

TOKEN = "DISCORD_BOT_TOKEN"
PORTAL = "https://discord.com/developers/applications"
SYNCED = "discord_commands"
"""The setting that remembers which commands Discord was told of."""
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 120.0


class DiscordPlatform:
    """The bot on Discord, until it is stopped."""

    name = NAME

    def __init__(
        self, token: str, config: Config, conversation: Conversation, commands: Commands,
        store: Store, people: People,
    ) -> None:
        self._token = token
        self._config = config
        self._conversation = conversation
        self._commands = commands
        self._store = store
        self._people = people
        self._slash: Slash | None = None
        self._client: RapportClient | None = None

    async def run(self) -> None:
        """Talk until the task is cancelled.

        Raises:
            ConfigError: the token or an intent is wrong; the message says where to mend it.
        """
        if self._config.discord.api_base:
            set_api_base(self._config.discord.api_base)
        pause = FIRST_PAUSE
        while True:
            try:
                await self._session()
                return
            except (OSError, aiohttp.ClientError, discord.GatewayNotFound,
                    discord.DiscordServerError) as error:
                log.warning(
                    "Discord cannot be reached (%s); trying again in %.0f s",
                    type(error).__name__, pause,
                )
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def notice(self, notice: Notice) -> None:
        """Shown where a run was asked for; nothing is posted unasked."""
        if self._slash is not None:
            self._slash.reports.hear(notice)

    def waits_for(self) -> str:
        """A connection, while there is none or it is made anew."""
        client = self._client
        if client is None or client.is_closed() or not client.is_ready():
            return "a connection to Discord"
        # Once ready discord.py calls itself that until the end, however often it is cut off.
        cut_off = any(shard.is_closed() for shard in client.shards.values())
        return "a new connection to Discord" if cut_off else ""

    async def _session(self) -> None:
        self._client = client = RapportClient(self._config, self._conversation, self._people)
        self._slash = slash = Slash(client, self._commands, lambda: self._operators(client))
        client.verdicts, client.reviews, client.reports = (
            slash.verdicts, slash.reviews, slash.reports
        )
        try:
            async with client:
                await client.login(self._token)
                known = await self._store.get_setting(SYNCED)
                digest = await slash.sync(known if isinstance(known, str) else None)
                await self._store.set_setting(SYNCED, digest)
                if client.application_id is not None:
                    log.info("Discord: invite the bot with %s", invitation(client.application_id))
                await _connected(client)
        except discord.LoginFailure as error:
            raise ConfigError(
                f"Discord does not accept the token in {TOKEN}: make a new one at {PORTAL} "
                "(your application, Bot, Reset Token) and set it again"
            ) from error
        except discord.PrivilegedIntentsRequired as error:
            raise ConfigError(
                "the bot may not read messages yet: switch on Message Content Intent at "
                f"{PORTAL} (your application, Bot), or set discord.message_content = false"
            ) from error

    async def _operators(self, client: RapportClient) -> frozenset[str]:
        """The configured ids, or where there are none the owners of the application."""
        configured = self._config.permissions.users.admin_ids
        if configured or client.application is None:
            return frozenset(configured)
        if client.application.team is not None:
            return frozenset(str(member.id) for member in client.application.team.members)
        return frozenset({str(client.application.owner.id)})


async def _connected(client: RapportClient) -> None:
    """Stay connected until it fails for good or this is cancelled."""
    connection = asyncio.create_task(client.connect(), name="discord connection")
    try:
        await asyncio.wait([connection])
    finally:
        # While it connects anew discord.py swallows a cancellation and would then wait for
        # ever; a closed client it leaves alone.
        await client.close()
        connection.cancel()
        await asyncio.wait([connection])
        # A connection that was given up half made leaves the thread of its heartbeat behind.
        for thread in threading.enumerate():
            if isinstance(thread, KeepAliveHandler):
                thread.stop()
    await connection
