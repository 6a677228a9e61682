"""Rapport put together: who is opened, in which order, and how all of it is closed again.

One exit stack and one task group own every lifetime: the lock on the data folder, the log,
the store, the engine with its thread, the learning half. What is opened last is closed
first, whether the end is a quit, Ctrl-C, SIGTERM or an error. This is the only room of the
bot that imports the learning half; the others see it as `bot.learning_port.Learning`.
"""

from __future__ import annotations

import asyncio
import gc
import getpass
import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bot.commands import Commands
from bot.config import Config
from bot.conversation import Conversation
from bot.engine.base import Engine
from bot.errors import AdapterError, ConfigError, RapportError, StoreError
from bot.learning_port import RUN_ENDS, EventKind, LearningEvent
from bot.lock import data_lock, make_folder
from bot.logs import logging_to, quiet_libraries
from bot.metrics import Measured, Metrics
from bot.people import People
from bot.platforms.base import Notice, NoticeKind, Platform
from bot.store import Store
from bot.types import Vote

if TYPE_CHECKING:
    from bot.platforms.console_render import Renderer
    from learning.loop import LearningLoop
    from learning.registry import Registry

log = logging.getLogger(__name__)

ADAPTERS = "adapters"
_NOTICES: dict[EventKind, NoticeKind] = {
    "progress": "progress", "stage": "progress", "verdict": "verdict", "swapped": "swap",
    "rolled_back": "swap", "approved": "swap", "failed": "problem", "fallback": "problem",
}


@dataclass(frozen=True, slots=True)
class App:
    """The rooms, opened and wired; valid within `open_app`."""

    config: Config
    data: Path
    store: Store
    engine: Engine
    learning: LearningLoop
    conversation: Conversation
    commands: Commands
    people: People
    pending: PendingRuns
    metrics: Metrics
    opening: tuple[LearningEvent, ...] = ()
    """What the learning half had to tell while it was opened, when nobody could listen."""

    def listen(self, show: Callable[[Notice], None]) -> Callable[[], None]:
        """Call `show` with what opening brought and what happens by itself; returns its end."""
        for event in self.opening:
            show(as_notice(event))
        return self.learning.listen(lambda event: show(as_notice(event)))

    async def settled(self) -> None:
        """Wait until the runs that were asked for in this process have ended."""
        while self.pending.runs:
            status = await self.learning.status()
            if status.paused and status.running is None:
                return
            self.pending.ended.clear()
            # Pausing makes no event, so one looks again now and then.
            with suppress(TimeoutError):
                await asyncio.wait_for(self.pending.ended.wait(), 1.0)


class PendingRuns:
    """The runs that have been asked for and have not ended, by the events that tell of them."""

    def __init__(self) -> None:
        self.runs: set[int] = set()
        self.ended = asyncio.Event()

    def hear(self, event: LearningEvent) -> None:
        """Take note of an event."""
        if event.run is not None and event.kind == "queued":
            self.runs.add(event.run)
        elif event.run is not None and event.kind in RUN_ENDS:
            self.runs.discard(event.run)
            self.ended.set()


