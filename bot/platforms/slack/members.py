"""Who people are: their names, and what they may decide in the workspace.

Names are remembered. Powers are asked for each time, because they are taken away as
suddenly as they are given; who cannot be asked about has none.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from slack_sdk.web.async_client import AsyncWebClient

from bot.platforms.slack.outgoing import FAILURES, why

log = logging.getLogger(__name__)

MOST = 10_000
"""Names that are remembered."""


@dataclass(frozen=True, slots=True)
class Powers:
    """What a person is in the workspace."""

    owner: bool = False
    admin: bool = False


class Members:
    """The people of one workspace."""

    def __init__(self, client: AsyncWebClient) -> None:
        self._client = client
        self._names: dict[str, str] = {}

    async def names(self, people: Iterable[str]) -> dict[str, str]:
        """The names that these people go by, as far as they can be learned."""
        for person in people:
            if person not in self._names and (about := await self._about(person)):
                profile = about.get("profile", {})
                if len(self._names) >= MOST:
                    self._names.clear()
                self._names[person] = str(
                    profile.get("display_name") or about.get("real_name") or about.get("name", "")
                )
        return self._names

    async def powers(self, person: str) -> Powers:
        """What a person may decide now."""
        about = await self._about(person) or {}
        owner = bool(about.get("is_owner") or about.get("is_primary_owner"))
        return Powers(owner, owner or bool(about.get("is_admin")))

    async def _about(self, person: str) -> dict[str, Any] | None:
        try:
            answer = await self._client.users_info(user=person)
        except FAILURES as error:
            log.warning("nothing is known about %s: %s", person, why(error))
            return None
        about: dict[str, Any] | None = answer.get("user")
        return about
