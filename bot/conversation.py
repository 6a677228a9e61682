"""The one way through: admit, remember, ask the engine, stream the reply, record it.

Every platform hands its messages to `Conversation.hear`, which is durable on return, so
that the platform's queue may be told that the event is taken; then it renders what comes
from `Conversation.answer`. `respond` is both in one. The exchange is durable before the
platform is told that the reply has ended; settings before their calls return. A
channel has one reply at a time, in the order the messages came. Which adapter answers is
the caller's knowledge (`adapter_for`); tokens, templates and the window are
`bot.history`'s, and what else the model is shown is `bot.prompts`'s.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from bot.admission import Admission, Refused, clean, forbidden
from bot.changes import Changes
from bot.config import Config
from bot.ended import ended
from bot.engine.base import Delta, Engine, Request
from bot.errors import Busy, PromptTooLong, RapportError
from bot.excuses import SHORTENED, refused, shown
from bot.history import ChannelLog, ChannelLogs, Prompt, clipped, restored
from bot.moderation import Moderation, Withheld
from bot.prompts import Prompts
from bot.ratings import Ratings
from bot.store import Store
from bot.turns import Turns
from bot.types import BASE, ChannelKey, Exchange, FinishReason, Message, Timings, Vote

log = logging.getLogger(__name__)

RESTORED_TURNS = 400
"""Turns read back from the store after a restart; the window shows fewer."""
MAX_PERSONA = 2000
"""Characters of a persona: it is part of every prompt."""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of a reply, to be shown at once."""

    text: str
    adapter: str = BASE
    """Which version is speaking; the same for the whole reply."""


@dataclass(frozen=True, slots=True)
class Reply:
    """How a reply ended; always the last event."""

    text: str
    """The whole reply, or what is said instead of one."""
    exchange_id: int | None = None
    """What votes refer to; None when the model did not answer."""
    finish: FinishReason = "stop"
    adapter: str = BASE
    timings: Timings = field(default_factory=Timings)
    note: str = ""
    """What the person should be told besides, such as that the message was cut."""


ReplyEvent = TextDelta | Reply


@dataclass(frozen=True, slots=True)
class Heard:
    """A message that was admitted and is on record, or what is said instead of an answer."""

    message: Message
    row: int = 0
    """Where it is on record."""
    note: str = ""
    """What the person should be told besides the answer."""
    refusal: str = ""
    """What is said instead; the message is not on record then."""


@dataclass(slots=True)
class _Said:
    """What has come of a reply so far."""

    text: str = ""
    ids: list[int] = field(default_factory=list)
    finish: FinishReason = "cancelled"
    timings: Timings = field(default_factory=Timings)
    error: str = ""

    def add(self, delta: Delta) -> None:
        self.text += delta.text
        self.ids.extend(delta.ids)
        if delta.finish is not None:
            self.finish = delta.finish
            self.timings = delta.timings or self.timings
            self.error = delta.error


