"""The one rule of whose words may be learned from.

Pure: what people said, what the operator set, and an exchange; no database. It lies with the
store because both halves of Rapport ask it: commands, to say how things stand, and learning,
before it takes anything into a snapshot or an export.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bot.config import LearningConfig
from bot.store.values import Decision
from bot.types import LOCAL, Exchange


@dataclass(frozen=True, slots=True)
class Consent:
    """What people decided, read by the operator's settings."""

    settings: LearningConfig
    said: Mapping[tuple[str, str], Decision]
    """(platform, person) -> what they decided; who did not is not in it."""

    def of(self, platform: str, person: str) -> bool:
        """Whether a person agrees that their words are learned from.

        Who has said nothing agrees only where the operator answers for them (``opt-out``
        and ``granted``); nobody and nothing overrules a no.
        """
        if platform in LOCAL:
            return True
        decision = self.said.get((platform, person), "")
        return decision == "granted" or (
            not decision and self.settings.consent in ("opt-out", "granted")
        )

    def covers(self, exchange: Exchange) -> bool:
        """Whether an exchange may be learned from.

        Everybody whose words are in it must agree: the asker and every author in the prompt.
        That is stricter than leaving the turns of the others out, and simpler: a prompt with
        holes in it is not what the reply was an answer to. Beyond the operator's own
        platforms their terms must be acknowledged as well.
        """
        return self.agreed(exchange.channel.platform, {exchange.asker, *exchange.authors})

    def agreed(self, platform: str, people: Iterable[str]) -> bool:
        """Whether something that these people's words are in may be learned from."""
        if platform in LOCAL:
            return True
        return self.settings.platform_terms_acknowledged and all(
            self.of(platform, person) for person in people
        )

    @property
    def why_not(self) -> str:
        """What the operator should know when rated replies are left out."""
        if not self.settings.platform_terms_acknowledged:
            return (
                "learning.platform_terms_acknowledged is false, so nothing said on a chat "
                "platform is learned from"
            )
        return "someone whose words are in them has not agreed (learning.consent)"
