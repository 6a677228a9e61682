"""Verdicts in Slack: the message with its buttons, the picture below it, and the presses.

The version stands in the button's value, so that nothing has to be remembered and a button
works after a restart. Who may press is asked when it is pressed, as for a command. A file
that was just uploaded cannot stand in a block yet, so the picture is a message of its own.
"""

from __future__ import annotations

import logging
import re
from typing import Any, cast, get_args

from slack_sdk.web.async_client import AsyncWebClient

from bot.commands import Asker, Command, Commands
from bot.learning_port import Report
from bot.platforms import verdict
from bot.platforms.slack.members import Members
from bot.platforms.slack.mrkdwn import sections, summary
from bot.platforms.slack.outgoing import FAILURES, LIMIT, Reply, Respond, why
from bot.platforms.slack.wording import as_given, shown

log = logging.getLogger(__name__)

_PREFIX = "rapport_verdict_"
ACTION = re.compile(rf"{_PREFIX}({'|'.join(get_args(verdict.Act))})")
"""The buttons below a verdict."""
_VERSION = re.compile(r"v[0-9]{1,9}")
_STYLES: dict[verdict.Act, dict[str, str]] = {
    "approve": {"style": "primary"}, "veto": {"style": "danger"}, "rollback": {},
}


class Verdicts:
    """The verdicts that are shown in one workspace."""

    def __init__(self, client: AsyncWebClient, commands: Commands, members: Members) -> None:
        self._client = client
        self._commands = commands
        self._members = members
        self._presses = verdict.Presses(commands)

    async def show(self, channel: str, version: str, asker: Asker) -> None:
        """Post the verdict on a version where `asker` asked for the run.

        Raises:
            PostError: Slack refused.
        """
        answer = await self._commands.run(Command("learn", f"report {version}"), asker)
        report = answer.report
        if report is None:
            return
        reply = Reply(self._client, channel, None)
        await reply.post(as_given(verdict.told(report, LIMIT)), buttons(report))
        if report.picture:
            await reply.attach(
                verdict.picture_name(report), report.picture, verdict.alt_text(report)
            )

    async def press(self, body: dict[str, Any], asker: Asker, respond: Respond) -> None:
        """Do what a button says, tell the person alone, and take the buttons away."""
        action = body["actions"][0]
        kind, version = ACTION.fullmatch(action["action_id"]), str(action.get("value", ""))
        if kind is None or not _VERSION.fullmatch(version):
            return
        names = await self._members.names([asker.person])
        pressed = await self._presses.press(
            cast(verdict.Act, kind[1]), version, asker, names.get(asker.person, "somebody"), LIMIT
        )
        try:
            text = shown(pressed.answer) or "Done."
            await respond(
                text=summary(text), blocks=sections(text), response_type="ephemeral",
                replace_original=False,
            )
            if pressed.text:
                text = as_given(pressed.text)
                await respond(text=summary(text), blocks=sections(text), replace_original=True)
        except FAILURES as error:
            log.warning("what a press did is not shown: %s", why(error))


def blocks(report: Report) -> list[dict[str, Any]]:
    """A verdict with its buttons, as blocks."""
    return [*sections(as_given(verdict.told(report, LIMIT))), *buttons(report)]


def buttons(report: Report) -> list[dict[str, Any]]:
    """The block with what may be done about a version now; none where there is nothing."""
    elements = [
        {
            "type": "button",
            "action_id": f"{_PREFIX}{act}",
            "text": {"type": "plain_text", "text": verdict.LABELS[act]},
            "value": report.adapter,
            **_STYLES[act],
        }
        for act in verdict.offered(report)
    ]
    return [{"type": "actions", "elements": elements}] if elements else []
