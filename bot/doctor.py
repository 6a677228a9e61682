"""``rapport doctor``: does this machine have what Rapport needs, and if not, what to do.

Each check is independent, so that one problem does not hide the next. It changes nothing
but what opening does: making the data folder and bringing the database up to date.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bot.config import Config, ScheduleConfig
from bot.config.file import load_config
from bot.engine.base import ModelInfo
from bot.errors import RapportError
from bot.logs import quiet_libraries
from bot.moderation import Moderation

ENOUGH_DISK = 2 * 2**30
"""Bytes that a few versions, the log and a growing database want."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    subject: str
    fine: bool
    text: str
    mend: str = ""


TOKENS = {
    "Discord": ("DISCORD_BOT_TOKEN",),
    "Slack": ("SLACK_BOT_TOKEN", "SLACK_APP_TOKEN"),
}
"""What each platform needs in the environment."""


NextRun = Callable[[ScheduleConfig], datetime | None]
"""When the clock would start a run next, in UTC; ConfigError where that cannot be understood."""


async def examine(config_file: Path | None, data: Path, next_run: NextRun) -> list[Finding]:
    """Look at everything, in the order in which the bot would need it."""
    findings = []
    try:
        config = load_config(config_file)
        named = config_file or os.environ.get("RAPPORT_CONFIG")
        where = named or "config.toml, or defaults without one"
        findings.append(Finding("configuration", True, str(where)))
    except RapportError as error:
        config = Config()
        findings.append(Finding("configuration", False, str(error),
                                "correct the file; the rest is checked with defaults"))
    findings += [_moderation(config), _schedule(config, next_run), *_platforms(config, os.environ)]
    findings += await _data(data)
    findings += await asyncio.to_thread(_model, config)
    return findings


async def _data(data: Path) -> list[Finding]:
    from bot.lock import data_lock, make_folder
    from bot.store import Store

    try:
        make_folder(data)
    except RapportError as error:
        return [Finding("data folder", False, str(error), "choose a folder you can write in")]
    findings = [Finding("data folder", True, str(data))]
    try:
        with data_lock(data):
            pass
    except RapportError as error:
        findings.append(Finding("lock", True, f"held: {error}"))
    free = shutil.disk_usage(data).free
    findings.append(Finding(
        "disk", free >= ENOUGH_DISK, f"{free / 2**30:.1f} GiB free",
        "" if free >= ENOUGH_DISK else "free some space, or run `rapport adapters prune`",
    ))
    try:
        async with await Store.open(data) as store:
            exchanges, votes = await store.count_exchanges(), await store.count_votes()
            champion = await store.champion()
        findings.append(Finding("database", True,
                                f"{exchanges} exchanges, {votes} votes, {champion} serves"))
    except RapportError as error:
        findings.append(Finding("database", False, str(error),
                                "restore a backup, or choose another folder with --data"))
    return findings


def _moderation(config: Config) -> Finding:
    rules = config.moderation
    try:
        Moderation(rules)
    except RapportError as error:
        return Finding("moderation", False, str(error), "correct [moderation] in config.toml")
    number = len(rules.words) + len(rules.patterns) + bool(rules.classifier)
    return Finding("moderation", True, f"{number} rule{'' if number == 1 else 's'}")


def _schedule(config: Config, next_run: NextRun) -> Finding:
    rules = config.learning.schedule
    mend = "correct [learning.schedule] in config.toml"
    try:
        due = next_run(rules)
    except RapportError as error:
        return Finding("schedule", False, str(error), mend)
    if due is not None:
        return Finding("schedule", True, f"the next run by the clock: {due:%Y-%m-%d %H:%M} UTC")
    if rules.cron.strip():
        return Finding("schedule", False, f"learning.schedule.cron: {rules.cron!r} never comes",
                       mend)
    votes = f"; one after {rules.every_votes} votes" if rules.every_votes else ""
    return Finding("schedule", True, f"no run by the clock{votes}")


def _platforms(config: Config, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Which platforms have their tokens, and whether they may be learned from."""
    found = [name for name, tokens in TOKENS.items() if any(map(environment.get, tokens))]
    for name in found:
        missing = [one for one in TOKENS[name] if not environment.get(one)]
        http = name == "Slack" and config.slack.mode == "http"
        if missing and not http:
            where = f"docs/{name.lower()}.md says where to get it"
            yield Finding(name, False, f"{missing[0]} is not set", where)
        else:
            yield Finding(name, True, "its tokens are set")
    if not found:
        yield Finding("platforms", True, "no tokens are set: only the terminal can talk")
    elif config.learning.platform_terms_acknowledged:
        yield Finding("terms", True, f"acknowledged; consent: {config.learning.consent}")
    else:
        yield Finding(
            "terms", True, "nothing said on the platforms is learned from: "
            "learning.platform_terms_acknowledged is false (docs/privacy.md says why)",
        )


def _compiled(config: Config, info: ModelInfo) -> str:
    from bot.engine.kernels import kernels

    if not config.engine.compiled:
        return "switched off (engine.compiled)"
    if (info.device, info.dtype) != ("cpu", "float32"):
        return "only for models in float32 on a CPU"
    return "in use" if kernels() else "none; with a C compiler (gcc) replies come faster"


def _model(config: Config) -> list[Finding]:
    quiet_libraries()
    from bot.engine.model import load_model

    try:
        info = load_model(config.model, config.engine).info
    except RapportError as error:
        return [Finding("model", False, str(error), "set model.name in config.toml")]
    findings = [
        Finding("model", True, f"{info.name}, {info.parameters / 1e6:.1f} M parameters, "
                               f"context {info.context} tokens"),
        Finding("device", True, f"{info.device}, {info.dtype}"),
        Finding("compiled code", True, _compiled(config, info)),
    ]
    findings += [Finding("template", True, warning) for warning in info.warnings]
    return findings
