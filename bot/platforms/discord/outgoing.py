"""Replies on their way to Discord: posting, editing, and what a refusal means.

Nothing the model says can ping anybody: only the asker is told, where the configuration
says so. What Discord refuses becomes a `PostError` that names the switch to turn.
"""

from __future__ import annotations

import aiohttp
import discord

from bot.platforms.live import PostError

LIMIT = 2000
"""Characters of a message."""
FAILURES = (discord.HTTPException, aiohttp.ClientError, OSError)
"""How a request may end: refused by Discord, or lost on the way."""
_EDIT_TOO_OLD = 30046

SILENT = discord.AllowedMentions.none()


class Reply:
    """Where one answer is written: below the question, in as many messages as it takes."""

    def __init__(
        self, channel: discord.abc.Messageable, question: discord.Message | None, *, ping: bool
    ) -> None:
        self._channel = channel
        self._question = question
        self._ping = ping
        self._posted: dict[str, discord.Message] = {}

    async def post(self, text: str) -> str:
        """Post a message; the first one is a reply to the question."""
        first = not self._posted
        reference = None
        if first and self._question is not None and self._question.channel == self._channel:
            reference = self._question.to_reference(fail_if_not_exists=False)
        try:
            message = await self._channel.send(
                text,
                reference=reference,  # type: ignore[arg-type]  # None is allowed
                # A retried request with the same nonce posts nothing twice.
                nonce=self._nonce(),  # type: ignore[arg-type]  # None is allowed
                allowed_mentions=discord.AllowedMentions(
                    everyone=False, roles=False, users=False, replied_user=self._ping and first
                ),
            )
        except FAILURES as error:
            raise refused(error, self._channel) from error
        self._posted[str(message.id)] = message
        return str(message.id)

    async def edit(self, platform_id: str, text: str) -> None:
        """Replace what one of the messages says."""
        try:
            await self._posted[platform_id].edit(content=text, allowed_mentions=SILENT)
        except FAILURES as error:
            if getattr(error, "code", 0) != _EDIT_TOO_OLD:
                raise refused(error, self._channel) from error

    async def offer(self, view: discord.ui.View) -> None:
        """Put buttons under the last message."""
        if not self._posted:
            return
        last = list(self._posted.values())[-1]
        try:
            await last.edit(view=view)
        except FAILURES as error:
            raise refused(error, self._channel) from error

    def _nonce(self) -> int | None:
        if self._question is None:
            return None
        return (self._question.id + len(self._posted)) & (2**63 - 1)


def refused(error: Exception, channel: object) -> PostError:
    """What a refusal of Discord means for those who look after the server."""
    if not isinstance(error, discord.HTTPException):
        return PostError(f"Discord cannot be reached ({type(error).__name__})")
    name = f"#{getattr(channel, 'name', 'a direct message')}"
    if isinstance(error, discord.Forbidden):
        thread = isinstance(channel, discord.Thread)
        switch = "Send Messages in Threads" if thread else "Send Messages"
        return PostError(
            f"Discord does not let the bot write in {name}: give its role View Channel, "
            f"{switch} and Read Message History there (channel settings, Permissions)"
        )
    if isinstance(error, discord.NotFound):
        return PostError(f"the channel {name} or the message is gone")
    return PostError(f"Discord refused a message in {name}: {error.status} {error.text[:200]}")
