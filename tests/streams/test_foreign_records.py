"""Whatever stands on a topic, each of its readers takes it: as what it is, or as data that says why it is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import msgspec
import orjson
import pytest
from aiokafka import TopicPartition
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agents.exposure import demands
from schemas.common import Source
from schemas.examples import EXAMPLES
from schemas.examples_policies import CURRENT
from schemas.lease import Account, Demand, Lease, demand_key, lease_key
from streams.allowance import Allowances
from streams.batch import Fetched, Refused
from streams.context import ContextView
from streams.document import read_document
from streams.glance import glance
from streams.headers import DEFAULTS
from streams.ingest import read
from streams.reevaluation import pending, question, sent_exception, sent_successor, successor
from streams.requests import Ended
from streams.review_later import Commanded
from streams.rulebook import Compiler, Rulebook
from streams.runtime.leases import Leases
from streams.runtime.living import Workers
from streams.runtime.settings import Kafka
from streams.runtime.store import facts
from tests.streams.making import NOW_MS
from tests.streams.reviewing import Desk, records
from tests.streams.test_reevaluation import POLICIES, answer, asked

ACCOUNT = Account(id="0" * 32, workflow="billing", limit="hourly", window_ms=3_600_000, window_start_ms=NOW_MS)
DEMAND = Demand(account=ACCOUNT, partition=0, held=0, needed=1, at_ms=NOW_MS)
LEASE = Lease(account=ACCOUNT, partition=0, total=5, left=5, at_most=100, at_ms=NOW_MS)
TAILED = TopicPartition("t.workers", 0)
WRITTEN = {name: msgspec.json.encode(one) for name, one in EXAMPLES.items()}
WRITTEN |= {"demand": msgspec.json.encode(DEMAND), "lease": msgspec.json.encode(LEASE)}
NASTIES = [
    b"",
    b"null",
    b"\xff\xfe\x00",
    b"\xef\xbb\xbf{}",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"state":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"action":"\xff"}',
    b'{"\xff":1}',
    b'"\\ud800"',
    b'{"at_ms":' + b"9" * 5_000 + b"}",
    b'{"at_ms":1e999}',
    b"9" * 500_000,
]


class _Record:
    def __init__(self, key: bytes | None, value: bytes | None) -> None:
        self.key, self.value, self.headers, self.offset, self.timestamp = key, value, (), 7, NOW_MS


def _batch(source: Any, key: bytes | None, value: bytes | None) -> Fetched:
    return replace(records(source, b"", at=7), keys=[key], values=[value], headers=None)


def _reviews(source: Any) -> Callable[[bytes | None, bytes | None], object]:
    def take(key: bytes | None, value: bytes | None) -> object:
        desk = Desk()
        desk.currents = {"billing": CURRENT}
        found = desk.step(_batch(source, key, value))
        desk.now_ms += 600_000_000  # and what the clock makes of it
        return [*found, *desk.step()]

    return take


def _reevaluations(key: bytes | None, value: bytes | None) -> object:
    batch = _batch("reevaluations", key, value)
    found = pending(batch, 0, POLICIES, NOW_MS)
    if isinstance(found, Ended):
        return sent_exception(batch, 0, found, POLICIES, NOW_MS, DEFAULTS)
    question(found, None, NOW_MS)
    made = successor(found, answer(), 42, NOW_MS)
    if isinstance(made, Refused):
        return sent_exception(batch, 0, found.ended(made), POLICIES, NOW_MS, DEFAULTS)
    return sent_successor(found, made, DEFAULTS)


def _policies(key: bytes | None, value: bytes | None) -> object:
    book = Rulebook()
    for name in (key, b"policy/billing@3", b"current/billing", b"halt/*/*/*/*", b"recall/c-1", b"preapproval/night"):
        book.take(7, name, value)
    return Compiler().snapshot(book.edition())


def _leases(key: bytes | None, value: bytes | None) -> object:
    leases = Leases(Kafka("b:1", "t."), 2, lambda: NOW_MS)
    leases._take(TAILED, [_Record(key, value), _Record(lease_key("0" * 32, 0).encode(), value)])
    return leases


def _commands(key: bytes | None, value: bytes | None) -> object:
    commanded = Commanded(frozenset({"billing"}))
    commanded.take(Source("t.commands", 0, 7), value)
    return commanded


def _facts(key: bytes | None, value: bytes | None) -> object:
    return [facts.fact_of(facts.Read(topic, "t.", 0, 7, NOW_MS, value)) for topic in facts.TOPICS]


TAKERS: dict[str, Callable[[bytes | None, bytes | None], object]] = {
    "decisions": lambda key, value: read(value, "decisions"),
    "successors": lambda key, value: read(value, "successors"),
    "a glance": lambda key, value: glance(_batch("decisions", key, value), 0),
    "context": lambda key, value: ContextView(frozenset({"rate_card"}), keep_state=True).apply(key, value),
    "receipts": lambda key, value: Allowances(()).add(value, NOW_MS),
    "policies": _policies,
    "a document": lambda key, value: read_document(value),
    "reviews": _reviews("reviews"),
    "verdicts": _reviews("verdicts"),
    "reevaluations": _reevaluations,
    "an evaluator": lambda key, value: successor(asked(), value or b"", 42, NOW_MS),
    "commands": _commands,
    "demands": lambda key, value: demands([_batch("workers", demand_key(0, "0" * 32).encode(), value)]),
    "leases": _leases,
    "heartbeats": lambda key, value: Workers().take(value, NOW_MS),
    "the store": _facts,
}


@pytest.mark.parametrize("taker", TAKERS)
def test_no_reader_raises_on_what_is_no_record(taker: str) -> None:
    for nasty in (None, *NASTIES):
        TAKERS[taker](b"acct-17", nasty)
        TAKERS[taker](nasty, b"{}")


def _pieces(fields: Any) -> list[tuple[str | int, ...]]:
    found: list[tuple[str | int, ...]] = []
    if isinstance(fields, (dict, list)):
        for name, inner in fields.items() if isinstance(fields, dict) else enumerate(fields):
            found += [(name,), *((name, *path) for path in _pieces(inner))]
    return found


def _replaced(fields: Any, path: tuple[str | int, ...], value: Any) -> Any:
    inner = cast(Any, fields)
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return fields


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**64), 2**64),
    st.sampled_from([10**30, -(10**30), 253_402_300_800_000, 2**53, 2**63, 0.5, -1, 1e300]),
    st.text(max_size=5),
    st.sampled_from(["\x00", "x" * 100_000, "é" * 300, "@", "billing@", "billing@x", "~"]),
    st.lists(st.integers(), max_size=2),
    st.just({}),
)


@settings(max_examples=60, deadline=None)
@given(st.data())
@pytest.mark.parametrize("family", sorted(WRITTEN))
def test_no_reader_raises_on_a_record_with_an_odd_field(family: str, data: st.DataObject) -> None:
    fields = orjson.loads(WRITTEN[family])
    path = data.draw(st.sampled_from(_pieces(fields)))
    value = msgspec.json.encode(_replaced(fields, path, data.draw(ODD)))
    key = data.draw(st.sampled_from([b"acct-17", b"", b"\xff", b"k" * 1_000, None]))
    for taker in TAKERS.values():
        taker(key, value)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(WRITTEN)), st.integers(0, 3_000), st.binary(max_size=4))
@example("review", 20, b"\xff")
def test_no_reader_raises_on_a_record_with_foreign_bytes_in_it(family: str, at: int, strange: bytes) -> None:
    written = WRITTEN[family]
    at %= len(written)
    for taker in TAKERS.values():
        taker(b"acct-17", written[:at] + strange + written[at + len(strange) :])


def test_a_review_that_nobody_could_act_on_is_refused_when_it_comes() -> None:
    """Open, it would end the role at its deadline, or with the next change of policy, again and again."""
    odd: list[dict[str, Any]] = [{"decision": {}}, {"policy": "mine"}, {"deadline_ms": 10**18}, {"entity": "e" * 900}]
    for wrong in odd:
        told = Desk().step(_batch("reviews", b"e", orjson.dumps(orjson.loads(WRITTEN["review"]) | wrong)))
        assert [(one["output"], one["reason"]) for one in told] == [("rejections", "invalid.schema")], wrong
