"""The app's home tab: a welcome for everybody, and below it the status for operators.

Pure: it makes the view, and knows neither who looks nor how it gets to Slack.
"""

from __future__ import annotations

from typing import Any

from bot.commands import Answer
from bot.platforms.slack.manifest import COMMAND, NAME
from bot.platforms.slack.mrkdwn import sections
from bot.platforms.slack.wording import shown

WELCOME = f"""# {NAME}
Write me a message here, or mention me in a channel. React to what I say with 👍 or 👎: \
that is how I learn.

`{COMMAND} help` shows what else there is."""


def home(status: Answer | None) -> dict[str, Any]:
    """The view of the home tab; with a status for those who own the bot."""
    blocks = sections(WELCOME)
    if status is not None:
        blocks += [{"type": "divider"}, *sections(shown(status))]
    return {"type": "home", "blocks": blocks}
