"""Slash commands, buttons and autocompletion: what is asked, and how the bot answers.

An interaction has to be answered within three seconds and once; for a quarter of an hour
its token then stands for a webhook that can edit that answer and send more.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.fakes.discord_http import Call, Front
from tests.fakes.discord_messages import Message, Messages
from tests.fakes.discord_routes import Routes, is_empty
from tests.fakes.discord_rules import (
    EPHEMERAL,
    LOADING,
    Refusal,
    bad_form,
    check_choices,
    check_commands,
    refusal,
)
from tests.fakes.discord_world import Channel, Json, Snowflakes, User

COMMAND, COMPONENT, AUTOCOMPLETE, MODAL = 2, 3, 4, 5
PONG, SAY, DEFER, DEFER_UPDATE, UPDATE, CHOICES, ASK = 1, 4, 5, 6, 7, 8, 9
FITTING = {
    COMMAND: {SAY, DEFER, ASK},
    COMPONENT: {SAY, DEFER, DEFER_UPDATE, UPDATE, ASK},
    AUTOCOMPLETE: {CHOICES},
    MODAL: {SAY, DEFER, DEFER_UPDATE, UPDATE},
}
"""How each kind of interaction may be answered."""
PATIENCE = 3.0
LIFETIME = 15 * 60.0


@dataclass(frozen=True)
class Response:
    """The answer to an interaction as it was sent."""

    kind: int
    data: Json


@dataclass(eq=False)
class Interaction:
    """One use of a command or a button, with all that came of it."""

    id: int
    token: str
    kind: int
    channel: Channel
    user: User
    began: float
    source: Message | None = None
    """The message whose button was pressed."""
    responses: list[Response] = field(default_factory=list)
    original: Message | None = None
    """The message that answers it; while `LOADING` is in its flags it says nothing yet."""
    followups: list[Message] = field(default_factory=list)
    edits: list[Json] = field(default_factory=list)
    """The bodies that edited the answer, in order."""

    @property
    def deferred(self) -> bool:
        """Whether the answer was put off first."""
        return bool(self.responses) and self.responses[0].kind in (DEFER, DEFER_UPDATE)

    @property
    def ephemeral(self) -> bool:
        """Whether the first answer is for the asker alone."""
        flags: int = self.responses[0].data.get("flags", 0) if self.responses else 0
        return bool(flags & EPHEMERAL)

    @property
    def texts(self) -> list[str]:
        """What the asker reads: the answer as it stands now and all that followed."""
        shown = [self.original] if self.original is not None else []
        return [
            message.content for message in [*shown, *self.followups]
            if not message.deleted and not message.flags & LOADING
        ]


@dataclass
class Interactions:
    """Every interaction of one server, and the commands that people can use."""

    messages: Messages
    routes: Routes
    ids: Snowflakes
    clock: Callable[[], float]
    commands: list[Json] = field(default_factory=list)
    """The global commands as they were put last, with ids."""
    guild_commands: dict[int, list[Json]] = field(default_factory=dict)
    syncs: int = 0
    """How often commands were put."""
    all: dict[int, Interaction] = field(default_factory=dict)

    def serve(self, front: Front) -> None:
        """Open every route."""
        webhook = "/webhooks/{application_id}/{token}"
        commands = "/applications/{application_id}/commands"
        in_guild = "/applications/{application_id}/guilds/{guild_id}/commands"
        for method, template, handler in (
            ("POST", "/interactions/{interaction_id}/{token}/callback", self.answer),
            ("POST", webhook, self.follow_up),
            ("GET", f"{webhook}/messages/{{which}}", self.get_message),
            ("PATCH", f"{webhook}/messages/{{which}}", self.edit),
            ("DELETE", f"{webhook}/messages/{{which}}", self.delete),
            ("PUT", commands, self.put_commands),
            ("GET", commands, self.get_commands),
            ("PUT", in_guild, self.put_commands),
            ("GET", in_guild, self.get_commands),
        ):
            front.add(method, template, handler)

    def begin(
        self, kind: int, channel: Channel, user: User, source: Message | None = None
    ) -> Interaction:
        """A new interaction; the token is its own."""
        interaction = Interaction(
            self.ids(), secrets.token_urlsafe(24), kind, channel, user, self.clock(), source
        )
        self.all[interaction.id] = interaction
        return interaction

    def payload(self, interaction: Interaction, data: Json) -> Json:
        """What INTERACTION_CREATE tells."""
        channel, user, bot = interaction.channel, interaction.user, self.messages.bot
        allowed = str(int(channel.allowed(user)))
        event: Json = {
            "id": str(interaction.id), "application_id": str(bot.id), "type": interaction.kind,
            "token": interaction.token, "version": 1, "data": data, "locale": "en-US",
            "channel_id": str(channel.id),
            "channel": channel.payload(bot) | {"permissions": allowed},
            "app_permissions": str(int(channel.allowed(bot))), "entitlements": [],
            "attachment_size_limit": 10 * 1024 * 1024, "context": 1 if channel.guild is None else 0,
            "authorizing_integration_owners": {"0": str(channel.guild.id if channel.guild else 0)},
        }
        if interaction.source is not None:
            event["message"] = interaction.source.payload(bot)
        if channel.guild is None:
            return event | {"user": user.payload()}
        member = channel.guild.members[user.id].payload() | {"permissions": allowed}
        guild = {"id": str(channel.guild.id), "locale": "en-US", "features": []}
        return event | {
            "guild_id": str(channel.guild.id), "guild": guild, "guild_locale": "en-US",
            "member": member,
        }

    async def answer(self, call: Call) -> Json | None:
        """The first answer."""
        interaction = self.all.get(call.number("interaction_id"))
        if interaction is None or interaction.token != call.params["token"]:
            raise refusal(10062)
        if interaction.responses:
            raise refusal(40060)
        if self.clock() - interaction.began > PATIENCE:
            raise refusal(10062)
        kind, data = call.form.get("type"), call.form.get("data") or {}
        if kind not in FITTING[interaction.kind]:
            raise bad_form("type", "BASE_TYPE_CHOICES", "This answer does not fit the interaction.")
        if kind == CHOICES:
            check_choices("data.choices", data.get("choices") or [])
        elif kind == SAY:
            interaction.original = self._say(interaction, data, call)
        elif kind == UPDATE and interaction.source is not None:
            self.routes.change(interaction.source, data, call.files)
            interaction.original = interaction.source
        elif kind == DEFER:
            interaction.original = self._loading(interaction, data)
        elif kind == DEFER_UPDATE:
            interaction.original = interaction.source
        interaction.responses.append(Response(kind, data))
        if call.query.get("with_response") not in ("1", "true"):
            return None
        return self._receipt(interaction, kind)

    async def follow_up(self, call: Call) -> Json | None:
        """A further message; the first after a deferral takes the place of the waiting."""
        interaction = self._of(call)
        first = interaction.original
        if first is not None and first.flags & LOADING:
            self._fill(interaction, first, call)
            message = first
        else:
            message = self._say(interaction, call.form, call)
        interaction.followups += [message] if message is not first else []
        waits = call.query.get("wait") in ("1", "true")
        return message.payload(self.messages.bot) if waits else None

    async def get_message(self, call: Call) -> Json:
        """The answer, or one of the messages that followed."""
        return self._message(call)[1].payload(self.messages.bot)

    async def edit(self, call: Call) -> Json:
        """Change the answer, or one of the messages that followed."""
        interaction, message = self._message(call)
        self._fill(interaction, message, call)
        return message.payload(self.messages.bot)

    async def delete(self, call: Call) -> None:
        """Take the answer away, or one of the messages that followed."""
        self.messages.delete(self._message(call)[1])

    async def put_commands(self, call: Call) -> list[Json]:
        """Take a whole set of commands in the place of the one before."""
        known = {(old.get("type", 1), old["name"]): old["id"] for old in self._set_of(call)}
        put = [
            {
                "type": 1, "nsfw": False, "default_member_permissions": None, "description": "",
                **command, "application_id": call.params["application_id"],
                "id": known.get((command.get("type", 1), command["name"])) or str(self.ids()),
                "version": str(self.ids()),
            }
            for command in check_commands(call.body)
        ]
        self.syncs += 1
        if guild_id := call.params.get("guild_id"):
            put = [command | {"guild_id": guild_id} for command in put]
            self.guild_commands[int(guild_id)] = put
        else:
            self.commands[:] = put
        return put

    async def get_commands(self, call: Call) -> list[Json]:
        """The commands as they are."""
        return self._set_of(call)

    def _set_of(self, call: Call) -> list[Json]:
        if call.number("application_id") != self.messages.bot.id:
            raise refusal(50001)
        if "guild_id" in call.params:
            return self.guild_commands.get(call.number("guild_id"), [])
        return self.commands

    def _of(self, call: Call) -> Interaction:
        for interaction in self.all.values():
            if interaction.token == call.params["token"]:
                break
        else:
            raise refusal(10015)
        if not interaction.responses or call.number("application_id") != self.messages.bot.id:
            raise refusal(10015)
        if self.clock() - interaction.began > LIFETIME:
            raise refusal(50027)
        return interaction

    def _message(self, call: Call) -> tuple[Interaction, Message]:
        interaction, which = self._of(call), call.params["which"]
        messages = [interaction.original, *interaction.followups]
        for message in messages[:1] if which == "@original" else messages:
            if message is not None and not message.deleted and which in (
                "@original", str(message.id)
            ):
                return interaction, message
        raise refusal(10008)

    def _say(self, interaction: Interaction, data: Json, call: Call) -> Message:
        message = self.routes.compose(interaction.channel, data, call.files)
        message.interaction = self._metadata(interaction)
        if interaction.original is None and interaction.kind == COMMAND:
            message.kind = 20
        elif interaction.original is not None:
            message.reference, message.kind = interaction.original, 19
        if is_empty(message):
            raise refusal(50006)
        return self.messages.post(message)

    def _loading(self, interaction: Interaction, data: Json) -> Message:
        kind = 20 if interaction.kind == COMMAND else 19
        message = Message(self.ids(), interaction.channel, self.messages.bot, "", kind)
        message.flags = LOADING | (data.get("flags", 0) & EPHEMERAL)
        message.reference = interaction.source
        message.interaction = self._metadata(interaction)
        return self.messages.post(message)

    def _fill(self, interaction: Interaction, message: Message, call: Call) -> None:
        """Edit a message; whether it is for one person only was settled when it was made."""
        before = message.flags
        message.flags &= ~LOADING
        own = (call.form.get("flags") or 0) & ~EPHEMERAL
        try:
            body = call.form | {"flags": own | message.flags}
            self.routes.change(message, body, call.files)
        except Refusal:
            message.flags = before
            raise
        if message is interaction.original:
            interaction.edits.append(call.form)

    def _metadata(self, interaction: Interaction) -> Json:
        return {
            "id": str(interaction.id), "type": interaction.kind,
            "user": interaction.user.payload(), "authorizing_integration_owners": {},
        }

    def _receipt(self, interaction: Interaction, kind: int) -> Json:
        message = interaction.original
        receipt: Json = {"id": str(interaction.id), "type": interaction.kind}
        if message is None:
            return {"interaction": receipt}
        receipt |= {
            "response_message_id": str(message.id),
            "response_message_loading": bool(message.flags & LOADING),
            "response_message_ephemeral": message.ephemeral,
        }
        shown = {"message": message.payload(self.messages.bot)} if kind in (SAY, UPDATE) else {}
        return {"interaction": receipt, "resource": {"type": kind} | shown}