@asynccontextmanager
async def open_app(config: Config, data: Path, *, echo: bool = False) -> AsyncIterator[App]:
    """Everything, for as long as the context lasts; alone in its data folder.

    With `echo` the log also goes to the standard error.

    Raises:
        StoreError: the folder is in use or cannot be used.
        ModelError: the model cannot be loaded.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(data_lock(data))
        stack.enter_context(logging_to(data, config.log, echo=echo))
        stack.callback(log.info, "closed")
        store = await stack.enter_async_context(await Store.open(data))
        engine = await _open_engine(config)
        stack.push_async_callback(engine.close)
        opening: list[LearningEvent] = []
        learning = await _open_learning(config, data, store, engine, opening.append)
        pending = PendingRuns()
        learning.listen(pending.hear)
        metrics = Metrics(store, engine)
        for event in opening:
            metrics.hear(event)
        learning.listen(metrics.hear)

        async def voted(vote: Vote) -> None:
            metrics.voted(vote)
            await learning.on_vote(vote)

        conversation = Conversation(
            Measured(engine, metrics), store, config, learning.current, on_vote=voted,
            on_reply=learning.on_reply,
        )
        people = People(store, config, conversation=conversation, learning=learning)
        await people.finish()
        commands = Commands(conversation, store, engine, learning, people)
        log.info("open: %s on %s, data in %s", engine.info.name, engine.info.device, data)
        for warning in engine.info.warnings:
            log.warning("%s", warning)
        # What is open now stays. Looking through all of it again and again for garbage would hold
        # the event loop up for as much as a second each time.
        gc.freeze()
        stack.callback(gc.unfreeze)
        with plain_errors():
            async with asyncio.TaskGroup() as tasks:
                background = [
                    tasks.create_task(learning.run(), name="learning"),
                    tasks.create_task(people.keep_retention(), name="retention"),
                ]
                try:
                    yield App(
                        config, data, store, engine, learning, conversation, commands, people,
                        pending, metrics, tuple(opening),
                    )
                finally:
                    for task in background:
                        task.cancel()


async def _open_engine(config: Config) -> Engine:
    def load() -> Engine:
        quiet_libraries()
        from bot.engine.choosing import Choosing, Likely
        from bot.engine.local import LocalEngine
        from bot.engine.model import load_model
        from learning.taste.choosing import Liked

        loaded = load_model(config.model, config.engine)
        liked = Liked(LocalEngine(loaded, config.engine, config.learning.share))
        other = Likely() if config.sampling.best_by == "likely" else None
        return Choosing(liked, config.engine.rows, lambda name: liked.ranker(name) or other)

    return await asyncio.to_thread(load)


async def _open_learning(
    config: Config, data: Path, store: Store, engine: Engine,
    hear: Callable[[LearningEvent], None],
) -> LearningLoop:
    """The learning half, recovered; `hear` is told what that brought to light."""
    from learning.loop import LearningLoop

    loop = LearningLoop(engine, store, registry_in(data), config, data)
    unlisten = loop.listen(hear)
    await loop.recover()
    unlisten()
    return loop


def registry_in(data: Path) -> Registry:
    """The adapters of a data folder."""
    from learning.registry import Registry

    return Registry(data / ADAPTERS)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Take the one error out of the group that a task group makes of it."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        if error is group:
            raise
        raise error from None


@asynccontextmanager
async def open_store(data: Path) -> AsyncIterator[Store]:
    """Only the store, also beside a running bot.

    Raises:
        StoreError: there is nothing there, or it cannot be used.
    """
    from bot.store.store import FILE

    make_folder(data)
    if not (data / FILE).exists():
        raise StoreError(
            f"{data} holds no database yet; `rapport chat --data {data}` makes one"
        )
    async with await Store.open(data) as store:
        yield store


async def promote_adapter(data: Path, name: str) -> None:
    """Let a version serve from the next start on, on the operator's word.

    Raises:
        StoreError: the bot is running on this folder, or the version is unknown.
        AdapterError: its files are missing or damaged, or it was never judged.
    """
    registry = registry_in(data)
    with data_lock(data):
        async with open_store(data) as store:
            manifest = await asyncio.to_thread(registry.manifest, name)
            await asyncio.to_thread(registry.verify, name, manifest.base)
            if await store.verdict(name) is None:
                raise AdapterError(f"{name} is not judged yet; nothing serves without a verdict")
            await store.set_champion(name, "promoted by the operator", datetime.now(UTC))


async def prune_adapters(config: Config, data: Path, keep: int | None) -> list[str]:
    """Remove the files of all but the newest versions; gives their names.

    Raises:
        StoreError: the bot is running on this folder.
    """
    from learning.serving import lineage

    with data_lock(data):
        async with open_store(data) as store:
            tried = (await store.channel_adapters()).values()
            line = lineage(name for name, _, _ in await store.champions())
            waiting = [ref.name for ref in await store.adapters() if ref.status == "waiting"]
            protected = {*line[-2:], *tried, *waiting}
        number = keep or config.learning.keep_versions
        return await asyncio.to_thread(registry_in(data).prune, number, protected)


async def chat_in_terminal(
    config: Config, data: Path, channel: str, seed: int | None, *, as_json: bool
) -> bool:
    """Open everything and talk in the terminal; False when a scripted line failed."""
    from bot.platforms.console import Console

    name = channel.strip()
    if not name or not name.isprintable() or len(name) > 100:
        raise RapportError("--channel needs a printable name of at most 100 characters")
    renderer = _renderer(as_json)
    async with open_app(config, data) as app:
        console = Console(
            app.conversation, app.commands, renderer,
            person=person(), channel=name, seed=seed, settled=app.settled,
        )
        unlisten = app.listen(console.notice)
        try:
            await console.run()
        finally:
            unlisten()
        return not console.failed


MakePlatform = Callable[[App], Platform]


def platforms_in(environment: Mapping[str, str], *, pages: bool = False) -> list[MakePlatform]:
    """What makes a platform, for each whose tokens are in the environment.

    Args:
        pages: whether there are web pages to talk on besides.

    Raises:
        ConfigError: there is none.
    """
    found: list[MakePlatform] = []
    if token := environment.get("DISCORD_BOT_TOKEN", "").strip():
        found.append(lambda app: _discord(app, token))
    if environment.get("SLACK_BOT_TOKEN", "").strip():
        found.append(lambda app: _slack(app, environment))
    if not (found or pages):
        raise ConfigError(
            "there is no platform to talk on: set DISCORD_BOT_TOKEN, or SLACK_BOT_TOKEN with "
            "SLACK_APP_TOKEN, in the environment (README.md says where to get them), set "
            "web.enabled in config.toml, or talk in the terminal with `rapport chat`"
        )
    return found


def _discord(app: App, token: str) -> Platform:
    from bot.platforms.discord import DiscordPlatform

    return DiscordPlatform(
        token, app.config, app.conversation, app.commands, app.store, app.people
    )


def _slack(app: App, environment: Mapping[str, str]) -> Platform:
    from bot.platforms.slack import SlackPlatform
    from bot.platforms.slack.platform import APP, BOT, SIGNING, Secrets

    secrets = Secrets(*(environment.get(name, "").strip() for name in (BOT, APP, SIGNING)))
    return SlackPlatform(secrets, app.config, app.conversation, app.commands, app.people)


async def run_platforms(
    config: Config, data: Path, environment: Mapping[str, str],
    started: Callable[[App], None] = lambda _: None,
) -> None:
    """Open everything and talk on every platform, until cancelled.

    Raises:
        ConfigError: no token is set, or a platform does not accept what it was given.
    """
    makers = platforms_in(environment, pages=config.web.enabled)
    async with AsyncExitStack() as stack:
        pages = None
        if config.web.enabled:
            from bot.app_web import web_platform, web_socket

            pages = stack.enter_context(web_socket(config.web))
        app = await stack.enter_async_context(open_app(config, data, echo=True))
        platforms = [make(app) for make in makers]
        if pages is not None:
            platforms.append(
                await stack.enter_async_context(web_platform(app, pages, platforms))
            )
        stack.callback(app.listen(partial(_tell, platforms)))
        with plain_errors():
            async with asyncio.TaskGroup() as tasks:
                for platform in platforms:
                    tasks.create_task(platform.run(), name=platform.name)
                started(app)


def _tell(platforms: Sequence[Platform], notice: Notice) -> None:
    if notice.kind != "progress":
        log.info("%s", notice.text)
    for platform in platforms:
        platform.notice(notice)


def _renderer(as_json: bool) -> Renderer:
    from bot.platforms.console_render import Colour, Json, Plain

    if as_json:
        return Json()
    if sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty():
        return Colour()
    return Plain()


def person() -> str:
    """Who sits at the terminal, for their votes."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no entry for this user id, as in some containers
        return "you"


def as_notice(event: LearningEvent) -> Notice:
    """What the learning half tells, as platforms show it."""
    kind = _NOTICES.get(event.kind, "learning")
    share = event.progress if event.kind == "progress" else None
    return Notice(kind, event.text, share, event.run, event.kind in RUN_ENDS, event.adapter)

