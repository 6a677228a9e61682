"""👍 and 👎 as buttons under a reply, which go on working after a restart.

The exchange stands in the button's own id, so that nothing has to be remembered; whether
it belongs to the channel is looked up again when it is pressed.
"""

from __future__ import annotations

import logging
import re
from typing import Any, cast

import discord

from bot.conversation import Conversation
from bot.errors import RapportError
from bot.platforms.discord import incoming
from bot.types import VoteValue

log = logging.getLogger(__name__)

SOURCE = "button"
_SIGNS: dict[str, VoteValue] = {"up": 1, "down": -1}
_FACES = {"up": "👍", "down": "👎"}


class VoteButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=r"rapport:(?P<sign>up|down):(?P<exchange>[0-9]{1,15})",
):
    """One of the two buttons of a reply."""

    def __init__(self, sign: str, exchange: int) -> None:
        self.sign = sign
        self.exchange = exchange
        super().__init__(
            discord.ui.Button(
                style=discord.ButtonStyle.secondary, emoji=_FACES[sign],
                custom_id=f"rapport:{sign}:{exchange}",
            )
        )

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: discord.ui.Item[Any],
        match: re.Match[str], /,
    ) -> VoteButton:
        """The button that was pressed, from its id alone."""
        return cls(match["sign"], int(match["exchange"]))

    async def callback(self, interaction: discord.Interaction) -> None:
        """Keep the vote, and tell the person alone."""
        channel = incoming.channel_key(interaction.guild_id, interaction.channel_id or 0)
        person = str(interaction.user.id)
        await interaction.response.defer(ephemeral=True)
        # Any: discord.py makes this object by itself and hands on its own client only.
        conversation: Conversation = cast(Any, interaction.client).conversation
        try:
            await conversation.ratings.vote(
                channel, self.exchange, person, _SIGNS[self.sign], SOURCE
            )
        except RapportError as error:
            await interaction.followup.send(f"{error}".capitalize(), ephemeral=True)
            return
        await interaction.followup.send(
            f"{_FACES[self.sign]} Thank you, that teaches me.", ephemeral=True
        )


def vote_view(exchange: int) -> discord.ui.View:
    """Both buttons of a reply."""
    view = discord.ui.View(timeout=None)
    view.add_item(VoteButton("up", exchange))
    view.add_item(VoteButton("down", exchange))
    return view
