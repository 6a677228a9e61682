"""Rapport's commands as Discord's slash commands.

Each only builds a `Command` for `bot.commands`, says who asks and with which powers, and
shows the answer: to the asker alone where it concerns the model or the asker. Powers are
looked up when a command is given, because what Discord shows in its menus is a hint only.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Literal

import discord
from discord import app_commands

from bot.commands import Asker, Command, Commands
from bot.platforms.discord import incoming, outgoing
from bot.platforms.discord.review import Reviews
from bot.platforms.discord.verdict import Verdicts
from bot.platforms.markdown import as_markdown
from bot.platforms.run_report import Reports
from bot.platforms.text import pieces

log = logging.getLogger(__name__)

Operators = Callable[[], Awaitable[frozenset[str]]]
"""Who owns the bot, as Discord's ids."""

PLAIN = {
    "help": "What the bot can do",
    "status": "The model, who serves, and how people like it",
    "why": "What the model saw when it gave its last reply here",
    "reset": "Forget this conversation and start anew",
    "up": "The last reply was good",
    "down": "The last reply was bad",
    "undo": "Take your last vote back",
}
LESSONS = {
    "retrain": "Learn from the votes now",
    "status": "The run that is on, and the last verdict",
    "adapters": "Every version with its verdict",
    "cancel": "Give up the run that is on",
    "pause": "Start no runs until you resume",
    "resume": "Let runs start again",
}
VERSIONED = {
    "try": "Let this channel talk with a version; `none` ends it",
    "rollback": "Serve the version before this one, or another one, again",
    "report": "A verdict with its checks, replies and curves; usually the newest",
    "approve": "Let a version serve that waits for approval",
    "veto": "Turn a version away that waits for approval",
    "promote": "Let a judged version serve, whatever the gate said",
}
BANS = {
    "ban": "Somebody's votes count no more",
    "unban": "A banned person's votes count again",
}
PRIVATE = {"help", "status", "why", "up", "down", "undo", "learn", "mydata"}
"""Commands whose answer only the asker sees."""


