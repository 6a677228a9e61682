"""What monitoring reads is what happened: real replies, real votes, a real database."""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bot.app import App
from bot.config import EngineConfig
from bot.conversation import Conversation, Reply
from bot.engine.base import Request
from bot.engine.local import LocalEngine
from bot.errors import AdapterError, Busy, PromptTooLong
from bot.metrics import Measured, Metrics
from bot.types import ChannelKey, Exchange, Message
from tests.engine.tiny import ENDLESS, load, prompt_ids

CHANNEL = ChannelKey("console", "local", "burrow")
PERSON = "grace"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


async def numbers(metrics: Metrics) -> dict[str, float]:
    """Every line of what Prometheus is told, such as ``name{label="value"}``."""
    text, _ = await metrics.exposition()
    lines = [line for line in text.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


async def ask(conversation: Conversation, text: str, number: int) -> Reply:
    message = Message(CHANNEL, PERSON, text, f"m{number}", NOW)
    async with aclosing(conversation.respond(message)) as events:
        reply = [event async for event in events][-1]
    assert isinstance(reply, Reply)
    return reply


async def exchange_of(app: App, reply: Reply) -> Exchange:
    assert reply.exchange_id is not None
    exchange = await app.store.exchange(reply.exchange_id)
    assert exchange is not None
    return exchange


async def everything(app: App) -> None:
    """One of each thing that is counted."""
    reply = await ask(app.conversation, "Hello there, warren", 0)
    assert reply.exchange_id is not None
    await app.conversation.ratings.vote(CHANNEL, reply.exchange_id, PERSON, 1, "terminal")


async def test_replies_are_counted_with_their_tokens_and_their_pace(app: App) -> None:
    replies = [
        await ask(app.conversation, text, number)
        for number, text in enumerate(("Hello there", "How are you?"))
    ]
    said = [await exchange_of(app, reply) for reply in replies]
    found = await numbers(app.metrics)
    tokens = sum(len(one.reply_ids) for one in said)
    for finish in {one.finish for one in said}:
        count = sum(one.finish == finish for one in said)
        assert found[f'rapport_replies_total{{adapter="base",finish="{finish}"}}'] == count
    assert found["rapport_reply_tokens_total"] == tokens > 2
    assert found["rapport_prompt_tokens_total"] == sum(len(one.prompt_ids) for one in said)
    assert found["rapport_reused_tokens_total"] == said[1].timings.reused_tokens > 0
    assert found["rapport_first_token_seconds_count"] == 2
    assert found["rapport_queue_seconds_count"] == 2
    assert found['rapport_queue_seconds_bucket{le="+Inf"}'] == 2
    assert found["rapport_queue_seconds_sum"] == pytest.approx(
        sum(one.timings.queued for one in said)
    )
    assert found["rapport_token_gap_seconds_count"] == tokens - 2
    waited = sum(one.timings.first_token for one in said)
    assert found["rapport_first_token_seconds_sum"] == pytest.approx(waited, abs=1.0)
    lasted = sum(one.timings.total for one in said)
    assert 0 < found["rapport_token_gap_seconds_sum"] < lasted + 1.0


async def test_one_reply_runs_one_waits_one_is_turned_away_and_then_all_are_over(
    app: App, folder: Path
) -> None:
    config = EngineConfig(rows=1, queue=1)
    inner = LocalEngine(load(folder, config), config, 0.25)
    metrics = Metrics(app.store, inner)
    engine = Measured(inner, metrics)
    request = Request(prompt_ids(20), sampling=ENDLESS)
    async with aclosing(engine.stream(request)) as runs, aclosing(engine.stream(request)) as waits:
        tokens = len((await anext(runs)).ids)
        waiting = asyncio.create_task(anext(waits))
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await anext(engine.stream(request))
        during = await numbers(metrics)
        waiting.cancel()
        await asyncio.wait([waiting])
    after = await numbers(metrics)
    await inner.close()
    assert (during["rapport_running_rows"], during["rapport_queue_length"]) == (1, 1)
    assert during['rapport_replies_total{adapter="base",finish="refused"}'] == 1
    assert 'rapport_replies_total{adapter="base",finish="cancelled"}' not in during
    assert after['rapport_replies_total{adapter="base",finish="cancelled"}'] == 2
    assert after["rapport_first_token_seconds_count"] == 1
    assert after["rapport_reply_tokens_total"] == tokens
    assert after["rapport_prompt_tokens_total"] == 0


async def test_a_prompt_that_is_too_long_is_refused_and_a_version_that_is_gone_an_error(
    app: App,
) -> None:
    engine = Measured(app.engine, app.metrics)
    with pytest.raises(PromptTooLong):
        await anext(engine.stream(Request(prompt_ids(5000))))
    with pytest.raises(AdapterError):
        await anext(engine.stream(Request(prompt_ids(5), adapter="v0009")))
    found = await numbers(app.metrics)
    assert found['rapport_replies_total{adapter="base",finish="refused"}'] == 1
    assert found['rapport_replies_total{adapter="v0009",finish="error"}'] == 1


async def test_replies_that_learning_draws_are_not_counted(app: App) -> None:
    async with aclosing(app.engine.stream(Request(prompt_ids(20)))) as deltas:
        assert [delta async for delta in deltas]
    found = await numbers(app.metrics)
    assert found["rapport_reply_tokens_total"] == found["rapport_queue_seconds_count"] == 0


async def test_each_reply_leaves_a_line_in_the_log_without_who_and_what(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "bot.metrics"):
        reply = await ask(app.conversation, "Hello there, warren", 0)
    (line,) = [one.getMessage() for one in caplog.records if one.name == "bot.metrics"]
    times = reply.timings
    assert line.startswith(
        f"a reply of base ended ({reply.finish}): {times.reply_tokens} tokens; {times.sentence}; "
        f"0 of {times.prompt_tokens} prompt tokens"
    )
    assert [word for word in (PERSON, "burrow", "warren") if word in line] == []


async def test_what_is_kept_of_channels_is_told_in_bytes(app: App) -> None:
    before = (await numbers(app.metrics))["rapport_prefix_cache_bytes"]
    await ask(app.conversation, "Hello there", 0)
    await app.engine.score([])  # after the step in which the reply ended
    found = await numbers(app.metrics)
    assert before == 0
    assert found["rapport_prefix_cache_bytes"] == app.engine.stats().cache_bytes > 0
    stats = app.engine.stats()
    assert found["rapport_prefix_cache_limit_bytes"] == stats.cache_limit > stats.cache_bytes
    assert 0 < found["rapport_arena_bytes"] == stats.arena_bytes
    assert found["rapport_arena_limit_bytes"] == stats.arena_limit > stats.arena_bytes
    assert found["rapport_packed_weights_bytes"] == stats.packed_bytes
    assert (found["rapport_queue_length"], found["rapport_running_rows"]) == (0, 0)


async def test_every_vote_counts_as_it_came(app: App) -> None:
    reply = await ask(app.conversation, "Hello there", 0)
    assert reply.exchange_id is not None
    for value, source in ((1, "button"), (-1, "button"), (0, "command")):
        await app.conversation.ratings.vote(
            CHANNEL, reply.exchange_id, PERSON, value, source,  # type: ignore[arg-type]
        )
    found = await numbers(app.metrics)
    votes = {name: value for name, value in found.items() if name.startswith("rapport_votes")}
    assert votes == {
        'rapport_votes_total{source="button",value="like"}': 1,
        'rapport_votes_total{source="button",value="dislike"}': 1,
        'rapport_votes_total{source="command",value="withdrawn"}': 1,
    }


async def test_runs_count_by_how_they_ended_and_verdicts_by_what_they_come_to(app: App) -> None:
    tell = app.learning._announcements.tell
    before = await numbers(app.metrics)
    await tell("queued", "run 1 starts", run=1)
    await tell("verdict", "v0001: better", run=1, adapter="v0001", outcome="promote")
    await tell("finished", "run 1 finished", run=1)
    await tell("failed", "run 2 failed", run=2)
    after = await numbers(app.metrics)
    changed = {name: value - before[name] for name, value in after.items() if value != before[name]}
    assert changed == {
        'rapport_verdicts_total{outcome="promote"}': 1,
        'rapport_learning_runs_total{end="finished"}': 1,
        'rapport_learning_runs_total{end="failed"}': 1,
    }
    assert before['rapport_learning_runs_total{end="cancelled"}'] == 0


async def test_only_the_version_that_serves_is_named_with_the_votes_that_hold(app: App) -> None:
    reply = await ask(app.conversation, "Hello there", 0)
    assert reply.exchange_id is not None
    for rater, value in (("ada", 1), ("bob", 1), ("cid", -1)):
        await app.conversation.ratings.vote(
            CHANNEL, reply.exchange_id, rater, value, "terminal",  # type: ignore[arg-type]
        )
    served = await numbers(app.metrics)
    await app.store.add_adapter("v0001", None, "candidate", "base", NOW, {})
    await app.store.set_champion("v0001", "promoted", NOW)
    then = await numbers(app.metrics)

    def serving(found: dict[str, float]) -> dict[str, float]:
        return {name: value for name, value in found.items() if name.startswith("rapport_serving")}

    assert serving(served) == {
        'rapport_serving_info{adapter="base"}': 1,
        'rapport_serving_likes{adapter="base"}': 2,
        'rapport_serving_votes{adapter="base"}': 3,
    }
    assert serving(then) == {
        'rapport_serving_info{adapter="v0001"}': 1,
        'rapport_serving_likes{adapter="v0001"}': 0,
        'rapport_serving_votes{adapter="v0001"}': 0,
    }


async def test_without_a_database_the_rest_is_still_told(app: App) -> None:
    await app.store.close()
    found = await numbers(app.metrics)
    assert found["rapport_running_rows"] == 0
    assert not [name for name in found if name.startswith("rapport_serving")]


async def test_neither_people_nor_channels_nor_their_words_are_told(app: App) -> None:
    await everything(app)
    text = (await app.metrics.exposition())[0].decode()
    assert 'source="terminal"' in text
    assert [word for word in (PERSON, "burrow", "warren", str(CHANNEL)) if word in text] == []


async def test_several_bots_in_one_process_count_apart(app: App) -> None:
    other = Metrics(app.store, app.engine)
    await everything(app)
    assert (await numbers(other))["rapport_reply_tokens_total"] == 0


def listed() -> dict[str, tuple[str, frozenset[str]]]:
    """The table of the page: name -> type and labels."""
    rows = re.findall(r"^\| `(rapport_\w+)` \| (\w+) \|([^|]*)\|", PAGE.read_text(), re.MULTILINE)
    return {name: (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


async def test_the_page_lists_every_metric_with_its_type_and_labels_and_no_other(app: App) -> None:
    await everything(app)
    text = (await app.metrics.exposition())[0].decode()
    told = {}
    for family in text_string_to_metric_families(text):
        assert family.samples, f"{family.name} has nothing to show"
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        name = f"{family.name}_total" if family.type == "counter" else family.name
        told[name] = (family.type, frozenset(labels))
    assert told == listed()


def test_a_query_of_the_page_asks_only_for_what_there_is() -> None:
    queries = "".join(re.findall(r"```promql\n(.*?)```", PAGE.read_text(), re.DOTALL))
    asked = {re.sub("_bucket$", "", name) for name in re.findall(r"rapport_\w+", queries)}
    assert asked
    assert asked <= set(listed())
