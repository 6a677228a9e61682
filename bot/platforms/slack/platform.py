"""Slack as a platform: connecting, staying connected, and saying plainly what is wrong.

Socket Mode needs no public address and is the usual way; with one, Slack's requests can be
served over HTTP. A wrong token or a missing scope ends the platform with an error that
names the page and the setting; a network that is not there is tried again, for ever, with
growing pauses.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_async_handlers import (
    AsyncConnectionErrorRetryHandler,
    AsyncRateLimitErrorRetryHandler,
)
from slack_sdk.web.async_client import AsyncWebClient

from bot.commands import Commands
from bot.config import Config
from bot.conversation import Conversation
from bot.errors import ConfigError
from bot.people import People
from bot.platforms.base import Notice
from bot.platforms.slack.incoming import NAME
from bot.platforms.slack.listeners import Identity, Listeners
from bot.platforms.slack.manifest import AGENT, SCOPES
from bot.platforms.slack.outgoing import code_of, why
from bot.platforms.slack.socket_mode import GRACE, Socket

log = logging.getLogger(__name__)

PAGE = "https://api.slack.com/apps"
PATH = "/slack/events"
BOT, APP, SIGNING = "SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET"
WHERE = {
    BOT: "the Bot User OAuth Token (xoxb-…) of your app, under OAuth & Permissions",
    APP: "an app-level token (xapp-…) with the scope connections:write, under Basic "
         "Information, App-Level Tokens",
    SIGNING: "the Signing Secret of your app, under Basic Information, App Credentials",
}
"""Where on the page each secret is found."""
PASSING = ("", "ratelimited", "internal_error", "fatal_error", "service_unavailable",
           "request_timeout", "team_added_to_org")
"""Refusals that are no fault of the configuration."""
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 120.0
PATIENCE = 3
"""How often a request that came too fast is made again."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the environment holds for Slack; never shown."""

    bot: str = field(repr=False)
    app: str = field(default="", repr=False)
    signing: str = field(default="", repr=False)


