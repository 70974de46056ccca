"""Alembic's entry point. `pantheon db migrate` hands over the connection; see db/migrate.py."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transaction_per_migration=False)
with context.begin_transaction():
    context.run_migrations()
