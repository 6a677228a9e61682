"""People: what they decided about their words, what there is of them, and its deletion.

A person is an id on a platform. What goes when a person is forgotten is every exchange that
holds their words, also where somebody else asked: a prompt is kept whole or not at all. What
must follow outside of the database (versions trained on those exchanges, copies in freed
space) is noted in the same transaction, so that a restart finishes what was begun.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    Row,
    and_,
    case,
    delete,
    func,
    insert,
    select,
    update,
)

from bot.config import LearningConfig
from bot.store.access import Access
from bot.store.consent import Consent
from bot.store.conversations import channel_key
from bot.store.database import sweep
from bot.store.deletion import (
    expired,
    found,
    remove,
    remove_judgements,
    remove_votes,
    traces,
    unsign,
)
from bot.store.schema import (
    bans,
    channels,
    exchanges,
    judgements,
    messages,
    people,
    reviews,
    settings,
    votes,
)
from bot.store.values import Decision, Traces
from bot.types import Turn, last_user_text

FORGETTING = "people.forgetting"
"""The setting that lists exchanges deleted for somebody while not all has followed yet."""


class People(Access):
    """Consent, the data of one person, and forgetting."""

    async def consent_of(self, platform: str, person: str) -> Decision:
        """What a person decided; empty where they have not."""
        rows = await self._rows(select(people.c.consent).where(_is(platform, person)))
        return _decision(rows[0].consent) if rows else ""

    async def refused_at(self, platform: str, person: str) -> datetime | None:
        """When a person refused, or had everything forgotten; None where they did neither."""
        rows = await self._rows(
            select(people.c.changed).where(
                _is(platform, person), people.c.consent == "refused"
            )
        )
        return rows[0].changed if rows else None

    async def consents(self, platform: str | None = None) -> dict[tuple[str, str], Decision]:
        """Who decided what, by (platform, person), on one platform or on all."""
        query = select(people).where(people.c.consent != "")
        if platform is not None:
            query = query.where(people.c.platform == platform)
        return {
            (row.platform, row.person): _decision(row.consent) for row in await self._rows(query)
        }

    async def consent(self, learning: LearningConfig) -> Consent:
        """The rule of whose words may be learned from, as things stand now."""
        return Consent(learning, await self.consents())

    async def set_consent(
        self, platform: str, person: str, granted: bool, time: datetime
    ) -> None:
        """Keep what a person decided."""
        consent = "granted" if granted else "refused"
        await self._write(
            lambda connection: _put(connection, platform, person, consent=consent, changed=time)
        )

    async def mark_asked(self, platform: str, person: str, time: datetime) -> bool:
        """Note that a person is being asked for their consent; False where they were before."""

        def write(connection: Connection) -> bool:
            asked = select(people.c.asked).where(_is(platform, person))
            if connection.scalar(asked) is not None:
                return False
            _put(connection, platform, person, asked=time)
            return True

        return await self._write(write)

    async def data_of(self, platform: str, person: str) -> dict[str, Any]:
        """Everything kept of a person, as JSON values; times in ISO 8601.

        A question that was edited after its answer is there as it is now, and as it was
        ``read``, cut where it was too long to be read as a whole.
        """
        return await self._read(lambda connection: _data(connection, platform, person))

    async def traces_of(self, platform: str, person: str) -> Traces:
        """How much there is of a person: what `forget` would delete."""
        return await self._read(
            lambda connection: _reach(connection, platform, person)
        )

    async def forget(self, platform: str, person: str, time: datetime) -> Traces:
        """Delete a person's messages, votes, judgements, and every exchange with words of theirs.

        What is kept is that they do not consent. The exchanges are in `unfinished` until
        `finished` is called; `sweep` then leaves nothing of them in the files.
        """

        def write(connection: Connection) -> Traces:
            said, held, given = found(connection, platform, person)
            gone = traces(connection, said, held, len(given))
            remove(connection, said, held)
            remove_votes(connection, person, given)
            remove_judgements(connection, platform, person)
            unsign(connection, platform, person)
            _put(connection, platform, person, consent="refused", changed=time)
            _note(connection, held)
            return gone

        return await self._write(write)

    async def unfinished(self) -> list[int] | None:
        """Exchanges deleted by `forget` for which not all has followed; None where all has."""
        rows = await self._rows(select(settings.c.value).where(settings.c.key == FORGETTING))
        return list(rows[0].value) if rows else None

    async def finished(self, exchanges: Iterable[int]) -> None:
        """Say that all has followed for these exchanges."""
        done = frozenset(exchanges)

        def write(connection: Connection) -> None:
            key = settings.c.key == FORGETTING
            listed = connection.scalar(select(settings.c.value).where(key)) or []
            connection.execute(delete(settings).where(key))
            if left := [one for one in listed if one not in done]:
                connection.execute(insert(settings).values(key=FORGETTING, value=left))

        await self._write(write)

    async def purge_messages(self, platform: str, before: datetime, consent: Consent) -> Traces:
        """Delete the old words of people who do not consent, and exchanges that hold them.

        Old is what was recorded before `before`. An exchange goes by its own time, and may
        until then hold what was said some time earlier.
        """
        said, held = await self._read(
            lambda connection: expired(connection, platform, before, consent)
        )

        def write(connection: Connection) -> Traces:
            gone = traces(connection, said, held)
            remove(connection, said, held)
            return gone

        if not (said or held):
            return Traces(0, (), 0, ())
        return await self._write(write)

    async def sweep(self, *, rewrite: bool = True) -> None:
        """Leave no copy of what was deleted in the files; see `bot.store.database.sweep`.

        Raises:
            StoreError: the disk is full, or another program reads the database.
        """
        await self._writer.alone(lambda connection: sweep(connection, rewrite=rewrite))


def _is(platform: str, person: str) -> ColumnElement[bool]:
    return and_(people.c.platform == platform, people.c.person == person)


def _decision(text: str) -> Decision:
    return "granted" if text == "granted" else "refused" if text == "refused" else ""


def _put(connection: Connection, platform: str, person: str, **values: Any) -> None:
    changed = update(people).where(_is(platform, person)).values(**values)
    if not connection.execute(changed).rowcount:
        connection.execute(insert(people).values(platform=platform, person=person, **values))


def _reach(connection: Connection, platform: str, person: str) -> Traces:
    said, held, given = found(connection, platform, person)
    return traces(connection, said, held, len(given))


def _note(connection: Connection, held: Sequence[int]) -> None:
    key = settings.c.key == FORGETTING
    listed = connection.scalar(select(settings.c.value).where(key)) or []
    connection.execute(delete(settings).where(key))
    connection.execute(insert(settings).values(key=FORGETTING, value=[*listed, *held]))


def _data(connection: Connection, platform: str, person: str) -> dict[str, Any]:
    decided = connection.execute(select(people).where(_is(platform, person))).first()
    return {
        "platform": platform,
        "person": person,
        "consent": decided.consent if decided else "",
        "consent_asked": _iso(decided.asked) if decided else None,
        "consent_changed": _iso(decided.changed) if decided else None,
        "messages": _messages(connection, platform, person),
        "exchanges": _exchanges(connection, platform, person),
        "votes": _votes(connection, platform, person),
        "reviews": _reviews(connection, f"{platform}/{person}"),
        "bans": _bans(connection, f"{platform}/{person}", person),
        "judgements": _judgements(connection, f"{platform}/{person}"),
    }


_WHERE = (channels.c.platform, channels.c.guild, channels.c.channel)


def _messages(connection: Connection, platform: str, person: str) -> list[dict[str, Any]]:
    said = (
        select(messages.c.author_name, messages.c.time, messages.c.text, *_WHERE)
        .join(channels, channels.c.id == messages.c.channel_id)
        .where(messages.c.author == person, channels.c.platform == platform)
        .order_by(messages.c.id)
    )
    return [
        {"time": _iso(row.time), "channel": str(channel_key(row)), "name": row.author_name,
         "text": row.text}
        for row in _rows(connection, said)
    ]  # fmt: skip


def _exchanges(connection: Connection, platform: str, person: str) -> list[dict[str, Any]]:
    asked = (
        select(
            exchanges.c.id, exchanges.c.time, exchanges.c.reply,
            # Prompts are long, and the message that was answered is nearly always there.
            case((messages.c.id.is_(None), exchanges.c.prompt)).label("prompt"),
            messages.c.text.label("question"),
            func.json_extract(exchanges.c.prompt, "$[#-1][1]").label("read"), *_WHERE,
        )
        .join(channels, channels.c.id == exchanges.c.channel_id)
        .outerjoin(
            messages,
            and_(messages.c.id == exchanges.c.after_message, messages.c.author == person),
        )
        .where(exchanges.c.asker == person, channels.c.platform == platform)
        .order_by(exchanges.c.id)
    )
    return [
        {"id": row.id, "time": _iso(row.time), "channel": str(channel_key(row)),
         "question": _asked(row.prompt) if row.question is None else row.question,
         **({"read": row.read} if _is_changed(row.question, row.read) else {}),
         "reply": row.reply}
        for row in _rows(connection, asked)
    ]  # fmt: skip


def _votes(connection: Connection, platform: str, person: str) -> list[dict[str, Any]]:
    given = (
        select(votes)
        .join(exchanges, exchanges.c.id == votes.c.exchange_id)
        .join(channels, channels.c.id == exchanges.c.channel_id)
        .where(votes.c.rater == person, channels.c.platform == platform)
        .order_by(votes.c.id)
    )
    return [
        {"exchange": row.exchange_id, "time": _iso(row.time), "value": row.value,
         "source": row.source}
        for row in _rows(connection, given)
    ]  # fmt: skip


def _reviews(connection: Connection, known_as: str) -> list[dict[str, Any]]:
    decided = select(reviews).where(reviews.c.by == known_as).order_by(reviews.c.id)
    return [
        {"exchange": row.exchange_id, "time": _iso(row.time), "decision": row.decision}
        for row in _rows(connection, decided)
    ]


def _bans(connection: Connection, known_as: str, person: str) -> list[dict[str, Any]]:
    """Those they decided on, and those about them, which do not say who decided."""
    found = {
        row.id: {"rater": row.rater, "time": _iso(row.time), "banned": row.banned}
        for about in (bans.c.by == known_as, bans.c.rater == person)
        for row in _rows(connection, select(bans).where(about))
    }
    return [found[key] for key in sorted(found)]


def _judgements(connection: Connection, known_as: str) -> list[dict[str, Any]]:
    said = select(judgements).where(judgements.c.judge == known_as).order_by(judgements.c.id)
    return [
        {"time": _iso(row.time), "versions": [row.one, row.other], "prompt": row.prompt,
         "question": row.question, "value": row.value}
        for row in _rows(connection, said)
    ]  # fmt: skip


def _rows(connection: Connection, query: Executable) -> Sequence[Row[Any]]:
    return connection.execute(query).all()


def _asked(prompt: Sequence[Sequence[Any]]) -> str:
    return last_user_text([Turn(role, content) for role, content in prompt])


def _is_changed(question: str | None, read: str | None) -> bool:
    """Whether a message says something else now than when it was read; others may precede it."""
    if question is None or read is None:
        return False
    return read != question and not read.endswith(f"\n{question}")


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()
