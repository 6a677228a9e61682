"""What Alembic runs: the steps, on the connection that `bot.store.database` hands over.

All steps of one start are one transaction, so that a crash in the middle changes nothing.
"""

from alembic import context

from bot.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
