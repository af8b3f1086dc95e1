"""A file of SQLite, by Python's own module: for one machine, and as many instances as you like on it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sluicegate_kit.errors import StoreTrouble
from sluicegate_kit.sql import Parameters, Run

BUSY_S = 5.0  # other instances write for milliseconds; who waits longer is told, and tries again
# a result that was acknowledged survives a loss of power: WAL alone would not promise it
PRAGMAS = ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL")


class SqliteDatabase:
    """Implements `sluicegate_kit.sql.Database`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def open(self) -> None:
        try:
            # autocommit: transactions are begun by hand, so that writers wait at their beginning and never fail within
            self._connection = sqlite3.connect(
                self._path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
            )
            for pragma in PRAGMAS:
                self._connection.execute(pragma)
        except sqlite3.Error as error:
            self.close()
            raise StoreTrouble(f"{self._path}: {error}") from error

    @contextmanager
    def transaction(self) -> Iterator[Run]:
        connection = self._connection
        assert connection is not None, "opened before it is used"

        def run(statement: str, parameters: Parameters | Sequence[Parameters] = (), /) -> list[Any]:
            if isinstance(parameters, Mapping) or not parameters:
                return connection.execute(statement, parameters).fetchall()
            connection.executemany(statement, parameters)
            return []

        try:
            connection.execute("BEGIN IMMEDIATE")
            yield run
            connection.execute("COMMIT")
        except BaseException as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise StoreTrouble(f"{self._path}: {error}") from error
            raise

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
