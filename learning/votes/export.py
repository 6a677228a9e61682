"""``rapport votes export``: what people rated, in the columns that TRL and a spreadsheet expect.

It knows what the store holds and no tokenizer; it writes lines of text. Private channels are
never exported, nor words of people who do not consent; replies that did not end by themselves
only appear in the flat table of votes.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, TextIO, get_args

from bot.config import LearningConfig, WeighingConfig
from bot.errors import DataError
from bot.store import Consent, Store
from bot.types import Exchange, Turn, Vote, last_user_text
from learning.votes.dataset import alike
from learning.votes.labels import labels, standing

Format = Literal["sft", "kto", "dpo", "csv"]
FORMATS: tuple[str, ...] = get_args(Format)
COLUMNS = (
    "exchange", "time", "platform", "guild", "channel", "adapter", "rater", "vote", "source",
    "prompt", "reply",
)


PAGE = 500
"""Exchanges read at a time, so that others get a turn in between."""


async def exported(store: Store, settings: LearningConfig, form: str) -> tuple[str, int]:
    """All votes as text in a format, and how many rows that is.

    Raises:
        DataError: an unknown format.
    """
    votes = await store.current_votes()
    ids = sorted({vote.exchange_id for vote in votes})
    exchanges: list[Exchange] = []
    for start in range(0, len(ids), PAGE):
        exchanges += await store.exchanges(ids[start : start + PAGE])
    consent = await store.consent(settings)
    text = io.StringIO(newline="")
    rows = await asyncio.to_thread(
        export_votes, votes, exchanges, form, text, weighing=settings.votes, consent=consent
    )
    return text.getvalue(), rows


def export_votes(
    votes: Sequence[Vote],
    exchanges: Iterable[Exchange],
    form: str,
    out: TextIO,
    *,
    weighing: WeighingConfig,
    consent: Consent,
) -> int:
    """Write the votes in a format; one line for each row.

    sft: `messages` of liked replies. kto: `prompt`, `completion`, `label`. dpo: `prompt`,
    `chosen`, `rejected` for prompts that have a liked and a disliked reply. csv: one row
    for each person's standing vote.

    Returns:
        The number of rows, without the header of csv.

    Raises:
        DataError: an unknown format.
    """
    if form not in FORMATS:
        raise DataError(f"unknown format {form!r}; choose one of {', '.join(FORMATS)}")
    public = {one.id: one for one in exchanges if not one.private and consent.covers(one)}
    if form == "csv":
        return _write_table(votes, public, out)
    rated = [
        (public[label.exchange_id], label.liked)
        for label in labels(votes, weighing, alike(public.values()))
        if label.exchange_id in public and _ended(public[label.exchange_id])
    ]
    rows = {"sft": _sft, "kto": _kto, "dpo": _dpo}[form](rated)
    number = 0
    for row in rows:
        out.write(json.dumps(row, ensure_ascii=False) + "\n")
        number += 1
    return number


Row = Mapping[str, object]
Rated = Sequence[tuple[Exchange, bool]]


def _ended(exchange: Exchange) -> bool:
    return exchange.finish == "stop" and bool(exchange.reply.strip())


def _messages(turns: Iterable[Turn]) -> list[dict[str, str]]:
    return [{"role": turn.role, "content": turn.content} for turn in turns]


def _reply(exchange: Exchange) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": exchange.reply}]


def _sft(rated: Rated) -> Iterator[Row]:
    for exchange, liked in rated:
        if liked:
            yield {"messages": _messages(exchange.prompt) + _reply(exchange)}


def _kto(rated: Rated) -> Iterator[Row]:
    for exchange, liked in rated:
        yield {
            "prompt": _messages(exchange.prompt),
            "completion": _reply(exchange),
            "label": liked,
        }


def _dpo(rated: Rated) -> Iterator[Row]:
    """Every liked reply of a prompt against every disliked one that says something else."""
    by_prompt: defaultdict[tuple[Turn, ...], list[tuple[Exchange, bool]]] = defaultdict(list)
    for exchange, liked in rated:
        by_prompt[exchange.prompt].append((exchange, liked))
    for prompt, replies in by_prompt.items():
        for chosen in (one for one, liked in replies if liked):
            for rejected in (one for one, liked in replies if not liked):
                if chosen.reply != rejected.reply:
                    yield {
                        "prompt": _messages(prompt),
                        "chosen": _reply(chosen),
                        "rejected": _reply(rejected),
                    }


def _write_table(votes: Sequence[Vote], public: Mapping[int, Exchange], out: TextIO) -> int:
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    number = 0
    for vote in standing(votes):
        exchange = public.get(vote.exchange_id)
        if exchange is None:
            continue
        key = exchange.channel
        asked = last_user_text(exchange.prompt)
        writer.writerow(_plain(value) for value in (
            exchange.id, exchange.time.isoformat(), key.platform, key.guild, key.channel,
            exchange.adapter, vote.rater, vote.value, vote.source, asked, exchange.reply,
        ))
        number += 1
    return number


def _plain(value: object) -> object:
    # A spreadsheet runs a cell that begins like a formula (OWASP, CSV injection).
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return "'" + value
    return value
