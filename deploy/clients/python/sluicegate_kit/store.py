"""What was intended and what became of it, kept durably: why an action is started at most once.

An intent is written before the action is started, its result after. An intent belongs to an owner (one executor
instance), and an owner shows that it lives by its beat. One whose beat stands still for its lease has crashed or was
cut off: its open intents become `unknown`, by compare-and-set, so that exactly one result stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sluicegate_kit.errors import KitError
from sluicegate_kit.settings import shown


@dataclass(frozen=True)
class Intent:
    """A command about to be started; or, with a receipt, one that is answered without being started."""

    command_id: str
    deadline_ms: int
    receipt: bytes | None = None


@dataclass(frozen=True)
class New:
    """The intent is now yours: nobody has acted, and nobody but you will."""


@dataclass(frozen=True)
class Acting:
    """Another owner has the intent and has not said how it ended. `lease_ms` is how long its beat may stand still."""

    owner: str
    beat: int
    lease_ms: int


@dataclass(frozen=True)
class Done:
    """It has ended; these are the bytes of its receipt, for ever."""

    receipt: bytes


Standing = New | Acting | Done


class Store(Protocol):
    """Every method is one durable transaction and may be repeated; all are called by one thread.

    Each raises StoreTrouble when it cannot be done now; nothing of it has happened then, or all of it.
    """

    def open(self) -> None:
        """Connects and makes what is missing."""

    def beat(self, owner: str, lease_ms: int, at_ms: int) -> None:
        """Raises the owner's beat by one, from zero. Called before its first intent and while it lives."""

    def exchange(
        self, owner: str, results: Mapping[str, bytes], intents: Sequence[Intent]
    ) -> tuple[dict[str, bytes], dict[str, Standing]]:
        """Writes the owner's results, then its intents, together; returns what stands for each command id.

        A result that is not its intent's first changes nothing. An owner asks again for an intent of its own only if
        it cannot have begun to act on it: the answer is New.
        """

    def look(self, owner: str, command_ids: Sequence[str]) -> dict[str, Standing]:
        """What stands; an id that was never intended is absent."""

    def abandon(self, command_id: str, acting: Acting, receipt: bytes) -> None:
        """Writes the receipt if the intent is still open and its owner's beat is still that one."""

    def prune(self, deadline_before_ms: int) -> int:
        """Forgets commands with an earlier deadline and owners without intents; returns how many commands."""

    def close(self) -> None:
        """Lets go of the connection; never raises."""


def open_store(url: str) -> Store:
    """The store at this URL, not opened yet: `sqlite:///file.db` by itself, others through SQLAlchemy.

    Raises KitError for a URL that is none, one in memory, or one that needs the extra `sql`.
    """
    from sluicegate_kit.sql import SqlStore

    if "://" not in url:
        raise KitError(f"the store {shown(url)} is no URL: write sqlite:///acted.db, or postgresql+psycopg://host/name")
    scheme, _, rest = url.partition("://")
    if scheme.startswith("sqlite") and rest.lstrip("/").partition("?")[0] in ("", ":memory:"):
        raise KitError(f"the store {shown(url)} is in memory and would forget what was acted on: name a file")
    if scheme == "sqlite" and "?" in rest:
        raise KitError(
            f"the store {shown(url)} has options: sqlite:/// takes a path alone, sqlite+pysqlite:/// takes both"
        )
    if scheme == "sqlite":
        from sluicegate_kit.sqlite import SqliteDatabase

        return SqlStore(SqliteDatabase(rest.removeprefix("/")))
    try:
        from sluicegate_kit.alchemy import AlchemyDatabase
    except ImportError as error:
        raise KitError(f"a store of the kind {shown(scheme)} needs SQLAlchemy: install sluicegate-kit[sql]") from error
    return SqlStore(AlchemyDatabase(url))
