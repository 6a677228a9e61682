"""The discord.py client: its events, each handed on at once.

Nothing is done inside an event that takes long: messages go to their channel's answer in a
task of their own, reactions to `Signs`. What holds between two connections (which replies
were voted on while nobody listened) is `bot.platforms.discord.reconcile`'s.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from typing import Any

import aiohttp
import discord
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route

from bot.admission import Refused
from bot.config import Config
from bot.conversation import Conversation, Heard
from bot.errors import RapportError
from bot.people import CONSENT_QUESTION, People
from bot.platforms.discord import incoming, outgoing
from bot.platforms.discord.buttons import VoteButton, vote_view
from bot.platforms.discord.missed import TOO_OLD, Missed, lively
from bot.platforms.discord.reconcile import Place, Reconciliation
from bot.platforms.discord.review import ReviewButton, Reviews
from bot.platforms.discord.verdict import VerdictButton, Verdicts
from bot.platforms.live import LiveReply, Messages, PostError
from bot.platforms.reactions import Sign, Signs
from bot.platforms.receipt import FACE, Receipt
from bot.platforms.run_report import Reports
from bot.platforms.thumbs import Thumbs
from bot.store.conversations import Spot
from bot.turns import Turns
from bot.types import ChannelKey, Message, VoteValue

log = logging.getLogger(__name__)

# The bot does not speak; without this discord.py warns that it could not.
discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False

MOST_PLACES = 50
"""Channels that are read again after a connection that could not be resumed; each costs a
request."""
GRACE = 3.0
"""Seconds that what Discord has told has at the end; as long as it waits for an answer."""
THEIRS = ("discord.py: ", "CommandTree-", "discord-ui-")
"""How the names of tasks begin in which discord.py tells of events, commands and presses."""
PERMISSIONS = discord.Permissions(309237763136)
"""View, send, send in threads, create public threads, read history, react, embed, attach."""


class RapportClient(discord.AutoShardedClient):
    """One connection to Discord, in as many shards as it wants."""

    verdicts: Verdicts
    """Where presses of the buttons below verdicts go; set before the login."""
    reviews: Reviews
    """Where presses of the buttons below replies that wait go; set before the login."""
    reports: Reports
    """The runs that are followed; set before the login."""

    def __init__(self, config: Config, conversation: Conversation, people: People) -> None:
        super().__init__(
            intents=intents(config.discord.message_content),
            allowed_mentions=outgoing.SILENT,
            max_messages=1000,
        )
        self._config = config
        self.conversation = conversation
        self._thumbs = Thumbs(config.votes.up, config.votes.down)
        self._people = people
        self.signs = Signs(conversation.ratings, self._ask_consent, self._left)
        self._reconciliation = Reconciliation(self, conversation, self._thumbs, self.signs)
        self._missed = Missed(conversation, people, self.on_message, self._changed)
        self._ending = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._talking: list[ChannelKey] = []
        self._taking = Turns()
        self._interrupted: list[Heard] = []

    def dispatch(self, event: str, /, *args: Any, **kwargs: Any) -> None:
        """Start what an event asks for; from the end on nothing is started.

        discord.py waits two seconds for more servers before it says that it is ready, and
        says so even when it was closed in the meantime.
        """
        if not self._ending:
            super().dispatch(event, *args, **kwargs)

    async def setup_hook(self) -> None:
        """After the login, before the first connection."""
        self.add_dynamic_items(VoteButton, VerdictButton, ReviewButton)
        # Before anything new is heard, which waits for its answer just the same.
        self._interrupted = await self.conversation.unanswered(incoming.NAME)
        if self._config.discord.api_base:
            _, url, *_ = await self.http.get_bot_gateway()
            DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(url)

    async def on_ready(self) -> None:
        """Connected anew: catch up with what was missed."""
        assert self.user is not None
        log.info("Discord: connected as %s in %d servers", self.user, len(self.guilds))
        self._start(self._catch_up())

    async def _catch_up(self) -> None:
        """Answer and count what came while nobody listened."""
        growing = self.signs.being_made()
        await self._answer_interrupted()
        places = {place.id: place for place in lively(self.guilds)}
        looked = await self._reconciliation.run()
        places |= {place.id: place for place in looked.places}
        for place in list(places.values())[:MOST_PLACES]:
            await self._missed.read(place)
        if growing:  # while nobody listened, and not on record yet when the others were looked at
            await asyncio.gather(*(made.wait() for made in growing))
            await self._reconciliation.run(looked.replies)

    async def on_message(self, message: discord.Message) -> None:
        """Somebody said something."""
        if self.user is None or not incoming.is_spoken(message):
            return
        if not incoming.is_addressed(message, self.user, self._config.discord):
            return
        async with self._taking.turn(message.id):
            await self._take(message, self.user)

    async def on_raw_message_edit(self, event: discord.RawMessageUpdateEvent) -> None:
        """Somebody changed what they had said; it is not answered again."""
        await self._changed(event.message)

    async def _changed(self, message: discord.Message) -> None:
        budget = self._config.discord.attachment_characters
        # Previews and threads change a message as well, but not what was said in it.
        if self.user is None or message.edited_at is None or not incoming.is_spoken(message):
            return
        guild = message.guild.id if message.guild else None
        spots = incoming.spots(guild, message.channel.id, message.id)
        async with self._taking.turn(message.id):
            try:
                if await self.conversation.changes.on_record(spots):
                    text = await incoming.with_files(message, self.user, budget)
                    await self.conversation.changes.edited(spots, text)
            except RapportError as error:
                log.error("an edit could not be taken: %s", error)

    async def on_raw_message_delete(self, event: discord.RawMessageDeleteEvent) -> None:
        """Somebody deleted a message."""
        await self._deleted(incoming.spots(event.guild_id, event.channel_id, event.message_id))

    async def on_raw_bulk_message_delete(self, event: discord.RawBulkMessageDeleteEvent) -> None:
        """A moderator deleted many messages at once."""
        await self._deleted([
            spot for message in event.message_ids
            for spot in incoming.spots(event.guild_id, event.channel_id, message)
        ])

    async def _deleted(self, spots: Sequence[Spot]) -> None:
        try:
            await self.conversation.changes.deleted(spots)
        except RapportError as error:
            log.error("a deletion could not be taken: %s", error)

    async def _take(self, message: discord.Message, me: discord.ClientUser) -> None:
        """Hear a message and let it be answered."""
        said = incoming.as_message(message, me)
        # Asked before anything is done for them: a thread, or the reading of files.
        verdict = self.conversation.admission.check(said)
        if isinstance(verdict, Refused):
            if verdict.answer:
                refused = Heard(said, refusal=verdict.answer)
                self._start_answer(refused, message.channel, message)
            return
        budget = self._config.discord.attachment_characters
        try:
            channel, key = await self._place(message)
            text = await incoming.with_files(message, me, budget)
            heard = await self.conversation.hear(replace(said, channel=key, text=text))
        except (RapportError, discord.HTTPException) as error:
            log.error("a message could not be taken: %s", error)
            return
        if heard is not None:
            self._start_answer(heard, channel, message)

    async def on_raw_reaction_add(self, event: discord.RawReactionActionEvent) -> None:
        """A sign was given."""
        self._sign(event, withdrawn=False)

    async def on_raw_reaction_remove(self, event: discord.RawReactionActionEvent) -> None:
        """A sign was taken away."""
        self._sign(event, withdrawn=True)

    async def on_raw_reaction_clear(self, event: discord.RawReactionClearEvent) -> None:
        """A moderator took all signs away."""
        key = incoming.channel_key(event.guild_id, event.channel_id)
        self.signs.clear(key, str(event.message_id), 0)

    async def on_raw_reaction_clear_emoji(
        self, event: discord.RawReactionClearEmojiEvent
    ) -> None:
        """A moderator took one kind of sign away."""
        key = incoming.channel_key(event.guild_id, event.channel_id)
        if value := self._thumbs.value(event.emoji.name):
            self.signs.clear(key, str(event.message_id), value)

    def _sign(self, event: discord.RawReactionActionEvent, *, withdrawn: bool) -> None:
        value = self._thumbs.value(event.emoji.name)
        if not value or self.user is None or event.user_id == self.user.id:
            return
        if event.member is not None and event.member.bot:
            return
        key = incoming.channel_key(event.guild_id, event.channel_id)
        self.signs.take(
            Sign(key, str(event.message_id), str(event.user_id), value, withdrawn=withdrawn)
        )

    async def _left(
        self, key: ChannelKey, messages: Sequence[str], person: str
    ) -> Collection[VoteValue]:
        return await self._reconciliation.left(key, messages, person)

    async def _ask_consent(self, sign: Sign) -> None:
        """After somebody's first vote, ask once, in private, what may be learned from them."""
        if not await self._people.should_ask(incoming.NAME, sign.person):
            return
        try:
            user = self.get_user(int(sign.person)) or await self.fetch_user(int(sign.person))
            await user.send(CONSENT_QUESTION)
        except discord.HTTPException:
            log.info("somebody who voted takes no direct messages and was not asked for consent")

    async def _place(
        self, message: discord.Message
    ) -> tuple[discord.abc.Messageable, ChannelKey]:
        """Where the answer goes: where it was asked, or into a thread of its own."""
        channel = message.channel
        wanted = self._config.discord.thread_per_mention
        if not wanted or message.guild is None or not isinstance(channel, discord.TextChannel):
            return channel, incoming.key_of(message)
        assert self.user is not None
        name = " ".join(incoming.spoken_text(message, self.user).split())[:80] or "Conversation"
        try:
            thread = await message.create_thread(name=name)
        except discord.HTTPException as error:
            log.warning("no thread in #%s, answering there: %s", channel.name, error.text[:200])
            return channel, incoming.key_of(message)
        return thread, incoming.channel_key(message.guild.id, thread.id)

    def _start_answer(
        self, heard: Heard, channel: discord.abc.Messageable, question: discord.Message | None
    ) -> None:
        receipt = self._receipt(heard, question)
        self._talking.append(heard.message.channel)
        self._start(self._answer(heard, channel, question, receipt))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        """Work that takes long, in a task that does not outlive the client."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _receipt(self, heard: Heard, question: discord.Message | None) -> Receipt | None:
        """The sign under a question that waits behind another; what is refused does not wait."""
        waits = heard.message.channel in self._talking and not heard.refusal
        me = self.user
        if question is None or me is None or not (waits and self._config.discord.receipt):
            return None
        return Receipt(
            lambda: question.add_reaction(FACE), lambda: question.remove_reaction(FACE, me),
            (discord.DiscordException, aiohttp.ClientError, OSError),
        )

    async def _answer(
        self, heard: Heard, channel: discord.abc.Messageable, question: discord.Message | None,
        receipt: Receipt | None,
    ) -> None:
        key = heard.message.channel
        poster = outgoing.Reply(channel, question, ping=self._config.discord.ping)

        def posted(message: str) -> None:
            if receipt is not None:
                receipt.over()

        paper = Messages(poster, limit=outgoing.LIMIT, posted=posted)
        live = LiveReply(paper, interval=self._config.discord.edit_seconds)
        try:
            with self.signs.making(key):
                async with AsyncExitStack() as stack:
                    if not heard.refusal:
                        await stack.enter_async_context(channel.typing())
                    events = await stack.enter_async_context(
                        aclosing(self.conversation.answer(heard))
                    )
                    reply = await live.follow(events)
                if reply is not None and reply.exchange_id is not None and paper.ids:
                    await self.conversation.ratings.posted(reply.exchange_id, paper.ids)
                    if self._config.discord.buttons:
                        await poster.offer(vote_view(reply.exchange_id))
        except PostError as error:
            log.error("%s", error)
        except discord.HTTPException as error:
            log.error("%s", outgoing.refused(error, channel))
        except RapportError as error:
            log.error("an answer failed: %s", error)
        finally:
            self._talking.remove(key)
            if receipt is not None:
                await receipt.close()

    async def _answer_interrupted(self) -> None:
        """Answer what was heard before a restart and is still fresh."""
        now = discord.utils.utcnow()
        interrupted, self._interrupted = self._interrupted, []
        for heard in interrupted:
            channel = None
            if (now - heard.message.time).total_seconds() <= TOO_OLD:
                channel = await self._reconciliation.channel(heard.message.channel)
            if channel is None or not await self._permitted(heard.message, channel):
                await self.conversation.give_up(heard)
                continue
            if await self._missed.is_gone(channel, heard.message):
                continue
            self._start_answer(heard, channel, None)

    async def _permitted(self, said: Message, place: Place) -> bool:
        """Whether a message on record may still be answered, as things stand now."""
        roles, known = self._config.permissions.roles, True
        given: tuple[str, ...] = ()
        if not isinstance(place, discord.DMChannel) and (roles.allowed_ids or roles.blocked_ids):
            try:
                given = incoming.roles_of(await place.guild.fetch_member(int(said.author)))
            except discord.HTTPException:
                known = False  # gone from the server, or nobody can tell
        within = (str(place.id), *incoming.within(place))
        return known and self.conversation.permitted(replace(said, roles=given, within=within))

    async def close(self) -> None:
        """Let answers that are being made end as they are, keep every vote, disconnect."""
        self._ending = True
        await _ended(_told(), GRACE)
        while self._tasks:
            await _ended(self._tasks)
        await self.reports.close()
        await self.signs.settled()
        await super().close()
        await _ended(_told())  # what was told in the meantime


def _told() -> set[asyncio.Task[Any]]:
    """What discord.py is telling of just now; it keeps no list of that itself."""
    return {task for task in asyncio.all_tasks() if task.get_name().startswith(THEIRS)}


async def _ended(tasks: Collection[asyncio.Task[Any]], grace: float = 0.0) -> None:
    """Wait until these tasks have come to their end, or are cancelled."""
    if tasks := set(tasks):
        _, late = await asyncio.wait(tasks, timeout=grace)
        for task in late:
            task.cancel()
        await asyncio.wait(tasks)


def intents(message_content: bool) -> discord.Intents:
    """The events the bot asks Discord for, and no others."""
    wanted = discord.Intents.none()
    wanted.guilds = True
    wanted.messages = True
    wanted.reactions = True
    wanted.message_content = message_content
    return wanted


def invitation(application_id: int) -> str:
    """The page where the bot is invited to a server."""
    return discord.utils.oauth_url(
        application_id, permissions=PERMISSIONS, scopes=("bot", "applications.commands")
    )


def set_api_base(url: str) -> None:
    """Let discord.py talk to another server; for the whole process."""
    Route.BASE = url.rstrip("/")
