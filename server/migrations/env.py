"""Alembic's way in: it runs the migrations on the connection that ``server.migrate`` opened."""

from alembic import context

from server.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
