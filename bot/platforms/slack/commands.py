"""``/rapport <subcommand>``: Rapport's commands, given in Slack.

Each only becomes a `Command` for `bot.commands` with who asks and with which powers; the
answer is shown to the asker alone. Slack takes no commands in threads, so a command about
"the last reply" given in a channel means the newest thread there.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from slack_sdk.web.async_client import AsyncWebClient

from bot.commands import Answer, Asker, Command, Commands, parse
from bot.conversation import Conversation
from bot.platforms.run_report import Reports
from bot.platforms.slack import incoming, review, verdict
from bot.platforms.slack.manifest import COMMAND
from bot.platforms.slack.members import Members
from bot.platforms.slack.mrkdwn import sections, summary
from bot.platforms.slack.outgoing import FAILURES, LIMIT, Reply, Respond, why
from bot.platforms.slack.wording import shown
from bot.platforms.text import pieces
from bot.types import ChannelKey

log = logging.getLogger(__name__)

MOST_RESPONSES = 5
"""How often Slack lets a command be answered."""
ABOUT_REPLIES = {"up", "down", "undo", "why", "reset", "try"}
"""Commands that mean a conversation and not a place; ``try`` stands for ``learn try``."""
SPAN, NEWEST = timedelta(days=30), 500
"""How far back the newest thread of a channel is looked for: time, and replies."""


class SlashCommands:
    """The command of one workspace."""

    def __init__(
        self, client: AsyncWebClient, team: str, operators: tuple[str, ...], members: Members,
        conversation: Conversation, commands: Commands, reports: Reports,
        verdicts: verdict.Verdicts,
    ) -> None:
        self._client = client
        self._team = team
        self._operators = operators
        self._members = members
        self._conversation = conversation
        self._commands = commands
        self._reports = reports
        self._verdicts = verdicts

    async def run(self, body: dict[str, Any], respond: Respond) -> None:
        """Do a command, and tell the asker alone what came of it."""
        command = understood(body.get("text") or "")
        channel = body["channel_id"]
        key = await self._meant(channel, command)
        asker = await self.asker(key, body["user_id"])
        answer = await self._commands.run(command, asker)
        if answer.run is not None:
            self._reports.follow(
                answer.run, Reply(self._client, channel, None),
                lambda version: self._verdicts.show(channel, version, asker),
            )
        try:
            await self._tell(answer, respond)
        except FAILURES as error:
            log.error("the answer to %s is lost: %s", COMMAND, why(error))
            return
        if answer.file is not None:
            await self._send(body["user_id"], *answer.file)

    async def _tell(self, answer: Answer, respond: Respond) -> None:
        if answer.report is not None:
            blocks = verdict.blocks(answer.report)
            text = summary(answer.report.sentence)
            await respond(text=text, blocks=blocks, response_type="ephemeral")
            return
        if answer.review is not None:
            await respond(**review.content(answer), response_type="ephemeral")
            return
        texts = pieces(shown(answer) or "Done.", LIMIT)
        for place, text in enumerate(texts[:MOST_RESPONSES], start=1):
            if place == MOST_RESPONSES < len(texts):
                text = f"{pieces(text, LIMIT - 50)[0]}\n\n[… and more than Slack lets me say]"
            await respond(text=summary(text), blocks=sections(text), response_type="ephemeral")

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
