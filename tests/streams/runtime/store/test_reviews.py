"""The read model: whatever the interleaving, however often and from how many sides, the rows are the same."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from streams.errors import ConfigurationError
from streams.runtime.store.reviews import Rebuilt, ReviewStore, Wanted
from tests.streams.runtime.store.records import AT_MS, PREFIX, fact, identifier, review, told_by_all_topics

EVERYTHING = Wanted(ended=True)


@pytest.fixture
def store(url: str) -> Iterator[ReviewStore]:
    with closing(ReviewStore(url)) as opened:
        opened.bind("cluster", PREFIX)
        yield opened


def rows(store: ReviewStore) -> Any:
    found, _ = store.reviews(EVERYTHING)
    verdicts = {row["review_id"]: store.verdicts(row["review_id"]) for row in found}
    return found, verdicts, [store.named(row["review_id"])[0]["text"] for row in found]


def by_entity(store: ReviewStore) -> dict[str, Any]:
    return {row["entity"]: row for row in store.reviews(EVERYTHING)[0]}


def test_each_review_stands_as_the_topics_say(store: ReviewStore) -> None:
    store.take(0, told_by_all_topics(), {})
    found = by_entity(store)
    ends = {name: (row["state"], row["ended_how"], row["ended_by"]) for name, row in found.items()}
    assert ends == {
        "acct-1": ("ended", "approved", "ben"),
        "acct-2": ("ended", "review.rejected", "ben"),
        "acct-3": ("ended", "review.expired", None),
        "acct-4": ("ended", "reevaluated", "ana"),
        "acct-5": ("open", None, None),
        "acct-6": ("open", None, None),
    }
    first, modified = found["acct-1"], found["acct-5"]
    assert (first["escalated"], first["approved_by"], first["quorum"]) == (True, '["ana"]', 2)
    assert (modified["value_minor"], modified["approvals"]) == (100, 1)
    said = [(one["by"], one["key_id"], one["result"], one["reason"]) for one in store.verdicts(identifier(1))]
    assert said == [
        ("ana", "key-ana", "accepted", None),
        ("ana", "key-ana", "rejected", "verdict.repeated"),
        ("ben", "key-ben", "accepted", None),
    ]
    assert [one["result"] for one in store.verdicts(identifier(6))] == ["rejected"]
    assert store.verdicts(identifier(6))[0]["key_id"] is None
    assert store.verdicts(identifier(2))[0]["note"] == "not \N{SYMBOL FOR NULL} ours"


@pytest.mark.parametrize("seed", range(6))
def test_topics_may_be_read_in_any_interleaving_and_again(store: ReviewStore, seed: int) -> None:
    facts = told_by_all_topics()
    store.take(0, facts, {})
    whole = rows(store)
    store.empty("cluster", PREFIX)
    assert rows(store) == ([], {}, [])
    chance = random.Random(seed)
    mixed = [*facts, *chance.sample(facts, 8)]
    chance.shuffle(mixed)
    while mixed:
        count = chance.randint(1, 6)
        store.take(1, mixed[:count], {})
        del mixed[:count]
    assert rows(store) == whole


def test_offsets_only_rise_and_stand_with_what_was_read(store: ReviewStore) -> None:
    store.take(0, [], {("reviews", 2): 7, ("verdicts", 0): 1})
    store.take(0, [], {("reviews", 2): 3, ("verdicts", 0): 4})
    assert store.progress().next == {("reviews", 2): 7, ("verdicts", 0): 4}
    with pytest.raises(Rebuilt):
        store.take(1, [fact("reviews", 1, review(1))], {("reviews", 2): 9})
    assert store.progress().next == {("reviews", 2): 7, ("verdicts", 0): 4}
    assert rows(store)[0] == []


def test_who_follows_while_another_rebuilds_is_told(store: ReviewStore) -> None:
    before = store.progress()
    store.take(before.generation, told_by_all_topics(), {("reviews", 2): 64})
    store.empty("other", PREFIX)
    with pytest.raises(Rebuilt):
        store.take(before.generation, [], {("reviews", 2): 70})
    assert (store.progress().generation, store.progress().next) == (1, {})
    with pytest.raises(ConfigurationError, match="cluster other, not of"):
        store.bind("cluster", PREFIX)


def test_several_processes_may_write_at_a_time(store: ReviewStore, url: str) -> None:
    facts, failed = told_by_all_topics(), []

    def write(seed: int) -> None:
        mixed = random.Random(seed).sample(facts, len(facts))
        try:
            with closing(ReviewStore(url)) as mine:
                for one in mixed:
                    mine.take(0, [one], {(one.topic, one.number): one.position})
        except Exception as error:  # shown by the assertion
            failed.append(error)

    writers = [threading.Thread(target=write, args=(seed,)) for seed in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failed == []
    together = rows(store)
    store.empty("cluster", PREFIX)
    store.take(1, facts, {})
    assert rows(store) == together


def test_the_soonest_deadline_comes_first_and_filters_narrow(store: ReviewStore) -> None:
    reviews = [
        review(1, deadline_ms=AT_MS + 900, queue="a"),
        review(2, deadline_ms=AT_MS + 100, queue="b", approvals=["ana"], quorum=2),
        review(3, deadline_ms=AT_MS + 500, queue="a", workflow="routing"),
    ]
    store.take(0, [fact("reviews", n, one) for n, one in enumerate(reviews)], {})

    def listed(**wanted: Any) -> list[str]:
        return [row["entity"] for row in store.reviews(Wanted(**wanted))[0]]

    assert listed() == ["acct-2", "acct-3", "acct-1"]
    assert listed(queue="a") == ["acct-3", "acct-1"]
    assert listed(workflow="routing") == ["acct-3"]
    assert listed(answerable_by="ana") == ["acct-3", "acct-1"]
    assert listed(answerable_by="rating-service") == []
    assert store.reviews(Wanted(limit=1))[1] == 3


def test_a_review_is_found_by_the_beginning_of_its_id(store: ReviewStore) -> None:
    store.take(0, [fact("reviews", n, review(n)) for n in (1, 2)], {})
    assert [row["entity"] for row in store.named(identifier(1)[:12])] == ["acct-1"]
    assert len(store.named("r-2-")) == 2
    assert store.named("r%") == []


def test_a_store_of_a_newer_program_is_refused(store: ReviewStore, url: str) -> None:
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(text("UPDATE sluicegate_version SET version_num = '0999'"))
    engine.dispose()
    with pytest.raises(ConfigurationError, match=r"version 0999 .* newer sluicegate made it"):
        ReviewStore(url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("reviews.db", "no database URL"),
        ("mysql://host/db", "only SQLite and PostgreSQL"),
        ("postgresql://u:secret@127.0.0.1:1/x", "cannot be used"),
    ],
)
def test_a_store_that_cannot_be_opened_is_one_sentence_without_the_password(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        ReviewStore(url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "reviews.db").write_text("these are no tables, this is a long enough text" * 100)
    with pytest.raises(ConfigurationError, match="not a database"):
        ReviewStore(f"sqlite:///{tmp_path / 'reviews.db'}")
