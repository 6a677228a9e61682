"""Verdicts in Discord: the message with its picture and its buttons, and their presses.

The version stands in the button's own id, so that nothing has to be remembered and a
button works after a restart. Who may press is asked when it is pressed, as for a command.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, cast

import discord

from bot.commands import Asker, Command, Commands
from bot.learning_port import Report
from bot.platforms import verdict
from bot.platforms.discord import outgoing
from bot.platforms.markdown import as_markdown
from bot.platforms.text import pieces

log = logging.getLogger(__name__)

_STYLES: dict[verdict.Act, discord.ButtonStyle] = {
    "approve": discord.ButtonStyle.success, "veto": discord.ButtonStyle.danger,
    "rollback": discord.ButtonStyle.secondary,
}


class VerdictButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=r"rapport:(?P<act>approve|veto|rollback):(?P<version>v[0-9]{1,9})",
):
    """One of the buttons below a verdict."""

    def __init__(self, act: verdict.Act, version: str) -> None:
        self.act = act
        self.version = version
        super().__init__(
            discord.ui.Button(
                style=_STYLES[act], label=verdict.LABELS[act], custom_id=f"rapport:{act}:{version}"
            )
        )

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: discord.ui.Item[Any],
        match: re.Match[str], /,
    ) -> VerdictButton:
        """The button that was pressed, from its id alone."""
        return cls(cast(verdict.Act, match["act"]), match["version"])

    async def callback(self, interaction: discord.Interaction) -> None:
        """Do what it says, if the person may."""
        # Any: discord.py makes this object by itself and hands on its own client only.
        verdicts: Verdicts = cast(Any, interaction.client).verdicts
        await verdicts.press(interaction, self.act, self.version)


class Verdicts:
    """The verdicts that one client shows.

    Args:
        asker: who does something now, with the powers they have now.
    """

    def __init__(
        self, commands: Commands, asker: Callable[[discord.Interaction], Awaitable[Asker]]
    ) -> None:
        self._commands = commands
        self._asker = asker
        self._presses = verdict.Presses(commands)

    async def show(
        self, channel: discord.abc.Messageable, version: str, asker: Asker
    ) -> None:
        """Post the verdict on a version where `asker` asked for the run.

        Raises:
            PostError: the platform refused.
        """
        answer = await self._commands.run(Command("learn", f"report {version}"), asker)
        if answer.report is not None:
            await self._post(channel, answer.report)

    async def _post(self, channel: discord.abc.Messageable, report: Report) -> None:
        try:
            await channel.send(**_content(report))
        except discord.Forbidden as error:
            if not report.picture:
                raise outgoing.refused(error, channel) from error
            # Perhaps it may write there and only not attach files.
            await self._post(channel, replace(report, picture=b""))
        except outgoing.FAILURES as error:
            raise outgoing.refused(error, channel) from error

    async def answer(self, interaction: discord.Interaction, report: Report) -> None:
        """Show a verdict to the person alone who asked for it."""
        await interaction.followup.send(**_content(report), ephemeral=True)

    async def press(
        self, interaction: discord.Interaction, act: verdict.Act, version: str
    ) -> None:
        """Do what a button says, tell the person alone, and take the buttons away."""
        await interaction.response.defer(ephemeral=True)
        asker = await self._asker(interaction)
        name = discord.utils.escape_mentions(
            discord.utils.escape_markdown(interaction.user.display_name)
        )
        pressed = await self._presses.press(act, version, asker, name, outgoing.LIMIT)
        try:
            for text in pieces(as_markdown(pressed.answer) or "Done.", outgoing.LIMIT):
                await interaction.followup.send(
                    text, ephemeral=True, allowed_mentions=outgoing.SILENT
                )
            if pressed.text:
                await interaction.edit_original_response(
                    content=pressed.text, view=None, allowed_mentions=outgoing.SILENT
                )
        except outgoing.FAILURES as error:
            log.warning("what a press did is not shown: %s",
                        outgoing.refused(error, interaction.channel))


def _content(report: Report) -> dict[str, Any]:
    """A verdict as discord.py sends it; the picture and the buttons where there are any."""
    content: dict[str, Any] = {
        "content": verdict.told(report, outgoing.LIMIT), "allowed_mentions": outgoing.SILENT,
    }
    if report.picture:
        content["file"] = discord.File(
            io.BytesIO(report.picture), verdict.picture_name(report),
            description=verdict.alt_text(report),
        )
    if acts := verdict.offered(report):
        content["view"] = view = discord.ui.View(timeout=None)
        for act in acts:
            view.add_item(VerdictButton(act, report.adapter))
    return content
