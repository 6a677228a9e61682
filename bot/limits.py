"""How often a person, or everybody on a server together, is answered.

Token buckets: each holds as many messages as are allowed a minute and fills up again at that
pace, so that a burst is fine and a flood is not. Who is over the limit is told so once, and
not again before the bucket has been full: a flood must not be answered with a flood. What
is said, and to whom limits do not apply, is `bot.admission`'s. In memory only: a restart
fills every bucket.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from bot.config import LimitsConfig
from bot.types import ChannelKey, Message

MINUTE = 60.0
MOST_BUCKETS = 10_000
"""More people than this in one minute are not kept apart in memory; the longest silent go."""
MOST_DECIDED = 1024
"""Messages whose second delivery is known."""

Key = tuple[str, str]
"""The platform, and the id of a person or a server there."""


@dataclass(frozen=True, slots=True)
class TooFast:
    """A message over a limit."""

    who: Literal["person", "server"]
    seconds: int
    """Until the next message is within it."""
    tell: bool
    """Whether to say so; False where it has been said."""


class Limits:
    """Decides which messages come too fast; the same message counts once."""

    def __init__(self, config: LimitsConfig, clock: Callable[[], float]) -> None:
        """`clock` in seconds, never going back, such as `time.monotonic`."""
        self._people = Rate(config.user_per_minute, clock)
        self._servers = Rate(config.guild_per_minute, clock)
        self._decided: dict[tuple[ChannelKey, str], TooFast | None] = {}

    def check(self, message: Message, *, direct: bool) -> TooFast | None:
        """Count a message; `direct` says that it was said to the bot alone, on no server.

        A message that is delivered again has the fate it had, and is not counted again.
        """
        said = (message.channel, message.platform_id)
        if said in self._decided:
            known = self._decided[said]
            return replace(known, tell=False) if known else None
        verdict = self._count(message, direct)
        self._decided[said] = verdict
        if len(self._decided) > MOST_DECIDED:
            del self._decided[next(iter(self._decided))]
        return verdict

    def _count(self, message: Message, direct: bool) -> TooFast | None:
        """Both buckets give, or none does."""
        person = (message.channel.platform, message.author)
        server = (message.channel.platform, message.channel.guild)
        if wait := self._people.wait(person):
            return TooFast("person", math.ceil(wait), self._people.tell(person))
        if not direct:
            if wait := self._servers.wait(server):
                return TooFast("server", math.ceil(wait), self._servers.tell(server))
            self._servers.take(server)
        self._people.take(person)
        return None


@dataclass(frozen=True, slots=True)
class _Bucket:
    """What was taken out and has not come back, as it was at a time."""

    spent: float
    time: float
    told: bool = False


class Rate:
    """One limit, for each of many people or servers; 0 a minute is no limit."""

    def __init__(self, per_minute: int, clock: Callable[[], float]) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._buckets: dict[Key, _Bucket] = {}  # in the order of their last change

    def __len__(self) -> int:
        """How many buckets are in memory."""
        return len(self._buckets)

    def wait(self, key: Key) -> float:
        """Seconds until another message is within the limit; 0 where it is now."""
        if not self._per_minute:
            return 0.0
        missing = self._bucket(key).spent + 1 - self._per_minute
        return max(0.0, missing * MINUTE / self._per_minute)

    def take(self, key: Key) -> None:
        """Count a message."""
        if self._per_minute:
            bucket = self._bucket(key)
            self._keep(key, replace(bucket, spent=bucket.spent + 1))

    def tell(self, key: Key) -> bool:
        """Whether to say that there is a limit: true once, until the bucket has been full."""
        bucket = self._bucket(key)
        if bucket.told:
            return False
        self._keep(key, replace(bucket, told=True))
        return True

    def _bucket(self, key: Key) -> _Bucket:
        """A bucket as it is now; one that is full again is like one never used."""
        now = self._clock()
        before = self._buckets.get(key)
        if before is None:
            return _Bucket(0.0, now)
        spent = before.spent - (now - before.time) * self._per_minute / MINUTE
        return _Bucket(spent, now, before.told) if spent > 0 else _Bucket(0.0, now)

    def _keep(self, key: Key, bucket: _Bucket) -> None:
        self._buckets.pop(key, None)
        self._buckets[key] = bucket
        # Whatever was in it, a bucket is full after a minute, and a full one needs no memory.
        while True:
            oldest = next(iter(self._buckets))
            full = self._buckets[oldest].time + MINUTE <= bucket.time
            if not full and len(self._buckets) <= MOST_BUCKETS:
                return
            del self._buckets[oldest]
