"""What a record says about a review; what says nothing, or cannot be held by a database, never stops the store."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from msgspec.json import encode
from msgspec.structs import replace
from sqlalchemy import create_engine

from schemas.common import Source
from schemas.examples import COMMAND, EXCEPTION, REJECTION
from streams.runtime.store.facts import fact_of
from streams.runtime.store.reviews import ReviewStore, Wanted
from streams.runtime.store.tables import METADATA
from tests.streams.runtime.store.records import PREFIX, fact, identifier, place, read, review, source, verdict


@pytest.mark.parametrize(
    ("topic", "record"),
    [
        ("commands", COMMAND),
        ("exceptions", EXCEPTION),
        ("exceptions", replace(EXCEPTION, kind="followup", caused_by=Source("t.receipts", 2, 1))),
        ("rejections", REJECTION),
        ("reviews", b"{no review"),
        ("verdicts", b'{"review_id":"r-1-short","verdict":"approve","action_digest":"","by":"a","at_ms":1}'),
        ("verdicts", b"\xff\xfe"),
    ],
)
def test_a_record_that_is_about_no_review_is_left_out(topic: str, record: Any) -> None:
    assert fact_of(read(topic, 1, record)) is None


def test_a_tombstone_says_nothing() -> None:
    assert fact_of(dataclasses.replace(read("verdicts", 1, b""), value=None)) is None


def test_an_ending_finds_its_review_by_the_source_that_they_share() -> None:
    ended = replace(EXCEPTION, kind="followup", source=source(3), caused_by=place("reviews", 3))
    assert fact("exceptions", 1, ended).review_id == identifier(3)


def test_what_a_database_cannot_hold_does_not_stop_it(url: str) -> None:
    store = ReviewStore(url)
    try:
        store.bind("cluster", PREFIX)
        odd = encode(verdict(1, "a\x00b", note="\x00")).replace(b'"at_ms":1764000000163', b'"at_ms":9' + b"9" * 17)
        facts = [fact("reviews", 1, review(1, entity="nul\x00", queue="q\x00")), fact("verdicts", 1, odd)]
        store.take(0, facts, {("reviews", 2): 2})
        ((row,), _) = store.reviews(Wanted())
        assert row["entity"] == "nul\N{SYMBOL FOR NULL}"
        assert store.verdicts(identifier(1))[0]["said_at_ms"] == 253_402_300_799_999
    finally:
        store.close()


def test_the_migrations_make_the_tables_that_the_program_uses(url: str) -> None:
    ReviewStore(url).close()
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": "sluicegate_version"})
        assert compare_metadata(context, METADATA) == []
    engine.dispose()
