"""Any database that SQLAlchemy reaches and that knows ON CONFLICT: PostgreSQL for several machines. The extra `sql`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from sluicegate_kit.errors import KitError, StoreTrouble
from sluicegate_kit.sql import Parameters, Run
from sluicegate_kit.sqlite import BUSY_S, PRAGMAS


class AlchemyDatabase:
    """Implements `sluicegate_kit.sql.Database`; raises KitError for a URL or a driver that is not there.

    Keeps one connection and makes a new one after any failure: whatever broke it, the next attempt starts clean.
    """

    def __init__(self, url: str) -> None:
        try:
            # READ COMMITTED: a statement after a conflicting insert has to see the row that it conflicted with
            options = {} if url.startswith("sqlite") else {"isolation_level": "READ COMMITTED"}
            self._engine = create_engine(url, poolclass=NullPool, **options)
        except (SQLAlchemyError, ImportError, ValueError, TypeError) as error:
            raise KitError(f"the store cannot be opened: {_first_line(error)}") from error
        if self._engine.dialect.name == "sqlite":
            _as_sqlite_should_be(self._engine)
        self._connection: Connection | None = None

    def open(self) -> None:
        try:
            self._connection = self._engine.connect()
        except SQLAlchemyError as error:
            raise StoreTrouble(_first_line(error)) from error

    @contextmanager
    def transaction(self) -> Iterator[Run]:
        if self._connection is None:
            self.open()
        connection = self._connection
        assert connection is not None

        def run(statement: str, parameters: Parameters | Sequence[Parameters] = (), /) -> list[Any]:
            result = connection.execute(text(statement), parameters or None)
            return list(result) if result.returns_rows else []

        try:
            with connection.begin():
                yield run
        except SQLAlchemyError as error:
            self._forget()
            raise StoreTrouble(_first_line(error)) from error

    def close(self) -> None:
        self._forget()
        self._engine.dispose()

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None


def _as_sqlite_should_be(engine: Engine) -> None:
    """Transactions that wait at their beginning and are on the disk at their end, as in `sluicegate_kit.sqlite`."""

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: object) -> None:
        connection.isolation_level = None
        for statement in (*PRAGMAS, f"PRAGMA busy_timeout={int(BUSY_S * 1000)}"):
            connection.execute(statement)

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
