"""``/rapport <subcommand>``: Rapport's commands, given in Slack.

Each only becomes a `Command` for `bot.commands` with who asks and with which powers; the
answer is shown to the asker alone. Slack takes no commands in threads, so a command about
"the last reply" given in a channel means the newest thread there.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from slack_sdk.web.async_client import AsyncWebClient

from bot.commands import HELP, Answer, Asker, Command, Commands, parse
from bot.conversation import Conversation
from bot.platforms.markdown import as_markdown
from bot.platforms.slack import incoming
from bot.platforms.slack.manifest import COMMAND
from bot.platforms.slack.members import Members
from bot.platforms.slack.mrkdwn import sections, summary
from bot.platforms.slack.outgoing import FAILURES, LIMIT, why
from bot.platforms.text import pieces
from bot.types import ChannelKey

log = logging.getLogger(__name__)

Respond = Callable[..., Awaitable[Any]]
"""Sends something to the person who gave the command."""

MOST_RESPONSES = 5
"""How often Slack lets a command be answered."""
ABOUT_REPLIES = {"up", "down", "undo", "why", "reset", "try"}
"""Commands that mean a conversation and not a place; ``try`` stands for ``learn try``."""
SPAN, NEWEST = timedelta(days=30), 500
"""How far back the newest thread of a channel is looked for: time, and replies."""

_NAMES = "|".join(sorted({line.usage.split()[0].lstrip("/") for line in HELP}))
_SLASH = re.compile(rf"(?<![\w/.])/({_NAMES})\b")


class SlashCommands:
    """The command of one workspace."""

    def __init__(
        self, client: AsyncWebClient, team: str, operators: tuple[str, ...], members: Members,
        conversation: Conversation, commands: Commands,
    ) -> None:
        self._client = client
        self._team = team
        self._operators = operators
        self._members = members
        self._conversation = conversation
        self._commands = commands

    async def run(self, body: dict[str, Any], respond: Respond) -> None:
        """Do a command, and tell the asker alone what came of it."""
        command = understood(body.get("text") or "")
        channel = body["channel_id"]
        key = await self._meant(channel, command)
        answer = await self._commands.run(command, await self.asker(key, body["user_id"]))
        texts = pieces(shown(answer) or "Done.", LIMIT)
        for place, text in enumerate(texts[:MOST_RESPONSES], start=1):
            if place == MOST_RESPONSES < len(texts):
                text = f"{pieces(text, LIMIT - 50)[0]}\n\n[… and more than Slack lets me say]"
            try:
                await respond(
                    text=summary(text), blocks=sections(text), response_type="ephemeral"
                )
            except FAILURES as error:
                log.error("the answer to %s is lost: %s", COMMAND, why(error))
                return
        if answer.file is not None:
            await self._send(body["user_id"], *answer.file)

    async def _send(self, person: str, name: str, content: str) -> None:
        """Hand somebody a file, in private."""
        try:
            direct = await self._client.conversations_open(users=person)
            await self._client.files_upload_v2(
                channel=direct["channel"]["id"], filename=name, content=content
            )
        except FAILURES as error:
            log.error("the file %s could not be sent: %s", name, why(error))

    async def asker(self, key: ChannelKey, person: str) -> Asker:
        """A person with their powers as they are now."""
        powers = await self._members.powers(person)
        channel, _ = incoming.place_of(key)
        return Asker(
            key, person, source="command",
            operator=person in self._operators if self._operators else powers.owner,
            # In a direct conversation everybody looks after their own.
            admin=powers.admin or incoming.is_direct(channel),
        )

    async def _meant(self, channel: str, command: Command) -> ChannelKey:
        lesson = command.args.split()[:1] if command.name == "learn" else []
        if ABOUT_REPLIES.isdisjoint([command.name, *lesson]):
            return incoming.channel_key(self._team, channel)
        since = datetime.now(UTC) - SPAN
        for posted in await self._conversation.ratings.posted_since(
            incoming.NAME, since, NEWEST
        ):
            if incoming.place_of(posted.channel)[0] == channel:
                return posted.channel
        return incoming.channel_key(self._team, channel)


def understood(text: str) -> Command:
    """The command that was written after ``/rapport``; nothing asks for help."""
    return parse(f"/{text.strip().lstrip('/')}") or Command("help")


def shown(answer: Answer) -> str:
    """An answer as Markdown, with every command as it is given on Slack."""
    return as_given(as_markdown(answer))


def as_given(text: str) -> str:
    """A text with every command in it as it is given on Slack."""
    return _SLASH.sub(rf"{COMMAND} \1", text)
