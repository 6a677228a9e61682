"""The Slack app's manifest says what the code listens to and calls, no more and no less."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from slack_bolt.app.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot.config import Config
from bot.platforms import slack
from bot.platforms.slack.listeners import Identity, Listeners
from bot.platforms.slack.manifest import COMMAND, EVENTS, METHODS, SCOPES, manifest

ROOT = Path(__file__).parents[2]


class Recording(AsyncApp):
    """A Bolt app that remembers what it was asked to listen to."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.given: list[str] = []
        super().__init__(client=AsyncWebClient("xoxb-secret"), signing_secret="secret")

    def event(self, event: Any, *args: Any, **kwargs: Any) -> Any:
        self.events.append(event)
        return super().event(event, *args, **kwargs)

    def command(self, command: Any, *args: Any, **kwargs: Any) -> Any:
        self.given.append(command)
        return super().command(command, *args, **kwargs)


def test_the_app_subscribes_to_exactly_what_the_code_listens_to() -> None:
    # Registering asks neither the conversation nor the commands.
    nobody = cast(Any, SimpleNamespace(ratings=None, changes=None))
    app = Recording()
    listeners = Listeners(
        AsyncWebClient(), Identity("T1", "U1", "B1"), Config(), nobody, nobody, nobody
    )
    listeners.register(app)
    made = manifest()
    subscribed = made["settings"]["event_subscriptions"]["bot_events"]
    assert sorted(app.events) == sorted({event.partition(".")[0] for event in subscribed})
    assert subscribed == sorted(EVENTS)
    assert app.given == [one["command"] for one in made["features"]["slash_commands"]] == [COMMAND]


def test_the_app_asks_for_exactly_the_scopes_of_what_it_hears_and_calls() -> None:
    source = "".join(
        file.read_text(encoding="utf-8") for file in sorted(Path(slack.__path__[0]).glob("*.py"))
    )
    called = {name.replace("_", ".") for name in re.findall(r"client\.([a-z]+_\w+)\(", source)}
    assert called == set(METHODS)
    asked = manifest()["oauth_config"]["scopes"]["bot"]
    assert set(asked) == SCOPES


def test_an_agent_has_a_view_with_suggestions_and_one_more_scope() -> None:
    made = manifest(agent=True)
    assert made["features"]["agent_view"]["suggested_prompts"][0]["message"] == "What can you do?"
    assert set(made["oauth_config"]["scopes"]["bot"]) == SCOPES | {"assistant:write"}
    assert "agent_view" not in manifest()["features"]


def test_with_an_address_slack_sends_requests_there_instead() -> None:
    url = "https://bot.example.org/slack/events"
    made = manifest(url)
    assert made["settings"]["socket_mode_enabled"] is False
    assert made["settings"]["event_subscriptions"]["request_url"] == url
    assert made["settings"]["interactivity"]["request_url"] == url
    assert made["features"]["slash_commands"][0]["url"] == url
    assert "url" not in str(manifest()["settings"])


def test_the_command_line_prints_it_without_a_token_and_without_the_model() -> None:
    code = (
        "import sys; from bot.cli import rapport; "
        "rapport(['slack-manifest'], standalone_mode=False); "
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == manifest()