class Slash:
    """The command tree of one client."""

    def __init__(
        self, client: discord.Client, commands: Commands, operators: Operators
    ) -> None:
        self._client = client
        self._commands = commands
        self._operators = operators
        self.reports = Reports(outgoing.LIMIT)
        self.verdicts = Verdicts(commands, self._asker)
        self.reviews = Reviews(commands, self._asker)
        self.tree = app_commands.CommandTree(client)
        for name, summary in PLAIN.items():
            self.tree.add_command(self._simple(name, name, summary))
        self.tree.add_command(self._persona())
        self.tree.add_command(self._mydata())
        self.tree.add_command(self._learn())

    async def sync(self, known: str | None) -> str:
        """Tell Discord of the commands, unless it was told of the same ones; their hash."""
        payload = [command.to_dict(self.tree) for command in self.tree.get_commands()]
        digest = hashlib.sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest()
        if digest != known:
            await self.tree.sync()
            log.info("Discord: %d commands synchronised", len(payload))
        return digest

    def _simple(self, name: str, command: str, summary: str) -> app_commands.Command[
        app_commands.Group, ..., None
    ]:
        group, _, lesson = command.partition(" ")

        async def callback(interaction: discord.Interaction) -> None:
            await self._run(interaction, Command(group, lesson))

        return app_commands.Command(name=name, description=summary, callback=callback)

    def _persona(self) -> app_commands.Command[app_commands.Group, ..., None]:
        @app_commands.describe(text="Who the bot is to be here; `default` for the usual one")
        async def callback(
            interaction: discord.Interaction, text: app_commands.Range[str, 1, 2000] | None = None
        ) -> None:
            await self._run(interaction, Command("persona", text or ""))

        return app_commands.Command(
            name="persona", description="Show or change who the bot is here", callback=callback
        )

    def _mydata(self) -> app_commands.Group:
        group = app_commands.Group(name="mydata", description="What the bot keeps of you")
        group.add_command(self._simple("what", "mydata what", "What is kept, and what for"))
        group.add_command(self._simple("get", "mydata get", "All of it, as a file for you alone"))

        async def forget(interaction: discord.Interaction, sure: bool = False) -> None:
            await self._run(interaction, Command("mydata", "forget yes" if sure else "forget"))

        async def consent(interaction: discord.Interaction, agree: bool) -> None:
            word = "yes" if agree else "no"
            await self._run(interaction, Command("mydata", f"consent {word}"))

        group.add_command(app_commands.Command(
            name="forget", description="Delete all of it; first tells what would go",
            callback=app_commands.describe(sure="Delete it now")(forget),
        ))
        group.add_command(app_commands.Command(
            name="consent", description="Whether the bot may learn from what you say",
            callback=app_commands.describe(agree="Yes or no; it can be changed")(consent),
        ))
        return group

    def _learn(self) -> app_commands.Group:
        group = app_commands.Group(
            name="learn", description="For those who own the bot: how it learns",
            default_permissions=discord.Permissions(administrator=True),
        )
        for name, summary in LESSONS.items():
            group.add_command(self._simple(name, f"learn {name}", summary))
        for name, summary in VERSIONED.items():
            group.add_command(self._versioned(name, summary))
        for name, summary in BANS.items():
            group.add_command(self._banning(name, summary))
        group.add_command(self._export())
        group.add_command(self._review())
        return group

    def _review(self) -> app_commands.Command[app_commands.Group, ..., None]:
        async def callback(
            interaction: discord.Interaction,
            say: Literal["keep", "drop", "next"] | None = None, reply: int | None = None,
        ) -> None:
            words = ["review", say or "", str(reply) if reply and say in ("keep", "drop") else ""]
            await self._run(interaction, Command("learn", " ".join(filter(None, words))))

        described = app_commands.describe(
            say="Learn from it, never learn from it, or show the next one",
            reply="The number of the reply",
        )
        return app_commands.Command(
            name="review", description="Liked replies that wait for your word",
            callback=described(callback),
        )

    def _export(self) -> app_commands.Command[app_commands.Group, ..., None]:
        async def callback(
            interaction: discord.Interaction, form: Literal["csv", "sft", "kto", "dpo"] = "csv"
        ) -> None:
            await self._run(interaction, Command("learn", f"export {form}"))

        described = app_commands.describe(form="csv for a spreadsheet, the others for trainers")
        return app_commands.Command(
            name="export", description="All votes, as a file for you alone",
            callback=app_commands.rename(form="format")(described(callback)),
        )

    def _versioned(
        self, name: str, summary: str
    ) -> app_commands.Command[app_commands.Group, ..., None]:
        async def callback(interaction: discord.Interaction, version: str = "") -> None:
            await self._run(interaction, Command("learn", f"{name} {version}".strip()))

        described = app_commands.describe(version="Such as v3")(callback)
        command: app_commands.Command[app_commands.Group, ..., None] = app_commands.Command(
            name=name, description=summary, callback=described
        )
        command.autocomplete("version")(self._versions)
        return command

    def _banning(
        self, name: str, summary: str
    ) -> app_commands.Command[app_commands.Group, ..., None]:
        async def callback(interaction: discord.Interaction, person: discord.User) -> None:
            await self._run(interaction, Command("learn", f"{name} {person.id}"))

        described = app_commands.describe(person="Who votes")(callback)
        return app_commands.Command(name=name, description=summary, callback=described)

    async def _versions(
        self, interaction: discord.Interaction, typed: str
    ) -> list[app_commands.Choice[str]]:
        if not (await self._asker(interaction)).operator:
            return []
        names = await self._commands.versions()
        fitting = [name for name in reversed(names) if typed.lower() in name]
        return [app_commands.Choice(name=name, value=name) for name in fitting[:25]]

    async def _run(self, interaction: discord.Interaction, command: Command) -> None:
        hidden = command.name in PRIVATE
        await interaction.response.defer(ephemeral=hidden, thinking=True)
        asker = await self._asker(interaction)
        answer = await self._commands.run(command, asker)
        channel = interaction.channel
        if answer.run is not None and isinstance(channel, discord.abc.Messageable):
            self._follow(answer.run, channel, asker)
        if answer.report is not None:
            await self.verdicts.answer(interaction, answer.report)
            return
        if answer.review is not None:
            await self.reviews.answer(interaction, answer)
            return
        for text in pieces(as_markdown(answer) or "Done.", outgoing.LIMIT):
            await interaction.followup.send(
                text, ephemeral=hidden, allowed_mentions=outgoing.SILENT
            )
        if answer.file is not None:
            name, content = answer.file
            file = discord.File(io.BytesIO(content.encode()), filename=name)
            await interaction.followup.send(file=file, ephemeral=True)

    def _follow(self, run: int, channel: discord.abc.Messageable, asker: Asker) -> None:
        """Tell in a channel how the run that was asked for there goes, and its verdict."""
        self.reports.follow(
            run, outgoing.Reply(channel, None, ping=False),
            lambda version: self.verdicts.show(channel, version, asker),
        )

    async def _asker(self, interaction: discord.Interaction) -> Asker:
        person = str(interaction.user.id)
        in_guild = interaction.guild_id is not None
        return Asker(
            incoming.channel_key(interaction.guild_id, interaction.channel_id or 0),
            person,
            source="command",
            operator=person in await self._operators(),
            # In a direct conversation everybody looks after their own.
            admin=interaction.permissions.manage_guild if in_guild else True,
        )
