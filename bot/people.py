"""People decide about their words: consent, what is kept of them, and forgetting.

Facts are the store's, the rule of who consents is `bot.store.Consent`; here is what people
are told and what follows from what they say. Answers are words and at most a file, for
`bot.commands` to hand on; nothing here knows a platform, and learning only as
`bot.learning_port.Learning`.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bot.config import Config
from bot.conversation import Conversation
from bot.ended import ended
from bot.errors import RapportError
from bot.learning_port import Learning
from bot.store import Store, Traces
from bot.types import LOCAL, Exchange

log = logging.getLogger(__name__)

CHAT = ("discord", "slack")
"""Platforms where other people talk, and retention applies."""
DAY = timedelta(days=1)
FILE = "mydata.json"

CONSENT_QUESTION = (
    "May I learn from what you say to me? I keep our conversations, and the 👍 and 👎 on my "
    "replies. With your yes they also train my next versions; without it they never do. "
    "Say /mydata consent yes or /mydata consent no, now or at any time; /mydata shows what "
    "is kept, and deletes it when you want."
)
STAYS = (
    "Replies that earlier versions gave to others stay, and so do backups that the operator "
    "has made."
)
USAGE = "say /mydata what, /mydata get, /mydata forget, or /mydata consent yes or no"


@dataclass(frozen=True, slots=True)
class Told:
    """What a person is told, and a file for them where there is one."""

    text: str
    file: tuple[str, str] | None = None
    """Name and content."""


class People:
    """What Rapport keeps of people, in their own hands."""

    def __init__(
        self, store: Store, config: Config,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        *, conversation: Conversation, learning: Learning,
    ) -> None:
        self._store = store
        self._config = config.learning
        self._clock = clock
        self._conversation = conversation
        self._learning = learning

    async def may_learn_from(self, exchange: Exchange) -> bool:
        """Whether an exchange may be learned from: all whose words are in it consent.

        That is stricter than leaving the others' turns out; `bot.store.Consent` says why.
        """
        return bool(await self.learnable([exchange]))

    async def learnable(self, exchanges: Sequence[Exchange]) -> list[Exchange]:
        """Those exchanges that may be learned from."""
        consent = await self._store.consent(self._config)
        return [one for one in exchanges if consent.covers(one)]

    async def left_behind(self, platform: str, person: str, time: datetime) -> bool:
        """Whether words of this time may have been forgotten, and are not to be read again."""
        refused = await self._store.refused_at(platform, person)
        return refused is not None and time <= refused

    async def should_ask(self, platform: str, person: str) -> bool:
        """Whether to put `CONSENT_QUESTION` to a person now; True once in their life.

        Nobody is asked while the answer could not matter: where the platform's terms are not
        acknowledged, nothing is learned from anybody.
        """
        settings = self._config
        if platform in LOCAL or settings.consent != "ask" or not settings.enabled:
            return False
        if not settings.platform_terms_acknowledged:
            return False
        if await self._store.consent_of(platform, person):
            return False
        return await self._store.mark_asked(platform, person, self._clock())

    async def told(self, platform: str, person: str, args: str) -> Told:
        """Do what ``/mydata`` with these arguments asks for.

        Raises:
            RapportError: it cannot be understood, or the store refused.
        """
        match args.lower().split():
            case [] | ["what"]:
                return Told(await self.what(platform, person))
            case ["get"]:
                content = await self.export(platform, person)
                return Told("This is everything I keep of you.", (FILE, content))
            case ["forget"]:
                return Told(await self._would_go(platform, person))
            case ["forget", "yes"]:
                return Told(await self.forget(platform, person))
            case ["consent", "yes" | "no" as word]:
                return Told(await self.set(platform, person, word == "yes"))
        raise RapportError(f"/mydata {args} is not something I know; {USAGE}")

    async def what(self, platform: str, person: str) -> str:
        """What is kept of a person and what for, and what they can do about it."""
        kept = _counted(await self._store.traces_of(platform, person))
        return (
            f"I keep {kept}, to go on with conversations and to see how you like my replies. "
            f"{await self._standing(platform, person)} "
            "/mydata get gives you all of it as a file, /mydata forget deletes it."
        )

    async def export(self, platform: str, person: str) -> str:
        """Everything kept of a person, as JSON."""
        data = await self._store.data_of(platform, person)
        return await asyncio.to_thread(json.dumps, data, ensure_ascii=False, indent=2)

    async def set(self, platform: str, person: str, granted: bool) -> str:
        """Take a yes or a no; the sentence that says what follows from it."""
        await self._store.set_consent(platform, person, granted, self._clock())
        standing = await self._standing(platform, person)
        if granted or platform in LOCAL:
            return standing
        return (
            f"{standing} The next version is made without them; /mydata forget also removes "
            "them, and every version that learned from them."
        )

    async def forget(self, platform: str, person: str) -> str:
        """Delete all there is of a person, now, and unlearn it; the receipt."""
        known = await self._store.traces_of(platform, person)
        async with self._conversation.quiet(known.channels):
            gone = await self._store.forget(platform, person, self._clock())
        self._conversation.forgotten(gone.channels)
        learned = await self._finish(gone.exchanges)
        log.info("somebody on %s was forgotten: %s", platform, _counted(gone))
        return (
            f"Deleted: {_counted(gone)}. {learned} {STAYS} "
            f"{await self._standing(platform, person)}"
        )

    async def finish(self) -> None:
        """At start: finish what was begun when somebody was forgotten and the bot stopped."""
        exchanges = await self._store.unfinished()
        if exchanges is None:
            return
        try:
            log.warning("somebody was forgotten: %s", await self._finish(exchanges))
        except RapportError as error:
            log.error("somebody is not wholly forgotten yet: %s", error)

    async def keep_retention(self) -> None:
        """Delete what is too old, now and every day, until cancelled."""
        while self._config.retention_days:
            purging = asyncio.create_task(self.purge(), name="purge")
            try:
                await asyncio.shield(purging)
            except RapportError as error:
                log.warning("old words are not deleted yet: %s", error)
            except asyncio.CancelledError:
                # Let go of the store before it is closed.
                await ended(purging)
                raise
            await asyncio.sleep(DAY.total_seconds())

    async def purge(self) -> None:
        """Delete words older than the retention of people who have not consented."""
        if not self._config.retention_days:
            return
        before = self._clock() - self._config.retention_days * DAY
        consent = await self._store.consent(self._config)
        for platform in CHAT:
            gone = await self._store.purge_messages(platform, before, consent)
            self._conversation.forgotten(gone.channels)
            if gone.messages or gone.exchanges:
                # Not rewritten: that stops all writes for a while, and would do so every day.
                await self._store.sweep(rewrite=False)
                log.info("old words on %s deleted: %s", platform, _counted(gone))

    async def _finish(self, exchanges: Sequence[int]) -> str:
        learned = await self._learning.forget(exchanges)
        await self._store.sweep()
        await self._store.finished(exchanges)
        return learned

    async def _would_go(self, platform: str, person: str) -> str:
        kept = _counted(await self._store.traces_of(platform, person))
        return (
            f"This deletes {kept}, now and for good, and every version that learned from it. "
            f"{STAYS} To do it, say /mydata forget yes."
        )

    async def _standing(self, platform: str, person: str) -> str:
        """Whether a person's words may be learned from, and how to change that."""
        if platform in LOCAL:
            return "This is the operator's own place: what is said here may be learned from."
        consent = await self._store.consent(self._config)
        decided = await self._store.consent_of(platform, person)
        if not consent.of(platform, person):
            days = self._config.retention_days
            kept = f", and they are kept {days} days at most" if days else ""
            return (
                f"Nothing is learned from your words{kept}; /mydata consent yes would allow it."
            )
        agreed = "You have agreed" if decided else "You have not said no"
        may = "my next versions may learn from your words; /mydata consent no ends that."
        if not self._config.platform_terms_acknowledged:
            may = "but the operator has not allowed it here yet: nothing is learned from them."
        return f"{agreed}: {may}"


def _counted(traces: Traces) -> str:
    return (
        f"{_number(traces.messages, 'message')} of yours, "
        f"{_number(len(traces.exchanges), 'reply', 'replies')} with words of yours before it "
        f"and {_number(traces.votes, 'vote')}"
    )


def _number(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"
