"""Machines ask whether the bot lives and can talk, and are told the truth and the reason."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from bot.app import App, platforms_in
from bot.config import EngineConfig
from bot.engine.local import LocalEngine
from bot.metrics import Metrics
from bot.platforms.base import Platform
from bot.platforms.console import Console
from bot.platforms.console_render import Plain
from bot.web.health import PATIENCE, health_routes
from tests.engine.tiny import Clock, held_up, load


@asynccontextmanager
async def asked(
    app: App, *platforms: Platform, patience: float = PATIENCE, good: float = 0.0
) -> AsyncIterator[AsyncClient]:
    """Somebody who asks a server that has only these addresses."""
    server = FastAPI()
    server.include_router(
        health_routes(
            app.metrics, app.store, app.engine, platforms, patience=patience, good=good
        )
    )
    async with AsyncClient(transport=ASGITransport(server), base_url="http://rapport") as client:
        yield client


@pytest.fixture
def console(app: App) -> Console:
    return Console(app.conversation, app.commands, Plain(), person="ada")


async def test_who_can_talk_is_ready(app: App, console: Console) -> None:
    async with asked(app, console) as client:
        answer = await client.get("/readyz")
    assert answer.status_code == 200
    checks = {"model": "ok", "database": "ok", "console": "ok"}
    assert answer.json() == {"ready": True, "checks": checks}


async def test_a_platform_without_a_connection_is_waited_for(app: App, console: Console) -> None:
    (discord,) = [make(app) for make in platforms_in({"DISCORD_BOT_TOKEN": "token"})]
    async with asked(app, console, discord) as client:
        answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["ready"] is False
    assert answer.json()["checks"]["console"] == "ok"
    assert answer.json()["checks"]["discord"] == "waits for a connection to Discord"


async def test_a_database_that_cannot_be_written_is_not_ready_and_says_why(app: App) -> None:
    await app.store._write(lambda connection: connection.exec_driver_sql("PRAGMA query_only=ON"))
    async with asked(app) as client:
        answer = await client.get("/readyz")
        await app.store._writer.alone(lambda driver: driver.execute("PRAGMA query_only=OFF"))
        then = await client.get("/readyz")
    assert answer.status_code == 503
    why = answer.json()["checks"]["database"]
    assert "readonly database: check that the file and its folder can be written" in why
    assert then.status_code == 200


async def test_a_disk_that_does_not_answer_is_told_of_in_time_and_asked_once(
    app: App, tmp_path: Path
) -> None:
    async with asked(app, patience=0.05) as client:
        with closing(sqlite3.connect(tmp_path / "data" / "rapport.db")) as other:
            other.execute("BEGIN IMMEDIATE")
            answers = [await client.get("/readyz") for _ in range(3)]
            assert app.store._writer._queue.empty()
        async with asyncio.timeout(10):
            while (await client.get("/readyz")).status_code != 200:  # noqa: ASYNC110 -- as probes do
                await asyncio.sleep(0)
    assert {answer.status_code for answer in answers} == {503}
    assert "no write within 0.05 s" in answers[0].json()["checks"]["database"]


async def test_a_look_at_the_disk_writes_for_real_and_changes_nothing(
    app: App, tmp_path: Path
) -> None:
    wal = tmp_path / "data" / "rapport.db-wal"
    size = wal.stat().st_size
    before = await app.store._read(lambda one: one.exec_driver_sql("PRAGMA user_version").scalar())
    await app.store.check_writable()
    after = await app.store._read(lambda one: one.exec_driver_sql("PRAGMA user_version").scalar())
    assert wal.stat().st_size > size
    assert before == after


async def test_a_model_that_takes_nothing_more_is_not_ready_though_the_process_lives(
    app: App,
) -> None:
    await app.engine.close()
    async with asked(app) as client:
        ready, alive = await client.get("/readyz"), await client.get("/healthz")
    assert ready.status_code == 503
    assert ready.json()["checks"]["model"].startswith("the model takes no more replies")
    assert (alive.status_code, alive.text) == (200, "ok")
    assert alive.headers["content-type"].startswith("text/plain")


async def test_a_model_that_hangs_is_not_ready_until_it_goes_on(app: App, folder: Path) -> None:
    clock, config = Clock(), EngineConfig()
    engine = LocalEngine(load(folder, config), config, 0.25, clock)
    metrics = Metrics(app.store, engine)
    server = FastAPI()
    server.include_router(health_routes(metrics, app.store, engine, ()))
    async with AsyncClient(transport=ASGITransport(server), base_url="http://rapport") as client:
        async with held_up(engine):
            clock.now += config.watchdog_seconds + 15.0
            ready, alive = await client.get("/readyz"), await client.get("/healthz")
            told = await client.get("/metrics")
        then = await client.get("/readyz")
    await engine.close()
    assert ready.status_code == 503
    assert ready.json()["checks"]["model"].startswith("the model has not moved for 75 s;")
    assert alive.status_code == 200
    assert "rapport_stuck_seconds 75.0\n" in told.text
    assert then.status_code == 200


async def test_the_numbers_are_text_that_prometheus_reads(app: App) -> None:
    async with asked(app) as client:
        answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'rapport_serving_info{adapter="base"} 1.0' in answer.text.splitlines()


async def test_whoever_asks_often_makes_no_more_writes(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[int] = []
    check = app.store.check_writable

    async def counted() -> None:
        writes.append(1)
        await check()

    monkeypatch.setattr(app.store, "check_writable", counted)
    async with asked(app, good=60.0) as client:
        for _ in range(3):
            assert (await client.get("/readyz")).status_code == 200
    assert len(writes) == 1
