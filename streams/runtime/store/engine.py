"""Opening a database: SQLite or PostgreSQL by URL, with write transactions that wait for each other.

Several commands of several people may follow the topics into one store at a time. What they write is computed from
what is there, so writers take turns: SQLite's own write lock, an advisory lock on PostgreSQL.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from streams.errors import ConfigurationError

WAIT_S = 30  # for another writer; each of them holds the lock for one batch
_LOCK = 0x51C1CE6A7E  # of this program's writers, among all that use the database
_WRITES = "sluicegate_writes"
_DAMAGED = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)


class Damaged(ConfigurationError):
    """Raised for a file that is no database of SQLite's, or no whole one: from the topics it can be made anew."""


def engine_of(url: str) -> Engine:
    """The engine, unconnected. Raises ConfigurationError for a URL that is neither SQLite's nor PostgreSQL's."""
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        if parsed.database and parsed.database != ":memory:":
            try:
                Path(parsed.database).parent.mkdir(0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise _unusable(url, error) from error
        engine = create_engine(parsed, connect_args={"timeout": WAIT_S})
        event.listen(engine, "connect", _connected)
        event.listen(engine, "begin", _begun)
        return engine
    try:
        return create_engine(parsed, connect_args={"connect_timeout": 8}, pool_pre_ping=True)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"--store {_hidden(url)} needs the PostgreSQL driver: install sluicegate with its extra `postgres`"
        ) from error


@contextmanager
def writing(engine: Engine, url: str) -> Iterator[Connection]:
    """A transaction in which nobody else writes. Raises ConfigurationError where the database fails."""
    with usable(url), engine.connect().execution_options(**{_WRITES: True}) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.execute(text(f"SET LOCAL lock_timeout = '{WAIT_S}s'"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        yield connection


@contextmanager
def reading(engine: Engine, url: str) -> Iterator[Connection]:
    """A transaction that only reads. Raises ConfigurationError where the database fails."""
    with usable(url), engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def usable(url: str) -> Iterator[None]:
    """Turns the database's errors into one sentence, without the password."""
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        raise _unusable(url, error) from error


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError(
            "--store is no database URL; it looks like sqlite:///reviews.db or postgresql://user@host/database"
        ) from error
    if parsed.drivername in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if backend not in ("sqlite", "postgresql"):
        raise ConfigurationError(f"--store {_hidden(url)}: only SQLite and PostgreSQL can hold the store")
    return parsed


def _hidden(url: str) -> str:
    return make_url(url).render_as_string(hide_password=True)


def set_aside(url: str) -> None:
    """Gives a damaged SQLite file another name, `.damaged`, and what belongs to it too, so that a new one can begin.

    Raises ConfigurationError where that cannot be done.
    """
    file = _parsed(url).database or ""
    try:
        for suffix in ("", "-wal", "-shm"):
            if (one := Path(file + suffix)).exists():
                one.replace(f"{file}.damaged{suffix}")
    except OSError as error:
        raise _unusable(url, error) from error


def _unusable(url: str, error: Exception) -> ConfigurationError:
    cause = getattr(error, "orig", None) or error
    first = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
    told = f"the store {_hidden(url)} cannot be used ({first})"
    if getattr(cause, "sqlite_errorcode", None) in _DAMAGED:
        return Damaged(f"{told}: `sluicegate reviews rebuild` makes it anew, or name another with --store")
    return ConfigurationError(f"{told}: name another with --store or SLUICEGATE_STORE")


def _connected(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin where we say, not where the driver guesses
    connection.execute("PRAGMA journal_mode=WAL")  # readers do not wait for the writer


def _begun(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
