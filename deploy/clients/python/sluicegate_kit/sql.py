"""The store in SQL that SQLite and PostgreSQL both understand; a `Database` is only how statements get there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from sluicegate_kit.errors import StoreTrouble
from sluicegate_kit.store import Acting, Done, Intent, New, Standing

Parameters = Mapping[str, Any]


class Run(Protocol):
    """Runs one statement (`:name` parameters), or the same for each of many parameters; rows, if it returns any."""

    def __call__(self, statement: str, parameters: Parameters | Sequence[Parameters] = ..., /) -> list[Any]: ...


class Database(Protocol):
    """One connection. Raises StoreTrouble where the driver raises."""

    def open(self) -> None: ...

    def transaction(self) -> AbstractContextManager[Run]:
        """Committed durably at the end of the block, rolled back if it raises; writers wait for each other."""

    def close(self) -> None: ...


TABLES = (
    "CREATE TABLE IF NOT EXISTS sluicegate_owners (owner VARCHAR(200) PRIMARY KEY, beat BIGINT NOT NULL,"
    " lease_ms BIGINT NOT NULL, at_ms BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS sluicegate_intents (command_id VARCHAR(200) PRIMARY KEY, owner VARCHAR(200) NOT NULL,"
    " deadline_ms BIGINT NOT NULL, receipt TEXT)",
    "CREATE INDEX IF NOT EXISTS sluicegate_intents_deadline ON sluicegate_intents (deadline_ms)",
)
BEAT = (
    "INSERT INTO sluicegate_owners (owner, beat, lease_ms, at_ms) VALUES (:owner, 0, :lease_ms, :at_ms)"
    " ON CONFLICT (owner) DO UPDATE SET beat = sluicegate_owners.beat + 1, at_ms = :at_ms"
)
FINISH = (
    "UPDATE sluicegate_intents SET receipt = :receipt"
    " WHERE command_id = :command_id AND owner = :owner AND receipt IS NULL"
)
INTEND = (
    "INSERT INTO sluicegate_intents (command_id, owner, deadline_ms, receipt)"
    " VALUES (:command_id, :owner, :deadline_ms, :receipt) ON CONFLICT (command_id) DO NOTHING"
)
LOOK = (
    "SELECT i.command_id, i.owner, i.receipt, COALESCE(o.beat, -1), COALESCE(o.lease_ms, 0)"
    " FROM sluicegate_intents i LEFT JOIN sluicegate_owners o ON o.owner = i.owner WHERE i.command_id IN "
)
ABANDON = FINISH + " AND COALESCE((SELECT o.beat FROM sluicegate_owners o WHERE o.owner = :owner), -1) = :beat"  # noqa: S608 - of constants
PRUNE = "DELETE FROM sluicegate_intents WHERE deadline_ms < :before_ms"
PRUNE_OWNERS = (
    "DELETE FROM sluicegate_owners WHERE at_ms < :before_ms"
    " AND owner NOT IN (SELECT i.owner FROM sluicegate_intents i WHERE i.receipt IS NULL)"
)
IDS_A_STATEMENT = 200  # databases limit parameters; SQLite at 999 in old builds


class SqlStore:
    """Implements `sluicegate_kit.store.Store`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self) -> None:
        self._database.open()
        for statement in TABLES:
            try:
                self._make(statement)
            except StoreTrouble:
                self._make(statement)  # PostgreSQL, when another instance makes the same table at the same moment

    def _make(self, statement: str) -> None:
        with self._database.transaction() as run:
            run(statement)

    def beat(self, owner: str, lease_ms: int, at_ms: int) -> None:
        with self._database.transaction() as run:
            run(BEAT, {"owner": owner, "lease_ms": lease_ms, "at_ms": at_ms})

    def exchange(
        self, owner: str, results: Mapping[str, bytes], intents: Sequence[Intent]
    ) -> tuple[dict[str, bytes], dict[str, Standing]]:
        # in one order for all instances, so that two never wait for each other's rows
        finished = [
            {"command_id": command_id, "owner": owner, "receipt": receipt.decode()}
            for command_id, receipt in sorted(results.items())
        ]
        intended = [
            {
                "command_id": one.command_id,
                "owner": owner,
                "deadline_ms": one.deadline_ms,
                "receipt": None if one.receipt is None else one.receipt.decode(),
            }
            for one in sorted(intents, key=lambda one: one.command_id)
        ]
        with self._database.transaction() as run:
            if finished:
                run(FINISH, finished)
            if intended:
                run(INTEND, intended)
            found = _standings(run, owner, [*results, *(one.command_id for one in intents)])
        stands = {command_id: _receipt(found.get(command_id), results[command_id]) for command_id in results}
        return stands, {one.command_id: found[one.command_id] for one in intents}

    def look(self, owner: str, command_ids: Sequence[str]) -> dict[str, Standing]:
        with self._database.transaction() as run:
            return _standings(run, owner, command_ids)

    def abandon(self, command_id: str, acting: Acting, receipt: bytes) -> None:
        with self._database.transaction() as run:
            wanted = {"command_id": command_id, "owner": acting.owner, "beat": acting.beat}
            run(ABANDON, {**wanted, "receipt": receipt.decode()})

    def prune(self, deadline_before_ms: int) -> int:
        with self._database.transaction() as run:
            ((count,),) = run(
                "SELECT COUNT(*) FROM sluicegate_intents WHERE deadline_ms < :before_ms",
                {"before_ms": deadline_before_ms},
            )
            run(PRUNE, {"before_ms": deadline_before_ms})
            run(PRUNE_OWNERS, {"before_ms": deadline_before_ms})
        return int(count)

    def close(self) -> None:
        self._database.close()


def _standings(run: Run, owner: str, command_ids: Sequence[str]) -> dict[str, Standing]:
    return {command_id: _standing(owner, *row) for command_id, *row in _rows(run, command_ids)}


def _rows(run: Run, command_ids: Sequence[str]) -> Iterator[Any]:
    for start in range(0, len(command_ids), IDS_A_STATEMENT):
        ids = {f"p{n}": one for n, one in enumerate(command_ids[start : start + IDS_A_STATEMENT])}
        yield from run(f"{LOOK}({', '.join(':' + name for name in ids)})", ids)


def _standing(me: str, owner: str, receipt: str | None, beat: int, lease_ms: int) -> Standing:
    if receipt is not None:
        return Done(receipt.encode())
    return New() if owner == me else Acting(owner, beat, lease_ms)


def _receipt(standing: Standing | None, mine: bytes) -> bytes:
    """What stands for a result; the owner's own where the row is gone, because its deadline is long past."""
    return standing.receipt if isinstance(standing, Done) else mine
