"""What people do to an app directly: slash commands, buttons and modals.

Builds the payloads, and keeps the response URLs: each is good for five uses within half an
hour. Who carries a payload to the app is none of its concern.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tests.fakes import slack_events as events
from tests.fakes.slack_calls import Call, Refused
from tests.fakes.slack_json import message_json, view_json
from tests.fakes.slack_limits import check_content, named
from tests.fakes.slack_world import JSON, Channel, Message, User, View, World

Feedback = Literal["positive", "negative"]
USES, SECONDS = 5, 1800.0


@dataclass(frozen=True, slots=True)
class Response:
    """Something that the app sent to a response URL."""

    kind: Literal["ephemeral", "in_channel", "replace", "delete"]
    text: str
    blocks: list[JSON]
    thread_ts: str | None = None


@dataclass(eq=False, slots=True)
class Answer:
    """Everything that came back for one command or click."""

    channel: Channel | None
    user: User
    source: Message | None
    opened: float
    ack: JSON | None = None
    """The payload of the acknowledgement, if it had one."""
    failed: str | None = None
    """What the person was told instead: ``dispatch_failed`` or ``operation_timeout``."""
    responses: list[Response] = field(default_factory=list)


class Interactions:
    """The response URLs of one workspace, and the payloads that carry them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._open: dict[str, Answer] = {}

    def begin(
        self, user: User, channel: Channel | None, source: Message | None = None
    ) -> tuple[Answer, str]:
        """A new answer, and the response URL that fills it."""
        answer = Answer(channel, user, source, self._world.now())
        number = self._world.id("R")
        self._open[number] = answer
        return answer, f"{self._world.base}/response/{self._world.team_id}/{number}"

    def respond(self, number: str, body: JSON) -> tuple[int, str]:
        """What the response URL `number` answers to `body`."""
        world, answer = self._world, self._open.get(number)
        if answer is None or world.now() - answer.opened > SECONDS:
            return 404, "expired_url"
        if len(answer.responses) >= USES:
            return 404, "used_url"
        try:
            answer.responses.append(self.show(answer, body))
        except Refused as refused:
            return 400, str(refused)
        return 200, "ok"

    def show(self, answer: Answer, body: JSON) -> Response:
        """Do what `body` says; Slack shows it to the person alone unless told otherwise."""
        world, source, channel = self._world, answer.source, answer.channel
        if body.get("delete_original") and source:
            if source.ephemeral_to is None:
                events.remove(world, source)
            return Response("delete", "", [])
        check_content(Call(world, "response_url", body))
        text, blocks = str(body.get("text") or ""), named(world, body.get("blocks"))
        if body.get("replace_original") and source:
            if source.ephemeral_to is None:
                events.change(world, source, world.bot, text=text, blocks=blocks)
            else:
                source.text, source.blocks = text, blocks
            return Response("replace", text, blocks)
        if channel is None:
            raise Refused("channel_not_found")
        thread = body.get("thread_ts")
        if body.get("response_type") == "in_channel":
            events.post(world, channel, world.bot, text, thread_ts=thread, blocks=blocks)
            return Response("in_channel", text, blocks, thread)
        world.ephemerals.append(Message(
            channel, world.ts(), world.bot.id, text, bot_id=world.bot_id, thread_ts=thread,
            blocks=blocks, ephemeral_to=answer.user.id,
        ))
        return Response("ephemeral", text, blocks, thread)

    def command(self, channel: Channel, user: User, name: str, text: str, url: str) -> JSON:
        """The payload of a slash command; it knows no thread, since none takes commands."""
        world = self._world
        shown = {"im": "directmessage", "group": "privategroup", "mpim": channel.name}
        return {
            "token": "verification-token", "team_id": world.team_id, "team_domain": world.domain,
            "channel_id": channel.id, "channel_name": shown.get(channel.kind, channel.name),
            "user_id": user.id, "user_name": user.name, "command": name, "text": text,
            "api_app_id": world.app_id, "is_enterprise_install": "false", "response_url": url,
            "trigger_id": world.trigger(),
        }

    def press(
        self, where: Message | View, user: User, action_id: str, value: str | None,
        feedback: Feedback | None, url: str,
    ) -> JSON:
        """The payload of a click on a button that is really there.

        Raises `LookupError` where it is not.
        """
        world = self._world
        block, element = _find(where.blocks, action_id)
        button = element[f"{feedback}_button"] if feedback else element
        action = {
            "type": element["type"], "action_id": action_id, "block_id": block["block_id"],
            "text": button.get("text"), "value": button.get("value") if value is None else value,
            "action_ts": world.ts(),
        }
        payload: JSON = {
            **self._frame("block_actions", user),
            "state": {"values": {}}, "actions": [action],
        }
        if isinstance(where, View):
            container = {"type": "view", "view_id": where.id}
            return {**payload, "container": container, "view": view_json(world, where)}
        names = {"im": "directmessage", "group": "privategroup"}
        channel = where.channel
        thread = {"thread_ts": where.thread_ts} if where.thread_ts else {}
        return {
            **payload,
            "channel": {"id": channel.id, "name": names.get(channel.kind, channel.name)},
            "container": {
                "type": "message", "message_ts": where.ts, "channel_id": channel.id,
                "is_ephemeral": where.ephemeral_to is not None, **thread,
            },
            # Of a message that only one person sees Slack gives nothing away but its place.
            **({} if where.ephemeral_to else {"message": message_json(world, where)}),
            "response_url": url,
        }

    def submit(self, view: View, user: User, values: JSON) -> JSON:
        """The payload of a modal that was filled in."""
        shown = {**view_json(self._world, view), "state": {"values": values}}
        return {**self._frame("view_submission", user), "view": shown, "response_urls": []}

    def _frame(self, kind: str, user: User) -> JSON:
        world = self._world
        return {
            "type": kind, "api_app_id": world.app_id, "token": "verification-token",
            "user": {"id": user.id, "username": user.name, "name": user.name,
                     "team_id": world.team_id},
            "team": {"id": world.team_id, "domain": world.domain}, "enterprise": None,
            "is_enterprise_install": False, "trigger_id": world.trigger(),
        }


def _find(blocks: list[JSON], action_id: str) -> tuple[JSON, JSON]:
    for block in blocks:
        for element in (*block.get("elements", ()), block.get("accessory") or {}):
            if element.get("action_id") == action_id:
                return block, element
    raise LookupError(f"There is no button {action_id!r} to press here.")
