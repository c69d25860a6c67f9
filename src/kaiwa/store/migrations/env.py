"""Alembic's entry: runs the migrations on the connection, and in the transaction, it is given."""

from typing import cast

from alembic import context
from sqlalchemy import Connection

from kaiwa.store.tables import metadata

context.configure(
    connection=cast(Connection, context.config.attributes["connection"]),
    target_metadata=metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
