"""The read model of reviews: written by idempotent upserts together with how far the topics were read.

A record goes in under its place and only once; the rows of the reviews it is about are then computed anew from all
their records. So records may come in any interleaving of the topics, again, and from several processes at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import (
    Connection,
    RowMapping,
    Select,
    Table,
    and_,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from streams.errors import ConfigurationError
from streams.foreign import own
from streams.runtime.store.engine import engine_of, reading, writing
from streams.runtime.store.facts import Fact
from streams.runtime.store.migrate import VERSIONS, migrate, version
from streams.runtime.store.standing import OPEN, Row, standing
from streams.runtime.store.tables import OFFSETS, RECORDS, REVIEWS, STORE, VERDICTS

T = TypeVar("T")
IDS_A_STATEMENT = 400  # databases limit parameters; SQLite at 999 in old builds


class Rebuilt(Exception):
    """Raised when the store was emptied by somebody else since its offsets were asked for: ask again."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the topics were read: (kind, partition) -> the next offset; since which rebuild."""

    generation: int
    next: Mapping[tuple[str, int], int]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which reviews: None for any. `answerable_by`: neither proposed nor approved by this person."""

    queue: str | None = None
    workflow: str | None = None
    answerable_by: str | None = None
    ended: bool = False  # those too
    limit: int = 100


class ReviewStore:
    """Open with the URL of a database. All methods raise ConfigurationError where it fails."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine = engine_of(url)
        try:
            with reading(self._engine, url) as connection:
                found = version(connection)
            if found != VERSIONS[-1]:
                with writing(self._engine, url) as connection:
                    migrate(connection)
        except ConfigurationError:
            self.close()
            raise

    def close(self) -> None:
        self._engine.dispose()

    def bind(self, cluster: str, prefix: str) -> None:
        """Says which topics it is made of, the first time for ever. Raises ConfigurationError where they are others."""
        with reading(self._engine, self._url) as connection:
            found = connection.execute(select(STORE)).first()
        if found is None:
            with writing(self._engine, self._url) as connection:
                row = {"id": 1, "cluster": cluster, "prefix": prefix, "generation": 0}
                connection.execute(self._insert(STORE).values(row).on_conflict_do_nothing())
                found = connection.execute(select(STORE)).one()
        if (found.cluster, found.prefix) != (cluster, prefix):
            raise ConfigurationError(
                f"the store is made of the topics {found.prefix}* of the Kafka cluster {found.cluster}, not of "
                f"{prefix}* of {cluster}: name another store with --store, or empty this one with "
                "`sluicegate reviews rebuild`"
            )

    def progress(self) -> Progress:
        with reading(self._engine, self._url) as connection:
            generation = connection.execute(select(STORE.c.generation)).scalar_one()
            rows = connection.execute(select(OFFSETS)).all()
        return Progress(generation, {(row.topic, row.number): row.next for row in rows})

    def take(self, generation: int, facts: Sequence[Fact], read_to: Mapping[tuple[str, int], int]) -> None:
        """Writes the facts, what follows from them and how far was read, or nothing of it. Raises Rebuilt."""
        with writing(self._engine, self._url) as connection:
            if connection.execute(select(STORE.c.generation)).scalar_one() != generation:
                raise Rebuilt
            if facts:
                rows = [_record(fact) for fact in facts]
                connection.execute(self._insert(RECORDS).on_conflict_do_nothing(), rows)
                self._tell(connection, facts)
            if read_to:
                statement = self._insert(OFFSETS)
                further = statement.excluded.next
                statement = statement.on_conflict_do_update(
                    index_elements=[OFFSETS.c.topic, OFFSETS.c.number],
                    set_={"next": case((further > OFFSETS.c.next, further), else_=OFFSETS.c.next)},
                )
                offsets = [{"topic": topic, "number": n, "next": at} for (topic, n), at in sorted(read_to.items())]
                connection.execute(statement, offsets)

    def empty(self, cluster: str, prefix: str) -> None:
        """Forgets everything; what is written next is of these topics, from their beginnings."""
        with writing(self._engine, self._url) as connection:
            for table in (RECORDS, REVIEWS, VERDICTS, OFFSETS):
                connection.execute(delete(table))
            found = connection.execute(
                update(STORE).values(cluster=cluster, prefix=prefix, generation=STORE.c.generation + 1)
            )
            if found.rowcount == 0:
                row = {"id": 1, "cluster": cluster, "prefix": prefix, "generation": 0}
                connection.execute(insert(STORE).values(row))

    def reviews(self, wanted: Wanted) -> tuple[list[Row], int]:
        """The first of them, soonest deadline first, open before ended; and how many there are."""
        columns = [column for column in REVIEWS.c if column.name != "text"]
        found = _narrowed(select(*columns), wanted).order_by(
            REVIEWS.c.state.desc(), REVIEWS.c.deadline_ms, REVIEWS.c.review_id
        )
        with reading(self._engine, self._url) as connection:
            if wanted.answerable_by is None:
                rows = [_plain(row) for row in connection.execute(found.limit(wanted.limit)).mappings()]
                count = connection.execute(_narrowed(select(func.count()).select_from(REVIEWS), wanted)).scalar_one()
                return rows, count
            kept = [_plain(row) for row in connection.execute(found).mappings()]
        kept = [row for row in kept if wanted.answerable_by not in _names(row["approved_by"])]
        return kept[: wanted.limit], len(kept)

    def named(self, beginning: str, limit: int = 3) -> list[Row]:
        """Whole rows of the reviews whose id is `beginning`, or else begins with it; at most `limit`."""
        with reading(self._engine, self._url) as connection:
            exact = connection.execute(select(REVIEWS).where(REVIEWS.c.review_id == beginning)).mappings().all()
            if exact:
                return [_plain(row) for row in exact]
            like = REVIEWS.c.review_id.startswith(beginning, autoescape=True)
            return [_plain(row) for row in connection.execute(select(REVIEWS).where(like).limit(limit)).mappings()]

    def verdicts(self, review_id: str) -> list[Row]:
        """What was said about a review, in the order in which it came."""
        wanted = select(VERDICTS).where(VERDICTS.c.review_id == review_id)
        with reading(self._engine, self._url) as connection:
            rows = connection.execute(wanted.order_by(VERDICTS.c.at_ms, VERDICTS.c.number, VERDICTS.c.position))
            return [_plain(row) for row in rows.mappings()]

    def verdict(self, number: int, position: int) -> Row | None:
        """The verdict at this place of `verdicts`."""
        wanted = select(VERDICTS).where(VERDICTS.c.number == number, VERDICTS.c.position == position)
        with reading(self._engine, self._url) as connection:
            found = connection.execute(wanted).mappings().first()
        return _plain(found) if found is not None else None

    def facts(self, review_id: str) -> list[Fact]:
        """Everything the topics said about a review, in the order in which the broker stored it."""
        with reading(self._engine, self._url) as connection:
            found = _facts(connection, [review_id])[review_id]
        return sorted(found, key=lambda fact: (fact.at_ms, fact.topic, fact.number, fact.position))

    def _insert(self, table: Table) -> Any:
        module: Any = postgresql if self._engine.dialect.name == "postgresql" else sqlite
        return module.insert(table)

    def _tell(self, connection: Connection, facts: Sequence[Fact]) -> None:
        touched = {fact.review_id for fact in facts if fact.review_id is not None}
        refused = [fact.answers for fact in facts if fact.review_id is None and fact.answers is not None]
        touched |= _reviews_of(connection, refused)
        reviews, verdicts = [], []
        for known in _facts(connection, sorted(touched)).values():
            row, said = standing(known)
            reviews += [row] if row is not None else []
            verdicts += said
        self._put(connection, REVIEWS, reviews)
        self._put(connection, VERDICTS, verdicts)

    def _put(self, connection: Connection, table: Table, rows: list[Row]) -> None:
        if not rows:
            return
        statement = self._insert(table)
        key = list(table.primary_key)
        rest = {column.name: statement.excluded[column.name] for column in table.c if column not in key}
        connection.execute(statement.on_conflict_do_update(index_elements=key, set_=rest), rows)