class Conversation:
    """All channels' conversations over one engine and one store."""

    def __init__(
        self,
        engine: Engine,
        store: Store,
        config: Config,
        adapter_for: Callable[[ChannelKey], str],
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        on_vote: Callable[[Vote], Awaitable[object]] | None = None,
        on_reply: Callable[[str, FinishReason, str, list[int]], None] = lambda *_: None,
        channels_in_memory: int = 1024,
    ) -> None:
        self._engine = engine
        self._store = store
        self._config = config
        self._adapter_for = adapter_for
        self._on_reply = on_reply
        self._clock = clock
        self._moderation = Moderation(config.moderation)
        self._logs = ChannelLogs(channels_in_memory)
        self.changes = Changes(store, self.forgotten)
        self._turns = Turns()
        self.admission = Admission(
            config.conversation.max_message_characters,
            permissions=config.permissions, limits=config.limits,
        )
        self.ratings = Ratings(store, clock, on_vote, self.admission.barred)
        self._prompts = Prompts(engine, store, config, self._moderation, clock)

    async def respond(
        self, message: Message, *, seed: int | None = None
    ) -> AsyncGenerator[ReplyEvent, None]:
        """Answer a message: pieces of text, then one `Reply`; nothing for a duplicate.

        Close the iterator (or cancel its task) to stop the reply: what was said until then
        is recorded as ``cancelled``. `seed` makes the draw repeatable.

        Raises:
            StoreError: the message or the exchange could not be saved.
            EngineClosed: the bot is shutting down.
        """
        heard = await self.hear(message)
        if heard is not None:
            async with aclosing(self.answer(heard, seed=seed)) as events:
                async for event in events:
                    yield event

    async def hear(self, message: Message) -> Heard | None:
        """Admit a message and put it on record; None where silence is right.

        Durable on return. What was heard and not answered when the bot stopped is among
        `unanswered` after its start.

        Raises:
            StoreError: it could not be saved.
        """
        if self.changes.is_gone(message):
            return None
        verdict = self.admission.check(message)
        if isinstance(verdict, Refused):
            return Heard(message, refusal=verdict.answer) if verdict.answer else None
        row = await self._store.add_message(verdict.message, waits=True)
        if row is None:
            log.info("message %s came twice", message.platform_id)
            return None
        return Heard(verdict.message, row, verdict.note)

    async def unanswered(self, platform: str) -> list[Heard]:
        """What a platform's people said that has no answer yet, in order."""
        waiting = await self._store.waiting_messages(platform)
        return [Heard(one.message, one.id) for one in waiting]

    def permitted(self, message: Message) -> bool:
        """Whether a message may be answered, by who said it and where; its rate aside."""
        return not forbidden(message, self._config.permissions)

    async def give_up(self, heard: Heard) -> None:
        """Leave a message without an answer."""
        await self._store.settle(heard.row, alone=True)

    async def answer(
        self, heard: Heard, *, seed: int | None = None
    ) -> AsyncGenerator[ReplyEvent, None]:
        """The answer to what was heard, as `respond` gives it.

        Answers of a channel come in the order of these calls, each to what the message says
        when its turn comes. Nothing comes where it was deleted by then, or where a later
        message, already waiting, is answered together with it (`conversation.join`).
        """
        if heard.refusal:
            yield Reply(heard.refusal)
            return
        channel = heard.message.channel
        async with self._turns.turn(channel):
            with self._logs.turn(channel):
                standing = await self._standing(heard)
                if standing is None:
                    return
                asked = await self._asked(standing)
                self._logs.put(channel, asked)
                if self._config.conversation.join and self._turns.others_wait(channel):
                    return
                async with aclosing(self._generate(standing, asked, seed)) as events:
                    async for event in events:
                        yield event

    async def _standing(self, heard: Heard) -> Heard | None:
        """A question as it stands now; once deleted, the last that was to be answered with it."""
        text = await self._store.message_text(heard.row)
        if text is not None:
            return replace(heard, message=replace(heard.message, text=text))
        channel = heard.message.channel
        if not self._config.conversation.join or self._turns.others_wait(channel):
            return None
        self._logs.drop(channel)  # those before it stand there already
        waiting = await self._store.waiting_messages(channel.platform)
        left = [one for one in waiting if one.message.channel == channel and one.id < heard.row]
        return Heard(left[-1].message, left[-1].id) if left else None

    async def _asked(self, heard: Heard) -> ChannelLog:
        """The channel's log with a question at its end."""
        message, limit = heard.message, self._config.conversation.max_message_characters
        past = self._logs.get(message.channel)
        if past is None:
            turns = await self._store.history(message.channel, RESTORED_TURNS, before=heard.row)
            past = restored(turns, limit)
        return past.heard(message.author, clipped(message.text, limit))

    async def _generate(
        self, heard: Heard, asked: ChannelLog, seed: int | None
    ) -> AsyncGenerator[ReplyEvent, None]:
        """Prompt, stream and record, with what can be said politely said politely."""
        message = heard.message
        persona = await self.persona(message.channel)
        said = _Said()
        try:
            prompt = await self._prompts.prompt(message.channel, asked, persona)
            request = self._request(message.channel, prompt, seed)
            try:
                stream = self._moderation.screen(self._engine.stream(request))
                async with aclosing(stream) as deltas:
                    async for delta in deltas:
                        said.add(delta)
                        if delta.text:
                            yield TextDelta(delta.text, request.adapter)
            except (GeneratorExit, asyncio.CancelledError):
                await self._record(heard, prompt, request, said)
                raise
        except (Busy, PromptTooLong, Withheld) as refusal:
            if isinstance(refusal, Withheld):
                await self._tell_withheld(message.channel, str(refusal))
            await self._store.settle(heard.row)
            yield Reply(refused(refusal), finish="error")
            return
        exchange = await self._record(heard, prompt, request, said)
        self._on_reply(request.adapter, said.finish, said.text, said.ids)
        if said.finish == "error":
            log.error("reply %s failed: %s", exchange, said.error)
        text, regret = shown(said.text, said.finish)
        note = " ".join(filter(None, (SHORTENED if prompt.shortened else heard.note, regret)))
        yield Reply(text, exchange, said.finish, request.adapter, said.timings, note)

    async def _tell_withheld(self, channel: ChannelKey, reason: str) -> None:
        log.warning("a reply in %s was withheld because of %s", channel, reason)
        told = {"channel": str(channel), "reason": reason}
        await self._store.add_event("withheld", told, self._clock())

    def _request(self, channel: ChannelKey, prompt: Prompt, seed: int | None) -> Request:
        adapter = self._adapter_for(channel)
        if adapter != BASE and adapter not in self._engine.loaded():
            log.warning("%s is not loaded; %s gets the base model", adapter, channel)
            adapter = BASE
        sampling = replace(self._prompts.sampling, seed=seed)
        return Request(
            prompt.ids, adapter, sampling, str(channel), channel.tenant,
            best_of=self._config.sampling.best_of, deadline=self._config.engine.deadline_seconds,
        )

    async def _record(
        self, heard: Heard, prompt: Prompt, request: Request, said: _Said
    ) -> int | None:
        """Make what was said durable and part of the channel, cancelled or not; None if nothing."""
        task = asyncio.create_task(self._recorded(heard, prompt, request, said))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await ended(task)
            raise

    async def _recorded(
        self, heard: Heard, prompt: Prompt, request: Request, said: _Said
    ) -> int | None:
        if not said.ids:
            # Cancelled before its first word, by a person or because the bot stops: only
            # what the bot itself has given up is settled.
            if said.finish != "cancelled":
                await self._store.settle(heard.row)
            return None
        message = heard.message
        exchange = await self._store.add_exchange(
            Exchange(
                channel=message.channel,
                asker=message.author,
                authors=prompt.authors,
                prompt=prompt.turns,
                prompt_ids=prompt.ids,
                reply_ids=tuple(said.ids),
                reply=said.text,
                finish=said.finish,
                adapter=request.adapter,
                base=self._engine.info.fingerprint,
                sampling=request.sampling,
                timings=said.timings,
                time=self._clock(),
                private=message.private,
                examples=tuple(one.exchange_id for one in prompt.recalled.examples),
            ),
            answers=heard.row,
        )
        answered = self._prompts.answered(prompt, said.text, said.ids, said.finish)
        self._logs.put(message.channel, answered)
        return exchange

    async def last(self, channel: ChannelKey) -> Exchange | None:
        """The newest reply of a channel, if there was one."""
        return await self._store.last_exchange(channel)

    async def reset(self, channel: ChannelKey) -> None:
        """Begin anew: what was said stays on record but is not shown to the model again."""
        async with self._turns.turn(channel):
            await self._store.reset(channel, self._clock())
            self._forget(channel)

    async def persona(self, channel: ChannelKey) -> str:
        """The channel's persona, or the configured one."""
        own = await self._store.persona(channel)
        return self._config.conversation.persona if own is None else own

    async def set_persona(self, channel: ChannelKey, persona: str | None) -> None:
        """Give a channel a persona of its own; None returns to the configured one.

        Raises:
            RapportError: longer than `MAX_PERSONA` characters.
        """
        if persona is not None:
            persona = clean(persona)
            if len(persona) > MAX_PERSONA:
                raise RapportError(
                    f"a persona may have {MAX_PERSONA:,} characters; this has {len(persona):,}"
                )
        async with self._turns.turn(channel):
            await self._store.set_persona(channel, persona)
            self._forget(channel)

    @asynccontextmanager
    async def quiet(self, channels: Collection[ChannelKey]) -> AsyncIterator[None]:
        """No reply is given in these channels meanwhile; afterwards all is read anew.

        For deletions: a reply that is being written still holds what is to be deleted.
        """
        async with AsyncExitStack() as turns:
            # In one order, so that two who do this cannot wait for each other.
            for channel in sorted(set(channels), key=str):
                await turns.enter_async_context(self._turns.turn(channel))
            try:
                yield
            finally:
                self.forgotten(channels)

    def forgotten(self, channels: Iterable[ChannelKey]) -> None:
        """Drop what is in memory of these channels: their logs, and what the engine keeps."""
        for channel in channels:
            self._forget(channel)

    def _forget(self, channel: ChannelKey) -> None:
        self._logs.drop(channel)
        self._engine.forget_prefix(str(channel))