class SlackPlatform:
    """The bot in one Slack workspace, until it is stopped."""

    name = NAME

    def __init__(
        self, secrets: Secrets, config: Config, conversation: Conversation, commands: Commands,
        people: People,
    ) -> None:
        """Raises `ConfigError` where a secret is missing."""
        needed = {BOT: secrets.bot}
        needed |= {APP: secrets.app} if config.slack.mode == "socket" else {
            SIGNING: secrets.signing
        }
        for name, value in needed.items():
            if not value:
                raise ConfigError(
                    f"{name} is not set, and slack.mode = \"{config.slack.mode}\" needs it: set "
                    f"it to {WHERE[name]} at {PAGE}"
                )
        self._secrets = secrets
        self._config = config
        self._conversation = conversation
        self._commands = commands
        self._people = people
        self._listeners: Listeners | None = None
        self._connected: Callable[[], bool] = _not_yet

    async def run(self) -> None:
        """Talk until the task is cancelled.

        Raises:
            ConfigError: a token or a scope is wrong; the message says where to mend it.
        """
        pause = FIRST_PAUSE
        while True:
            try:
                await self._session()
            except (aiohttp.ClientError, OSError, SlackApiError) as error:
                log.warning(
                    "Slack cannot be reached (%s); trying again in %.0f s",
                    why(error), pause,
                )
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def notice(self, notice: Notice) -> None:
        """Shown where a run was asked for; nothing is posted unasked."""
        if self._listeners is not None:
            self._listeners.hear(notice)

    def waits_for(self) -> str:
        """A connection, while there is none; in the mode "http" that is where requests arrive."""
        return "" if self._connected() else "a connection to Slack"

    async def _session(self) -> None:
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
            )
            client = self._client(self._secrets.bot, session)
            needed = SCOPES | AGENT if self._config.slack.agent_view else SCOPES
            me = await _identity(client, needed)
            self._listeners = listeners = Listeners(
                client, me, self._config, self._conversation, self._commands, self._people,
            )
            stack.push_async_callback(listeners.close)
            app = self._app(me, session)
            listeners.register(app)
            if self._config.slack.mode == "http":
                await listeners.resume()
                await self._serve(app, stack)
            else:
                address = await self._address(client)
                await listeners.resume()
                await self._connect(app, address, stack)
            await asyncio.Event().wait()  # until the task is cancelled

    def _client(self, token: str | None, session: aiohttp.ClientSession) -> AsyncWebClient:
        base = self._config.slack.api_base or AsyncWebClient.BASE_URL
        return AsyncWebClient(
            token, base_url=base, session=session,
            retry_handlers=[
                AsyncConnectionErrorRetryHandler(),
                AsyncRateLimitErrorRetryHandler(max_retry_count=PATIENCE),
            ],
        )

    def _app(self, me: Identity, session: aiohttp.ClientSession) -> AsyncApp:
        """The Bolt app; it asks nobody who it is, so that events keep their order."""
        own = AuthorizeResult(
            enterprise_id=None, team_id=me.team, bot_id=me.bot, bot_user_id=me.user,
            bot_token=self._secrets.bot,
        )

        async def authorize() -> AuthorizeResult:
            return own

        # Of what Bolt says only errors are news; what listeners raise is logged by them.
        logger = logging.getLogger("slack_bolt")
        logger.setLevel(logging.ERROR)
        return AsyncApp(
            name=NAME, logger=logger, client=self._client(None, session), authorize=authorize,
            signing_secret=self._secrets.signing, process_before_response=True,
            attaching_conversation_kwargs_enabled=False,
        )

    async def _address(self, client: AsyncWebClient) -> str:
        """Where the WebSocket is; asked for here, since the client would ask for ever."""
        try:
            answer = await client.apps_connections_open(app_token=self._secrets.app)
        except SlackApiError as error:
            raise _explained(error, APP) from error
        return str(answer["url"])

    async def _connect(self, app: AsyncApp, address: str, stack: AsyncExitStack) -> None:
        socket = Socket(app, self._secrets.app, address)
        stack.push_async_callback(socket.close)
        await socket.connect()  # type: ignore[no-untyped-call]
        self._connected = socket.is_open
        log.info("Slack: connected")

    async def _serve(self, app: AsyncApp, stack: AsyncExitStack) -> None:
        host, port = self._config.slack.http_host, self._config.slack.http_port
        runner = web.AppRunner(
            app.web_app(path=PATH), access_log=None, shutdown_timeout=GRACE
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        self._connected = lambda: bool(runner.addresses)
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise ConfigError(
                f"Slack's requests cannot be served on {host}:{port} ({error.strerror}): change "
                "slack.http_host or slack.http_port"
            ) from error
        log.info("Slack: listening on http://%s:%d%s", *runner.addresses[0][:2], PATH)


def _not_yet() -> bool:
    return False


async def _identity(client: AsyncWebClient, needed: frozenset[str]) -> Identity:
    """Who the token belongs to; `needed` are the scopes that the bot cannot do without.

    Raises:
        ConfigError: Slack does not accept it, or it may do too little.
    """
    try:
        answer = await client.auth_test()
    except SlackApiError as error:
        raise _explained(error, BOT) from error
    granted = str(answer.headers.get("x-oauth-scopes", ""))
    missing = needed.difference(scope.strip() for scope in granted.split(","))
    if granted and missing:
        raise _lacking(sorted(missing))
    return Identity(str(answer["team_id"]), str(answer["user_id"]), str(answer["bot_id"]))


def _explained(error: SlackApiError, secret: str) -> Exception:
    """What is to be done about a refusal; the refusal itself where waiting helps."""
    code = code_of(error)
    if code in PASSING:
        return error
    if code == "missing_scope":
        needed = str(error.response.get("needed") or "")
        if secret == BOT:
            return _lacking(needed.split(","))
    return ConfigError(
        f"Slack does not accept {secret} ({code}): set it to {WHERE[secret]} at {PAGE}"
    )


def _lacking(scopes: list[str]) -> ConfigError:
    return ConfigError(
        f"the Slack app lacks the scope{'s' if len(scopes) > 1 else ''} {', '.join(scopes)}: add "
        f"them at {PAGE} (your app, OAuth & Permissions, Bot Token Scopes), or paste the output "
        f"of `rapport slack-manifest` under App Manifest; then install the app anew and set {BOT}"
    )
