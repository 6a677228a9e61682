"""The listeners of the Bolt app: every event, command and press, each handed on at once.

Bolt acknowledges an event when its listener returns. A message is on record by then, and
everything that takes long goes on in the background. One that fails is not acknowledged,
so that Slack sends it again.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from slack_bolt.app.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot.commands import Command, Commands
from bot.config import Config
from bot.conversation import Conversation
from bot.errors import RapportError
from bot.people import CONSENT_QUESTION, People
from bot.platforms.base import Notice
from bot.platforms.reactions import Sign, Signs
from bot.platforms.run_report import Reports
from bot.platforms.slack import incoming, review, verdict
from bot.platforms.slack.answers import Answers
from bot.platforms.slack.background import Background
from bot.platforms.slack.commands import SlashCommands
from bot.platforms.slack.feedback import ACTION, pressed
from bot.platforms.slack.files import Files
from bot.platforms.slack.home import home
from bot.platforms.slack.manifest import COMMAND, listened
from bot.platforms.slack.members import Members
from bot.platforms.slack.missed import Missed
from bot.platforms.slack.outgoing import FAILURES, LIMIT, Respond, why
from bot.platforms.slack.places import Places
from bot.platforms.slack.reconcile import Reconciliation
from bot.platforms.slack.wording import as_given
from bot.platforms.thumbs import Thumbs
from bot.turns import Turns
from bot.types import ChannelKey, VoteValue

log = logging.getLogger(__name__)

Body = dict[str, Any]
Ack = Callable[[], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the bot is, and in which workspace."""

    team: str
    user: str
    bot: str


class Recent:
    """What was taken lately, so that what comes twice is taken once."""

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._taken: OrderedDict[Hashable, None] = OrderedDict()

    @contextmanager
    def taking(self, name: Hashable) -> Iterator[bool]:
        """Whether it is new; what fails in here has not been taken."""
        new = name not in self._taken
        if new:
            self._taken[name] = None
            while len(self._taken) > self._most:
                self._taken.popitem(last=False)
        try:
            yield new
        except BaseException:
            self._taken.pop(name, None)
            raise


