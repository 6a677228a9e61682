"""Replies that wait for an operator's word, in Discord: the buttons below one, and presses.

The reply's number stands in the button's own id, so that nothing has to be remembered and a
button works after a restart. Who may press is asked when it is pressed, as for a command.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any, cast

import discord

from bot.commands import Answer, Asker, Commands
from bot.platforms import review
from bot.platforms.discord import outgoing
from bot.platforms.markdown import as_markdown
from bot.platforms.text import pieces

log = logging.getLogger(__name__)

_STYLES: dict[review.Act, discord.ButtonStyle] = {
    "keep": discord.ButtonStyle.success, "drop": discord.ButtonStyle.danger,
    "next": discord.ButtonStyle.secondary,
}


class ReviewButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=r"rapport:(?P<act>keep|drop|next):(?P<number>[0-9]{1,15})",
):
    """One of the buttons below a reply that waits."""

    def __init__(self, act: review.Act, number: int) -> None:
        self.act = act
        self.number = number
        super().__init__(
            discord.ui.Button(
                style=_STYLES[act], label=review.LABELS[act], custom_id=f"rapport:{act}:{number}"
            )
        )

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: discord.ui.Item[Any],
        match: re.Match[str], /,
    ) -> ReviewButton:
        """The button that was pressed, from its id alone."""
        return cls(cast(review.Act, match["act"]), int(match["number"]))

    async def callback(self, interaction: discord.Interaction) -> None:
        """Do what it says, if the person may."""
        # Any: discord.py makes this object by itself and hands on its own client only.
        reviews: Reviews = cast(Any, interaction.client).reviews
        await reviews.press(interaction, self.act, self.number)


class Reviews:
    """The replies that wait, as one client shows them.

    Args:
        asker: who does something now, with the powers they have now.
    """

    def __init__(
        self, commands: Commands, asker: Callable[[discord.Interaction], Awaitable[Asker]]
    ) -> None:
        self._asker = asker
        self._presses = review.Presses(commands)

    async def answer(self, interaction: discord.Interaction, answer: Answer) -> None:
        """Show a reply that waits to the person alone who asked."""
        content = _content(answer)
        if content["view"] is None:
            del content["view"]
        await interaction.followup.send(**content, ephemeral=True)

    async def press(
        self, interaction: discord.Interaction, act: review.Act, number: int
    ) -> None:
        """Do what a button says, and show what came of it and the next reply in its place."""
        await interaction.response.defer(ephemeral=True)
        asker = await self._asker(interaction)
        answer = await self._presses.press(act, number, asker)
        try:
            if review.is_refused(answer):
                await self.answer(interaction, answer)
            else:
                await interaction.edit_original_response(**_content(answer))
        except outgoing.FAILURES as error:
            log.warning("what a press did is not shown: %s",
                        outgoing.refused(error, interaction.channel))


def _content(answer: Answer) -> dict[str, Any]:
    """An answer as discord.py sends it, in one message; with buttons where a reply waits."""
    view = None
    if answer.review is not None:
        view = discord.ui.View(timeout=None)
        for act in review.LABELS:
            view.add_item(ReviewButton(act, answer.review.exchange_id))
    return {
        "content": pieces(as_markdown(answer), outgoing.LIMIT)[0], "view": view,
        "allowed_mentions": outgoing.SILENT,
    }
