"""Replies that wait for an operator's word, in Slack: the buttons below one, and presses.

The reply's number stands in the button's value, so that nothing has to be remembered and a
button works after a restart. Who may press is asked when it is pressed, as for a command.
"""

from __future__ import annotations

import logging
import re
from typing import Any, cast, get_args

from bot.commands import Answer, Asker, Commands
from bot.platforms import review
from bot.platforms.slack.mrkdwn import sections, summary
from bot.platforms.slack.outgoing import FAILURES, LIMIT, Respond, why
from bot.platforms.slack.wording import shown
from bot.platforms.text import pieces

log = logging.getLogger(__name__)

_PREFIX = "rapport_review_"
ACTION = re.compile(rf"{_PREFIX}({'|'.join(get_args(review.Act))})")
"""The buttons below a reply that waits."""
_NUMBER = re.compile(r"[0-9]{1,15}")
_STYLES: dict[review.Act, dict[str, str]] = {
    "keep": {"style": "primary"}, "drop": {"style": "danger"}, "next": {},
}


class Reviews:
    """The replies that wait, as one workspace is shown them."""

    def __init__(self, commands: Commands) -> None:
        self._presses = review.Presses(commands)

    async def press(self, body: dict[str, Any], asker: Asker, respond: Respond) -> None:
        """Do what a button says, and show what came of it and the next reply in its place."""
        action = body["actions"][0]
        kind, number = ACTION.fullmatch(action["action_id"]), str(action.get("value", ""))
        if kind is None or not _NUMBER.fullmatch(number):
            return
        answer = await self._presses.press(cast(review.Act, kind[1]), int(number), asker)
        try:
            await respond(
                **content(answer), response_type="ephemeral",
                replace_original=not review.is_refused(answer),
            )
        except FAILURES as error:
            log.warning("what a press did is not shown: %s", why(error))


def content(answer: Answer) -> dict[str, Any]:
    """An answer in one message, with buttons where a reply waits."""
    text = pieces(shown(answer), LIMIT)[0]
    return {"text": summary(text), "blocks": [*sections(text), *_buttons(answer)]}


def _buttons(answer: Answer) -> list[dict[str, Any]]:
    if answer.review is None:
        return []
    elements = [
        {
            "type": "button",
            "action_id": f"{_PREFIX}{act}",
            "text": {"type": "plain_text", "text": label},
            "value": str(answer.review.exchange_id),
            **_STYLES[act],
        }
        for act, label in review.LABELS.items()
    ]
    return [{"type": "actions", "elements": elements}]
