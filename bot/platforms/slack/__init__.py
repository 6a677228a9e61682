"""Slack, through slack-bolt: channels, threads and direct messages.

`SlackPlatform` is all that the rest of Rapport sees of it; `manifest` is the app as Slack
wants it described, and needs neither a token nor a model.
"""

from bot.platforms.slack.platform import SlackPlatform

__all__ = ["SlackPlatform"]
