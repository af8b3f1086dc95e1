"""One contract for every store of the kit: an intent is somebody's once, and exactly one result stands."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from sluicegate_kit import Acting, Done, Intent, KitError, New, Store, StoreTrouble, open_store

KINDS = ("sqlite", "sqlite+pysqlite")
# another database to hold to the same contract; its tables of the kit are dropped
GIVEN = os.environ.get("SLUICEGATE_TEST_STORE")
DEADLINE_MS = 1_764_000_600_000


@pytest.fixture(params=(*KINDS, *(("given",) if GIVEN else ())))
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "given":
        assert GIVEN is not None
        engine = sqlalchemy.create_engine(GIVEN)
        with engine.begin() as connection:
            for table in ("sluicegate_intents", "sluicegate_owners"):
                connection.execute(sqlalchemy.text(f"DROP TABLE IF EXISTS {table}"))
        engine.dispose()
        return GIVEN
    return f"{request.param}:///{tmp_path}/store.db"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = open_store(url)
    opened.open()
    for owner in ("a", "b"):
        opened.beat(owner, 1000, 5)
    yield opened
    opened.close()


def intend(store: Store, owner: str, command_id: str = "c-1", receipt: bytes | None = None) -> object:
    return store.exchange(owner, {}, [Intent(command_id, DEADLINE_MS, receipt)])[1][command_id]


def finish(store: Store, owner: str, receipt: bytes, command_id: str = "c-1") -> bytes:
    return store.exchange(owner, {command_id: receipt}, [])[0][command_id]


def test_an_intent_is_new_once_and_then_somebodys(store: Store) -> None:
    assert intend(store, "a") == New()
    assert intend(store, "b") == Acting("a", 0, 1000)
    store.beat("a", 1000, 6)
    assert intend(store, "b") == Acting("a", 1, 1000)


def test_a_write_that_is_repeated_because_its_answer_was_lost_says_the_same(store: Store) -> None:
    assert intend(store, "a") == New()
    assert intend(store, "a") == New()
    assert finish(store, "a", b"done") == b"done"
    assert finish(store, "a", b"done") == b"done"


def test_a_result_stands_for_ever_byte_for_byte(store: Store) -> None:
    receipt = '{"detail":"\u00e4\\u0000 \U0001f600"}'.encode()
    intend(store, "a")
    assert finish(store, "a", receipt) == receipt
    assert finish(store, "a", b"another") == receipt
    assert intend(store, "b") == intend(store, "a") == Done(receipt)


def test_what_is_answered_without_acting_is_done_at_once_unless_somebody_acts(store: Store) -> None:
    assert intend(store, "a", "c-1", b"expired") == Done(b"expired")
    assert intend(store, "b", "c-1", b"expired later") == Done(b"expired")
    assert intend(store, "a", "c-2") == New()
    assert intend(store, "b", "c-2", b"expired") == Acting("a", 0, 1000)


def test_nobody_finishes_what_is_not_theirs(store: Store) -> None:
    intend(store, "a")
    finish(store, "b", b"mine")
    assert store.look("b", ["c-1"]) == {"c-1": Acting("a", 0, 1000)}


def test_who_stood_still_is_given_up_and_what_it_says_later_changes_nothing(store: Store) -> None:
    intend(store, "a")
    acting = store.look("b", ["c-1"])["c-1"]
    assert isinstance(acting, Acting)
    store.abandon("c-1", acting, b"unknown")
    assert store.look("b", ["c-1"]) == {"c-1": Done(b"unknown")}
    assert finish(store, "a", b"executed") == b"unknown"
    store.abandon("c-1", acting, b"unknown again")
    assert intend(store, "a") == Done(b"unknown")


def test_who_was_heard_of_or_has_finished_is_not_given_up(store: Store) -> None:
    intend(store, "a")
    seen = store.look("b", ["c-1"])["c-1"]
    assert isinstance(seen, Acting)
    store.beat("a", 1000, 7)
    store.abandon("c-1", seen, b"unknown")
    assert store.look("b", ["c-1"]) == {"c-1": Acting("a", 1, 1000)}
    finish(store, "a", b"executed")
    store.abandon("c-1", Acting("a", 1, 1000), b"unknown")
    assert intend(store, "b") == Done(b"executed")


def test_an_owner_nobody_knows_any_more_can_be_given_up_at_once(store: Store) -> None:
    intend(store, "gone")
    assert store.look("a", ["c-1"]) == {"c-1": Acting("gone", -1, 0)}
    store.abandon("c-1", Acting("gone", -1, 0), b"unknown")
    assert store.look("a", ["c-1"]) == {"c-1": Done(b"unknown")}


def test_many_are_written_together_and_answered_each(store: Store) -> None:
    ids = [f"c-{number}" for number in range(500)]
    _, standings = store.exchange("a", {}, [Intent(one, DEADLINE_MS) for one in ids])
    assert standings == dict.fromkeys(ids, New())
    more = [Intent(one, DEADLINE_MS) for one in ("c-1", "c-new")]
    stands, standings = store.exchange("a", {one: one.encode() for one in ids}, more)
    assert stands == {one: one.encode() for one in ids}
    assert standings == {"c-1": Done(b"c-1"), "c-new": New()}
    assert store.exchange("a", {}, []) == ({}, {})
    assert store.look("a", ["never"]) == {}


def test_what_is_long_past_is_forgotten_and_owners_with_it(store: Store) -> None:
    store.exchange("a", {}, [Intent("c-old", 10), Intent("c-new", 30)])
    assert store.prune(20) == 1
    assert store.look("b", ["c-old", "c-new"]) == {"c-new": Acting("a", 0, 1000)}  # `b` has no intents: forgotten
    assert finish(store, "a", b"late", "c-old") == b"late"
    store.beat("b", 1000, 50)
    intend(store, "b", "c-b")
    assert store.look("a", ["c-b"]) == {"c-b": Acting("b", 0, 1000)}


def test_it_is_there_after_it_was_closed_and_opened_anew(url: str) -> None:
    for expected in (New(), Acting("a", 0, 1000)):
        store = open_store(url)
        store.open()
        if expected == New():
            store.beat("a", 1000, 5)
        assert intend(store, "a" if expected == New() else "b") == expected
        store.close()
        store.close()


def test_of_many_instances_exactly_one_gets_each_intent(url: str) -> None:
    ids = [f"c-{number}" for number in range(60)]
    new: list[str] = []

    def instance(owner: str) -> None:
        store = open_store(url)
        store.open()
        store.beat(owner, 1000, 5)
        for start in range(0, 60, 10):
            _, standings = store.exchange(owner, {}, [Intent(one, DEADLINE_MS) for one in ids[start : start + 10]])
            new.extend(one for one, standing in standings.items() if standing == New())
        store.close()

    threads = [threading.Thread(target=instance, args=(f"o{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(new) == sorted(ids)


def test_what_fails_within_a_transaction_leaves_nothing(store: Store) -> None:
    missing = Intent("c-2", None)  # type: ignore[arg-type]  # what the table refuses
    with pytest.raises(StoreTrouble):
        store.exchange("a", {}, [Intent("c-1", DEADLINE_MS), missing])
    assert store.look("b", ["c-1", "c-2"]) == {}
    assert intend(store, "a") == New(), "and it works again"


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_opened_says_so(kind: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database, but long enough to be taken for one" * 50)
    for place in (tmp_path / "no" / "folder.db", tmp_path / "text"):
        store = open_store(f"{kind}:///{place}")
        with pytest.raises(StoreTrouble, match=r"unable to open|not a database"):
            store.open()
        store.close()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("acted.db", "is no URL"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("sqlite+pysqlite:///", "in memory"),
        ("sqlite:///a.db?mode=ro", "has options"),
        ("nosuchkind://host/name", "nosuchkind"),
    ],
)
def test_a_bad_url_is_refused(url: str, says: str) -> None:
    with pytest.raises(KitError, match=says):
        open_store(url)


def test_without_sqlalchemy_the_extra_is_named() -> None:
    program = """
import sys; sys.modules["sqlalchemy"] = None
import sluicegate_kit
try: sluicegate_kit.open_store("postgresql://host/name")
except sluicegate_kit.KitError as error: print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(Path(__file__).parents[2] / "deploy/clients/python")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "install sluicegate-kit[sql]" in done.stdout