def _narrowed(found: Select[Any], wanted: Wanted) -> Select[Any]:
    if not wanted.ended:
        found = found.where(REVIEWS.c.state == OPEN)
    if wanted.queue is not None:
        found = found.where(REVIEWS.c.queue == wanted.queue)
    if wanted.workflow is not None:
        found = found.where(REVIEWS.c.workflow == wanted.workflow)
    if wanted.answerable_by is not None:
        found = found.where(or_(REVIEWS.c.proposer.is_(None), REVIEWS.c.proposer != wanted.answerable_by))
    return found


def _facts(connection: Connection, ids: Sequence[str]) -> dict[str, list[Fact]]:
    """What is known about each of these reviews. A rejection is told by the verdict that it refuses."""
    found: dict[str, list[Fact]] = {identifier: [] for identifier in ids}
    said = RECORDS.alias()
    refusals = select(said.c.review_id.label("about"), RECORDS).join(
        said,
        and_(
            said.c.topic == "verdicts",
            said.c.number == RECORDS.c.verdict_number,
            said.c.position == RECORDS.c.verdict_position,
        ),
    )
    for chunk in _chunks(ids):
        own = select(RECORDS.c.review_id.label("about"), RECORDS).where(RECORDS.c.review_id.in_(chunk))
        others = refusals.where(RECORDS.c.topic == "rejections", said.c.review_id.in_(chunk))
        for wanted in (own, others):
            for row in connection.execute(wanted):
                answers = None if row.verdict_number is None else (row.verdict_number, row.verdict_position)
                found[row.about].append(
                    Fact(row.topic, row.number, row.position, row.at_ms, row.review_id, answers, row.text)
                )
    return found


def _reviews_of(connection: Connection, verdicts: Sequence[tuple[int, int]]) -> set[str]:
    found: set[str] = set()
    for chunk in _chunks(verdicts):
        places = tuple_(RECORDS.c.number, RECORDS.c.position).in_(chunk)
        rows = connection.execute(select(RECORDS.c.review_id).where(RECORDS.c.topic == "verdicts", places))
        found |= {row.review_id for row in rows}
    return found


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + IDS_A_STATEMENT] for start in range(0, len(items), IDS_A_STATEMENT))


def _plain(row: RowMapping) -> Row:
    """With names that are plain strings: SQLAlchemy's are a kind of their own, which JSON encoders refuse."""
    return {str(name): told for name, told in row.items()}


def _record(fact: Fact) -> Row:
    number, position = fact.answers or (None, None)
    return {
        "topic": fact.topic,
        "number": fact.number,
        "position": fact.position,
        "at_ms": fact.at_ms,
        "review_id": fact.review_id,
        "verdict_number": number,
        "verdict_position": position,
        "text": fact.text,
    }


_decode_names = own(list[str])


def _names(approved_by: str) -> list[str]:
    return _decode_names(approved_by)