class Listeners:
    """What the bot does about what Slack tells it."""

    def __init__(
        self, client: AsyncWebClient, me: Identity, config: Config, conversation: Conversation,
        commands: Commands, people: People,
    ) -> None:
        self._people = people
        self._client = client
        self._me = me
        self._config = config
        self._conversation = conversation
        self._commands = commands
        self._thumbs = Thumbs(config.votes.up, config.votes.down)
        self._recent = Recent()
        self._taking = Turns()
        self._files = Files(client, config.slack.attachment_characters)
        self._members = Members(client)
        self._places = Places(client, me.team)
        self._background = Background()
        self._signs = Signs(conversation.ratings, self._signed, self._left)
        self._reconciliation = Reconciliation(
            client, me.user, conversation, self._thumbs, self._signs, self._places
        )
        self._missed = Missed(client, me.team, conversation.changes, self._edited)
        self._answers = Answers(
            client, config.slack, conversation, self._places, self._signs, self._background
        )
        self._reports = Reports(LIMIT)
        self._verdicts = verdict.Verdicts(client, commands, self._members)
        self._reviews = review.Reviews(commands)
        self._slash = SlashCommands(
            client, me.team, config.permissions.users.admin_ids, self._members, conversation,
            commands, self._reports, self._verdicts,
        )

    def register(self, app: AsyncApp) -> None:
        """Listen to everything that the manifest subscribes to."""
        act = {
            "app_home_opened": self._home_opened, "app_mention": self._said,
            "message": self._said, "reaction_added": self._reacted,
            "reaction_removed": self._reacted,
        }
        for event in listened():
            app.event(event)(act[event])
        app.command(COMMAND)(self._commanded)
        app.action(ACTION)(self._pressed)
        app.action(verdict.ACTION)(self._judged)
        app.action(review.ACTION)(self._reviewed)
        app.error(self._failed)

    async def resume(self) -> None:
        """Go on after a start: with answers that were interrupted, and with what was missed."""
        await self._answers.resume(self._missed.waiting)
        self._background.start(self._catch_up())

    async def _catch_up(self) -> None:
        await self._missed.read(await self._reconciliation.run())

    def hear(self, notice: Notice) -> None:
        """Show a notice where a run was asked for."""
        self._reports.hear(replace(notice, text=as_given(notice.text)))

    async def close(self) -> None:
        """Let answers that are being made end as they are, and keep every vote."""
        await self._background.close()  # a command in it would follow a run
        await self._reports.close()
        await self._signs.settled()

    async def _said(self, event: incoming.Event) -> None:
        """Somebody said something; a mention is told twice, once as such."""
        self._places.note(event)
        if (gone := incoming.deleted(event)) is not None:
            spots = incoming.spots(event["channel"], gone, self._me.team)
            await self._conversation.changes.deleted(spots)
            return
        if (edited := incoming.edited(event)) is not None:
            await self._edited(edited)
            return
        if not incoming.is_spoken(event):
            return
        key = incoming.key_of(event, self._me.team, self._config.slack)
        if not await self._addressed(event, key):
            return
        with self._recent.taking((event["channel"], event["ts"])) as new:
            if new:
                async with self._taking.turn((event["channel"], event["ts"])):
                    await self._take(event, key)

    async def _edited(self, message: incoming.Event) -> None:
        """Somebody changed what they had said; it is not answered again."""
        spots = incoming.spots(message["channel"], message, self._me.team)
        async with self._taking.turn((message["channel"], message["ts"])):
            if await self._conversation.changes.on_record(spots):
                text, _ = await self._read(message)
                await self._conversation.changes.edited(spots, text)

    async def _addressed(self, event: incoming.Event, key: ChannelKey) -> bool:
        """Whether a message asks for an answer; in a thread the bot is in, every one does."""
        channel = event["channel"]
        if event["type"] == "app_mention" or self._me.user in incoming.mentioned(event):
            return True
        if incoming.is_direct(channel) or channel in self._config.slack.always:
            return True
        if incoming.thread_of(event) is None:
            return False
        return self._answers.talking(key) or await self._conversation.last(key) is not None

    async def _take(self, event: incoming.Event, key: ChannelKey) -> None:
        # Asked before anything is done for them: a persona's copy, or the reading of files.
        if not self._conversation.permitted(
            incoming.as_message(event, key, "", {}, private=False)
        ):
            return
        await self._inherit(key)
        text, names = await self._read(event)
        private = await self._places.is_private(event["channel"])
        heard = await self._conversation.hear(
            incoming.as_message(event, key, text, names, private=private)
        )
        if heard is not None:
            self._answers.start(heard)

    async def _read(self, event: incoming.Event) -> tuple[str, Mapping[str, str]]:
        """What a message says with its files, and the names of people."""
        names = await self._members.names(incoming.mentioned(event) - {self._me.user})
        files = await self._files.shown(event)
        return incoming.whole_text(event, self._me.user, names, files), names

    async def _inherit(self, key: ChannelKey) -> None:
        """Begin a thread with the persona of its channel."""
        channel, thread = incoming.place_of(key)
        if thread is None or await self._conversation.last(key) is not None:
            return
        usual = self._config.conversation.persona
        persona = await self._conversation.persona(incoming.channel_key(self._me.team, channel))
        if persona != usual and await self._conversation.persona(key) == usual:
            await self._conversation.set_persona(key, persona)

    async def _reacted(self, body: Body, event: incoming.Event) -> None:
        """A sign was given or taken away; Slack tells of the message, not of its thread."""
        item, value = event["item"], self._thumbs.value(event["reaction"])
        mine = event.get("item_user", self._me.user) == self._me.user
        if not value or not mine or item.get("type") != "message":
            return
        with self._recent.taking(body["event_id"]) as new:
            if not new:
                return
            key = await self._places.conversation_of(item["channel"], item["ts"])
        if key is not None:
            withdrawn = event["type"] == "reaction_removed"
            self._signs.take(Sign(
                key, item["ts"], event["user"], value, withdrawn=withdrawn,
                time=float(event.get("event_ts") or 0),
            ))

    async def _pressed(self, ack: Ack, body: Body, respond: Respond) -> None:
        """A button under a reply; Slack shows by itself which of the two was pressed."""
        press = pressed(body, self._me.team)
        if press is not None:
            try:
                await self._conversation.ratings.vote(
                    press.channel, press.exchange, press.person, press.value, "button"
                )
                self._background.start(self._ask_consent(press.channel, press.person))
            except RapportError as error:
                self._background.start(_tell(respond, f"{error}".capitalize()))
        await ack()

    async def _judged(self, ack: Ack, body: Body, respond: Respond) -> None:
        """A button below a verdict."""
        await ack()
        self._background.start(self._press(self._verdicts, body, respond))

    async def _reviewed(self, ack: Ack, body: Body, respond: Respond) -> None:
        """A button below a reply that waits for an operator's word."""
        await ack()
        self._background.start(self._press(self._reviews, body, respond))

    async def _press(
        self, pressed: verdict.Verdicts | review.Reviews, body: Body, respond: Respond
    ) -> None:
        channel = (body.get("container") or {}).get("channel_id", "")
        key = incoming.channel_key(self._me.team, channel)
        await pressed.press(body, await self._slash.asker(key, body["user"]["id"]), respond)

    async def _left(
        self, key: ChannelKey, messages: Sequence[str], person: str
    ) -> Collection[VoteValue] | None:
        return await self._reconciliation.left(key, messages, person)

    async def _signed(self, sign: Sign) -> None:
        await self._ask_consent(sign.channel, sign.person)

    async def _ask_consent(self, key: ChannelKey, person: str) -> None:
        """After somebody's first vote, ask them alone what may be learned from them."""
        if not await self._people.should_ask(incoming.NAME, person):
            return
        channel, thread = incoming.place_of(key)
        try:
            await self._client.chat_postEphemeral(
                channel=channel, user=person, thread_ts=thread, text=as_given(CONSENT_QUESTION)
            )
        except FAILURES as error:
            log.warning("somebody could not be asked for consent: %s", why(error))

    async def _commanded(self, ack: Ack, body: Body, respond: Respond) -> None:
        await ack()
        self._background.start(self._slash.run(body, respond))

    async def _home_opened(self, event: incoming.Event) -> None:
        if event.get("tab", "home") == "home":
            self._background.start(self._show_home(event["channel"], event["user"]))

    async def _show_home(self, channel: str, person: str) -> None:
        asker = await self._slash.asker(incoming.channel_key(self._me.team, channel), person)
        status = await self._commands.run(Command("status"), asker) if asker.operator else None
        try:
            await self._client.views_publish(user_id=person, view=home(status))
        except FAILURES as error:
            log.warning("the home tab of %s is not shown: %s", person, why(error))

    async def _failed(self, error: Exception) -> None:
        """What a listener raised; Slack sends the event again."""
        log.error("an event could not be taken: %s", error, exc_info=error)


async def _tell(respond: Respond, text: str) -> None:
    try:
        await respond(text=text, response_type="ephemeral", replace_original=False)
    except FAILURES as error:
        log.warning("somebody could not be told: %s", why(error))
