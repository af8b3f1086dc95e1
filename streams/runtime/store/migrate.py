"""Brings a database to this program's tables by the migrations beside it, when it is opened.

Every writer of an older program knows less than the tables hold, so a store that a newer program made is refused.
"""

from __future__ import annotations

from sqlalchemy import Connection, inspect, text

from streams.errors import ConfigurationError

VERSION_TABLE = "sluicegate_version"
VERSIONS = ("0001",)  # oldest first; the last one is what this program needs


def version(connection: Connection) -> str | None:
    """The version of the tables that are there; None where there are none."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608 - our own constant


def migrate(connection: Connection) -> None:
    """Makes or changes the tables within the connection's transaction. Raises ConfigurationError on a newer store."""
    found = version(connection)
    if found == VERSIONS[-1]:
        return
    if found is not None and found not in VERSIONS:
        raise ConfigurationError(
            f"the store has version {found} of its tables and this program knows up to {VERSIONS[-1]}: a newer "
            "sluicegate made it; use that one, or another store"
        )
    # most commands find the tables as they want them, and do without a quarter of a second of imports
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "streams.runtime.store:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
