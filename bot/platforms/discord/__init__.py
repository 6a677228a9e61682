"""Discord, through discord.py: servers, threads and direct messages.

`DiscordPlatform` is all that the rest of Rapport sees of it.
"""

from bot.platforms.discord.platform import DiscordPlatform

__all__ = ["DiscordPlatform"]
