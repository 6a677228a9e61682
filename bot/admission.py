"""Is this message for the model at all? Decided before anything is stored or generated.

The one decision for every platform: our own words, who may talk and where, how often
(`bot.limits`), empties and length. Who is not permitted meets silence. Duplicates are the
store's knowledge (`Store.add_message`), so `bot.conversation` asks it. Of the platforms it
knows which are the operator's own, and which conversations are direct.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from bot.config import LimitsConfig, PermissionsConfig
from bot.limits import Limits, TooFast
from bot.types import LOCAL, Message

log = logging.getLogger(__name__)

EMPTY_ANSWER = "I can only read text: write me something and I will answer."

_CONTROL = dict.fromkeys({*range(0x20), 0x7F, *range(0x80, 0xA0)} - {ord("\n"), ord("\t")})
_SURROGATE = re.compile("[\ud800-\udfff]")
_INVISIBLE = re.compile(r"[\s\u00ad\u034f\u115f\u1160\u180e\u200b-\u200f\u202a-\u202e"
                        r"\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff]*")


@dataclass(frozen=True, slots=True)
class Admitted:
    """A message to answer, cleaned, and what the person should be told about it."""

    message: Message
    note: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """A message the model never sees; `answer` is empty where silence is right."""

    reason: str
    answer: str = ""


class Admission:
    """Decides about each message, in one place for every platform."""

    def __init__(
        self,
        max_characters: int,
        own: Collection[str] = (),
        *,
        permissions: PermissionsConfig | None = None,
        limits: LimitsConfig | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_characters = max_characters
        self._own = frozenset(own)
        self._permissions = permissions or PermissionsConfig()
        self._limits = Limits(limits or LimitsConfig(), clock)

    def check(self, message: Message) -> Admitted | Refused:
        """Admit a message, with its text cleaned, or refuse it."""
        verdict = self._refused(message) or self._admitted(message)
        if isinstance(verdict, Refused):
            log.debug(
                "message %s in %s is not for the model: %s",
                message.platform_id, message.channel, verdict.reason,
            )
        return verdict

    def barred(self, platform: str, person: str) -> bool:
        """Whether a person may neither vote nor command, whatever their roles are."""
        users, roles = self._permissions.users, self._permissions.roles
        if platform in LOCAL or person in users.blocked_ids:
            return platform not in LOCAL
        chosen = person in (*users.admin_ids, *users.allowed_ids)
        return bool(users.allowed_ids) and not roles.allowed_ids and not chosen

    def _refused(self, message: Message) -> Refused | None:
        """Why a message is refused whatever it says."""
        if message.author in self._own:
            return Refused("own message")
        if message.channel.platform in LOCAL:
            return None
        if reason := forbidden(message, self._permissions):
            return Refused(reason)
        if message.author in self._permissions.users.admin_ids:
            return None
        # Before the text is looked at: a flood of nothing is a flood too.
        fast = self._limits.check(message, direct=is_direct(message))
        return Refused(f"too many from one {fast.who}", _slow_down(fast)) if fast else None

    def _admitted(self, message: Message) -> Admitted | Refused:
        """A message that may be answered, unless it says nothing."""
        text = clean(message.text)
        if _INVISIBLE.fullmatch(text):
            return Refused("empty", EMPTY_ANSWER)
        note = ""
        if len(text) > self._max_characters:
            note = (
                f"Your message has {len(text):,} characters; I read the first "
                f"{self._max_characters:,}."
            )
        return Admitted(replace(message, text=text), note)


def forbidden(message: Message, permissions: PermissionsConfig) -> str:
    """Why the permissions keep a message from being answered, or an empty string.

    Blocked wins over allowed. Roles are known on servers only, so where roles alone are
    allowed nobody is answered in direct messages.
    """
    users, roles, channels = permissions.users, permissions.roles, permissions.channels
    if message.author in users.blocked_ids:
        return "the person is blocked"
    if message.author in users.admin_ids:
        return ""
    if _meet(message.roles, roles.blocked_ids):
        return "a role of the person is blocked"
    chosen = message.author in users.allowed_ids or _meet(message.roles, roles.allowed_ids)
    if (users.allowed_ids or roles.allowed_ids) and not chosen:
        return "neither the person nor a role is among those allowed"
    if is_direct(message):
        return ""
    places = (message.channel.channel, *message.within)
    if _meet(places, channels.blocked_ids):
        return "the channel is blocked"
    if channels.allowed_ids and not _meet(places, channels.allowed_ids):
        return "the channel is not among those allowed"
    return ""


def is_direct(message: Message) -> bool:
    """Whether a message was said to the bot alone, on no server and in no channel."""
    channel = message.channel
    # Slack's direct conversations lie in the workspace; their ids begin with a D.
    slack = channel.platform == "slack" and channel.channel.startswith("D")
    return channel.guild == "direct" or slack


def _meet(some: Collection[str], others: Collection[str]) -> bool:
    return not set(some).isdisjoint(others)


def _slow_down(fast: TooFast) -> str:
    """What is said to a person who asks too fast; nothing if it has been said."""
    if not fast.tell:
        return ""
    seconds = f"{fast.seconds} second{'' if fast.seconds == 1 else 's'}"
    if fast.who == "person":
        return f"You are quick! Give me {seconds}, then ask me again."
    return f"Many people here are talking to me. Give me {seconds}, then ask me again."


def clean(text: str) -> str:
    """Text that every part of Rapport can carry: valid Unicode, no control characters.

    Surrogate pairs become their character, lone surrogates U+FFFD; line breaks become
    ``\\n``; other control characters but the tab are left out.
    """
    if _SURROGATE.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return without_controls(text.replace("\r\n", "\n").replace("\r", "\n")).strip()


def without_controls(text: str) -> str:
    """`text` without control characters; line breaks and tabs stay."""
    return text.translate(_CONTROL)
