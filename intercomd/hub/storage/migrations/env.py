"""What Alembic runs: the migrations, on the connection and in the transaction of the hub that starts."""

from alembic import context

from intercomd.hub.storage.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
