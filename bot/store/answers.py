"""Several answers to one message, of which one stands in the channel.

All are exchanges like any other, with votes of their own. Those that do not stand are set aside:
they are not part of the history that the model is shown, nor of what people see.
"""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select

from bot.errors import StoreError
from bot.store.access import Access
from bot.store.exchanges import add_at
from bot.store.schema import exchanges, set_aside
from bot.types import Exchange


class Answers(Access):
    """Other answers."""

    async def add_answer(self, exchange: Exchange, beside: int) -> int:
        """Keep another answer to the message that an exchange answered, set aside; its new id.

        Raises:
            StoreError: there is no such exchange.
        """

        def write(connection: Connection) -> int:
            channel, after = _place(connection, beside)
            key = add_at(connection, exchange, channel, after)
            connection.execute(insert(set_aside).values(exchange_id=key))
            return key

        return await self._write(write)

    async def take_answer(self, chosen: int) -> None:
        """Let this answer stand, and no other to the same message.

        Raises:
            StoreError: there is no such exchange.
        """

        def write(connection: Connection) -> None:
            channel, after = _place(connection, chosen)
            answers = connection.scalars(
                select(exchanges.c.id).where(
                    exchanges.c.channel_id == channel, exchanges.c.after_message == after
                )
            ).all()
            connection.execute(delete(set_aside).where(set_aside.c.exchange_id.in_(answers)))
            others = [{"exchange_id": key} for key in answers if key != chosen]
            if others:
                connection.execute(insert(set_aside), others)

        await self._write(write)


def _place(connection: Connection, key: int) -> tuple[int, int]:
    """The channel of an exchange, and the message it answers."""
    row = connection.execute(
        select(exchanges.c.channel_id, exchanges.c.after_message).where(exchanges.c.id == key)
    ).first()
    if row is None:
        raise StoreError(f"there is no exchange {key}")
    return row.channel_id, row.after_message
