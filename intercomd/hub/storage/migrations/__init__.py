"""From any earlier schema to this version's, by Alembic, in one transaction that the caller holds.

A fresh database is made from hub/storage/tables.py at once (a test holds that it comes to the same), so Alembic is
imported only where there is something to migrate. The revisions are the numbers of the schemas."""

from typing import Final

import sqlalchemy as sa

from intercomd.hub.storage.backend import DatabaseError
from intercomd.hub.storage.tables import SCHEMA, metadata

SCRIPTS: Final = "intercomd.hub.storage:migrations"

_revision = sa.Table("alembic_version", sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True))


def version(connection: sa.Connection) -> int | None:
    """The schema that is there, by Alembic's own table; None for an empty database."""
    if not sa.inspect(connection).has_table(_revision.name):
        return None
    found = connection.execute(sa.select(_revision.c.version_num)).scalar()
    return int(found) if found is not None else None


def bring_up_to_date(connection: sa.Connection, found: int | None) -> None:
    """Make the tables, or change what `found` says is there. Raises `DatabaseError` for a newer schema."""
    if found is None:
        metadata.create_all(connection)
        _revision.create(connection, checkfirst=True)
        connection.execute(sa.insert(_revision).values(version_num=str(SCHEMA)))
    elif found > SCHEMA:
        raise DatabaseError(f"the database has schema {found}, this version knows {SCHEMA}; install the newer one")
    elif found < SCHEMA:
        upgrade(connection, found)


def upgrade(connection: sa.Connection, found: int, target: str = "head") -> None:
    """Carry out the migrations after schema `found` (0: all of them)."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", SCRIPTS)
    config.attributes["connection"] = connection
    # SQLite's schemas up to 3 knew nothing of Alembic.
    command.stamp(config, str(found) if found else "base", purge=True)
    command.upgrade(config, target)
