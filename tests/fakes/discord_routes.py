"""What the bot may ask of the REST API: itself, guilds, channels, messages, reactions.

Each handler finds what the path names, checks what the bot may do there, and leaves the
doing to `Messages`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.fakes.discord_bits import Permission
from tests.fakes.discord_http import Call, Front, Upload
from tests.fakes.discord_messages import Attachment, Message, Messages
from tests.fakes.discord_rules import (
    LARGEST,
    Refusal,
    bad_form,
    check_message,
    length,
    refusal,
    snowflake,
)
from tests.fakes.discord_world import CATEGORY, DIRECT, Channel, Guild, Json, Snowflakes, User

SETTABLE = ("embeds", "components", "flags", "allowed_mentions")
"""What an edit sets besides the content and the files."""


def is_empty(message: Message) -> bool:
    """Whether there would be nothing to see."""
    return not (message.content or message.embeds or message.attachments or message.components)


@dataclass
class Routes:
    """The handlers of everything but interactions."""

    messages: Messages
    ids: Snowflakes
    owner: User
    base: str = ""
    """Where attachments are served."""
    gateway: str = ""
    shards: int = 1
    typing: list[Channel] = field(default_factory=list)
    """Where the bot typed, each time it said so."""
    nonces: dict[tuple[int, str], Message] = field(default_factory=dict)

    def serve(self, front: Front) -> None:
        """Open every route."""
        message = "/channels/{channel_id}/messages/{message_id}"
        mine = f"{message}/reactions/{{emoji}}/@me"
        for method, template, handler in (
            ("GET", "/gateway/bot", self.get_gateway),
            ("GET", "/users/@me", self.get_me),
            ("GET", "/users/{user_id}", self.get_user),
            ("POST", "/users/@me/channels", self.open_dm),
            ("GET", "/oauth2/applications/@me", self.get_application),
            ("GET", "/applications/@me", self.get_application),
            ("GET", "/guilds/{guild_id}", self.get_guild),
            ("GET", "/guilds/{guild_id}/channels", self.get_channels),
            ("GET", "/guilds/{guild_id}/members/{user_id}", self.get_member),
            ("GET", "/channels/{channel_id}", self.get_channel),
            ("POST", "/channels/{channel_id}/typing", self.type),
            ("GET", "/channels/{channel_id}/messages", self.list_messages),
            ("POST", "/channels/{channel_id}/messages", self.post),
            ("GET", message, self.get_message),
            ("PATCH", message, self.edit),
            ("DELETE", message, self.delete),
            ("POST", f"{message}/threads", self.thread_on),
            ("POST", "/channels/{channel_id}/threads", self.thread),
            ("PUT", "/channels/{channel_id}/thread-members/@me", self.join),
            ("PUT", mine, self.react),
            ("DELETE", mine, self.unreact),
            ("DELETE", f"{message}/reactions/{{emoji}}/{{user_id}}", self.unreact_for),
            ("GET", f"{message}/reactions/{{emoji}}", self.list_reactions),
            ("DELETE", f"{message}/reactions/{{emoji}}", self.clear_emoji),
            ("DELETE", f"{message}/reactions", self.clear),
        ):
            front.add(method, template, handler)

    async def get_gateway(self, call: Call) -> Json:
        """Where the gateway is, and in how many shards it wants to be used."""
        return {
            "url": self.gateway, "shards": self.shards,
            "session_start_limit": {
                "total": 1000, "remaining": 999, "reset_after": 86400000, "max_concurrency": 1,
            },
        }

    async def get_me(self, call: Call) -> Json:
        """The bot."""
        return self.messages.bot.payload() | {"verified": True, "mfa_enabled": False}

    async def get_user(self, call: Call) -> Json:
        """Anybody."""
        user = self.messages.user(call.number("user_id"))
        if user is None:
            raise refusal(10013)
        return user.payload()

    async def open_dm(self, call: Call) -> Json:
        """The direct conversation with somebody."""
        user = self.messages.user(snowflake("recipient_id", call.form.get("recipient_id")))
        if user is None or user is self.messages.bot:
            raise refusal(10013)
        return self.messages.open_dm(user).payload(self.messages.bot)

    async def get_application(self, call: Call) -> Json:
        """The application behind the bot, with its owner."""
        bot = self.messages.bot
        return {
            "id": str(bot.id), "name": bot.name, "icon": None, "description": "", "summary": "",
            "bot_public": True, "bot_require_code_grant": False, "verify_key": "0" * 64,
            "owner": self.owner.payload(), "flags": 1 << 19, "team": None,
        }

    async def get_guild(self, call: Call) -> Json:
        """A guild, with counts where asked for."""
        guild = self._guild(call)
        counts = {"approximate_member_count": len(guild.members), "approximate_presence_count": 1}
        return guild.payload() | (counts if call.query.get("with_counts") in ("1", "true") else {})

    async def get_channels(self, call: Call) -> list[Json]:
        """A guild's channels, without its threads."""
        channels = self._guild(call).channels.values()
        return [one.payload(self.messages.bot) for one in channels if not one.is_thread]

    async def get_member(self, call: Call) -> Json:
        """Somebody on a guild."""
        member = self._guild(call).members.get(call.number("user_id"))
        if member is None:
            raise refusal(10007)
        return member.payload()

    async def get_channel(self, call: Call) -> Json:
        """A channel, thread or direct conversation."""
        return self._channel(call).payload(self.messages.bot)

    async def type(self, call: Call) -> None:
        """Say that the bot types."""
        channel = self._channel(call)
        self._may_send(channel)
        self.typing.append(channel)
        self.messages.typing(channel, self.messages.bot)

    async def list_messages(self, call: Call) -> list[Json]:
        """Messages of a channel, the newest first."""
        channel = self._channel(call, Permission.READ_MESSAGE_HISTORY)
        most = _limit(call, usual=50)
        found = self.messages.of(channel)[::-1]
        if before := call.query.get("before"):
            found = [message for message in found if message.id < int(before)]
        if after := call.query.get("after"):
            found = [message for message in found if message.id > int(after)][-most:]
        if around := call.query.get("around"):
            found = sorted(found, key=lambda message: abs(message.id - int(around)))[:most]
            found.sort(key=lambda message: -message.id)
        return [message.payload(self.messages.bot) for message in found[:most]]

    async def get_message(self, call: Call) -> Json:
        """One message with its reactions."""
        channel = self._channel(call, Permission.READ_MESSAGE_HISTORY)
        return self._message(call, channel).payload(self.messages.bot)

    async def post(self, call: Call) -> Json:
        """A new message; one whose nonce is known is the message it was then."""
        channel = self._channel(call)
        body = call.form
        self._may_send(channel)
        nonce = None if body.get("nonce") is None else str(body["nonce"])
        if nonce is not None and body.get("enforce_nonce"):
            first = self.nonces.get((channel.id, nonce))
            if first is not None and not first.deleted:
                return first.payload(self.messages.bot)
        message = self.compose(channel, body, call.files)
        message.nonce = nonce
        if body.get("message_reference"):
            self._refer(message, body["message_reference"])
        if is_empty(message):
            raise refusal(50006)
        if message.attachments and Permission.ATTACH_FILES not in self._allowed(channel):
            raise refusal(50013)
        if nonce is not None:
            self.nonces[channel.id, nonce] = message
        return self.messages.post(message).payload(self.messages.bot)

    def compose(self, channel: Channel, body: Json, files: list[Upload]) -> Message:
        """A message of the bot as its body asks for, checked and not yet posted."""
        message = Message(self.ids(), channel, self.messages.bot, check_message(body))
        message.tts = bool(body.get("tts"))
        self._set(message, body, files)
        return message

    def change(self, message: Message, body: Json, files: list[Upload]) -> None:
        """Edit a message of the bot as its body asks for."""
        text = check_message(body)
        before = message.content, message.embeds, message.components, message.attachments
        self._set(message, body, files)
        message.content = text if "content" in body else message.content
        if is_empty(message):
            message.content, message.embeds, message.components, message.attachments = before
            raise refusal(50006)
        self.messages.edit(message, text if "content" in body else None)

    async def edit(self, call: Call) -> Json:
        """Change a message of the bot's own."""
        message = self._message(call, self._channel(call))
        if message.author is not self.messages.bot:
            raise refusal(50005)
        if message.channel.archived:
            raise refusal(50083)
        self.change(message, call.form, call.files)
        return message.payload(self.messages.bot)

    async def delete(self, call: Call) -> None:
        """Take a message away."""
        channel = self._channel(call)
        message = self._message(call, channel)
        if message.author is not self.messages.bot:
            self._may(channel, Permission.MANAGE_MESSAGES)
        self.messages.delete(message)

    async def thread_on(self, call: Call) -> Json:
        """Open a thread on a message."""
        channel = self._channel(call, Permission.CREATE_PUBLIC_THREADS)
        message = self._message(call, channel)
        if message.thread is not None:
            raise refusal(160004)
        return self._start_thread(call, channel, message, private=False)

    async def thread(self, call: Call) -> Json:
        """Open a thread on nothing."""
        private = call.form.get("type", 12) == 12
        needed = Permission.CREATE_PRIVATE_THREADS if private else Permission.CREATE_PUBLIC_THREADS
        return self._start_thread(call, self._channel(call, needed), None, private=private)

    async def join(self, call: Call) -> None:
        """Join a thread."""
        thread = self._channel(call)
        thread.members.add(self.messages.bot.id)

    async def react(self, call: Call) -> None:
        """React to a message; a new kind of reaction needs a permission of its own."""
        channel = self._channel(call, Permission.READ_MESSAGE_HISTORY)
        message = self._message(call, channel)
        emoji = _emoji(call)
        if emoji not in message.reactions:
            self._may(channel, Permission.ADD_REACTIONS)
            if len(message.reactions) >= 20:
                raise refusal(30010)
        self.messages.react(message, self.messages.bot, emoji)

    async def unreact(self, call: Call) -> None:
        """Take the bot's reaction back."""
        message = self._message(call, self._channel(call))
        self.messages.unreact(message, self.messages.bot, _emoji(call))

    async def unreact_for(self, call: Call) -> None:
        """Take somebody's reaction away."""
        channel = self._channel(call, Permission.MANAGE_MESSAGES)
        user = self.messages.user(call.number("user_id"))
        if user is None:
            raise refusal(10013)
        self.messages.unreact(self._message(call, channel), user, _emoji(call))

    async def list_reactions(self, call: Call) -> list[Json]:
        """Who reacted with an emoji, in the order of their ids."""
        channel = self._channel(call, Permission.READ_MESSAGE_HISTORY)
        given = self._message(call, channel).reactions.get(_emoji(call), {})
        burst = call.query.get("type", "0") == "1"
        after = int(call.query.get("after", 0))
        numbers = sorted(one for one, kind in given.items() if one > after and kind is burst)
        users = [self.messages.user(number) for number in numbers[: _limit(call, usual=25)]]
        return [user.payload() for user in users if user is not None]

    async def clear_emoji(self, call: Call) -> None:
        """Take away all reactions of one kind."""
        channel = self._channel(call, Permission.MANAGE_MESSAGES)
        self.messages.clear(self._message(call, channel), _emoji(call))

    async def clear(self, call: Call) -> None:
        """Take away all reactions."""
        channel = self._channel(call, Permission.MANAGE_MESSAGES)
        self.messages.clear(self._message(call, channel), None)

    def _guild(self, call: Call) -> Guild:
        guild = self.messages.guilds.get(call.number("guild_id"))
        if guild is None:
            raise refusal(10004)
        return guild

    def _allowed(self, channel: Channel) -> Permission:
        return channel.allowed(self.messages.bot)

    def _may(self, channel: Channel, needed: Permission) -> None:
        if not self._allowed(channel) & Permission.VIEW_CHANNEL:
            raise refusal(50001)
        if needed not in self._allowed(channel):
            raise refusal(50013)

    def _channel(self, call: Call, needed: Permission = Permission.VIEW_CHANNEL) -> Channel:
        channel = self.messages.channel(call.number("channel_id"))
        if channel is None:
            raise refusal(10003)
        self._may(channel, needed)
        return channel

    def _may_send(self, channel: Channel) -> None:
        if channel.kind == CATEGORY:
            raise refusal(50008)
        if channel.kind == DIRECT and channel.recipient and not channel.recipient.accepts_dms:
            raise refusal(50007)
        threads = Permission.SEND_MESSAGES_IN_THREADS
        self._may(channel, threads if channel.is_thread else Permission.SEND_MESSAGES)
        if channel.archived:
            raise refusal(50083)

    def _message(self, call: Call, channel: Channel) -> Message:
        message = self.messages.all.get(call.number("message_id"))
        if message is None or message.deleted or message.channel is not channel:
            raise refusal(10008)
        return message

    def _refer(self, message: Message, reference: Json) -> None:
        number = snowflake("message_reference.message_id", reference.get("message_id"))
        replied = self.messages.all.get(number)
        if replied is None or replied.deleted or replied.channel is not message.channel:
            if reference.get("fail_if_not_exists", True):
                raise bad_form("message_reference", "REPLIES_UNKNOWN_MESSAGE", "Unknown message")
            return
        if Permission.READ_MESSAGE_HISTORY not in self._allowed(message.channel):
            raise refusal(160002)
        message.reference, message.kind = replied, 19

    def _set(self, message: Message, body: Json, files: list[Upload]) -> None:
        for name in SETTABLE:
            if body.get(name) is not None:
                setattr(message, name, body[name])
        listed = body.get("attachments")
        if listed is not None:
            # The others are placeholders of the files that come with the request.
            staying = {str(one.get("id")) for one in listed}
            message.attachments = [one for one in message.attachments if str(one.id) in staying]
        described = {f"files[{one.get('id')}]": one.get("description") for one in listed or []}
        for file in files:
            description = described.get(file.field) or ""
            length("attachments.description", description, 0, 1024)
            message.attachments.append(self.attachment(
                message.channel, file.filename, file.content, file.content_type, description
            ))

    def attachment(
        self, channel: Channel, filename: str, content: bytes, content_type: str,
        description: str = "",
    ) -> Attachment:
        """A file that hangs on a message of a channel, with its address."""
        if len(content) > LARGEST:
            raise refusal(40005)
        number = self.ids()
        url = f"{self.base}/attachments/{channel.id}/{number}/{filename}"
        return Attachment(number, filename, content, content_type, url, description)

    def _start_thread(
        self, call: Call, channel: Channel, start: Message | None, *, private: bool
    ) -> Json:
        if channel.is_thread or channel.guild is None:
            raise Refusal(400, 50024, "Cannot execute action on this channel type")
        name = length("name", call.form.get("name"), 1, 100)
        bot = self.messages.bot
        return self.messages.start_thread(channel, bot, name, start, private=private).payload(bot)


def _limit(call: Call, *, usual: int) -> int:
    most = int(call.query.get("limit", usual))
    if not 1 <= most <= 100:
        raise bad_form(
            "limit", "NUMBER_TYPE_MAX", "int value should be less than or equal to 100."
        )
    return most


def _emoji(call: Call) -> str:
    """The emoji of the path: a character of its own, or ``name:id``."""
    emoji = call.params["emoji"]
    name, _, number = emoji.partition(":")
    known = number.isdigit() if number else not name.isascii()
    if not known:
        raise refusal(10014)
    return emoji
