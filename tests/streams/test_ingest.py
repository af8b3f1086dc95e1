"""Ingest: bytes in, a decision or the one reason why it is none."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from schemas.common import VALUE_BYTES_MAX
from schemas.decision import Decision, Successor
from schemas.identifiers import root_digest
from streams.batch import Fetched, Refused
from streams.ingest import ingest, read, refusal
from streams.partitioning import Home
from tests.corpus.cases import CASES, Case
from tests.streams.making import BILLING, NOW_MS, decided, decision, encoded, fetched, only, successor

POLICIES = {"billing": BILLING}


# what can be read, and is refused for what it says
CARRIED = {"invalid.key", "invalid.time", "invalid.unknown_workflow", "invalid.future"}


def refused(batch: Fetched) -> str | None:
    (row,) = ingest([batch], NOW_MS, POLICIES)
    return row.refused.reason if row.refused else None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_corpus_gets_the_reasons_that_it_names(case: Case) -> None:
    batch = fetched([case.at(NOW_MS)], [case.key], source=case.input)
    assert refused(batch) == case.reason
    record = only(decided(batch))
    if case.reason:
        assert (record["reason"], record["stage"], record["age_ms"]) == (case.reason, "ingest", None)
        assert (record["decision"] is not None) == (case.reason in CARRIED)


def test_what_can_be_read_is_carried_whole_so_that_it_can_be_sent_again() -> None:
    """A large decision that only its workflow's policy is missing for is not cut as unreadable input is."""
    note = "x" * 100_000
    value = b'{"id":"d-1","workflow":"nobody","entity":"acct-1","action":{},"observed_at_ms":%d,"note":"%s"}' % (
        NOW_MS,
        note.encode(),
    )
    record = only(decided(fetched([value], [b"acct-1"])))
    assert record["reason"] == "invalid.unknown_workflow"
    assert (record["decision"]["note"], record["raw"], record["decision_id"]) == (note, None, "d-1")


@pytest.mark.parametrize("model", ["gpt:4", "https://models/rater:7"])
def test_a_colon_in_a_string_does_not_send_a_record_down_the_slow_road(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.ingest.examine", lambda value: pytest.fail("examined"))
    value = b'{"id":"d:1","workflow":"b","entity":"a","action":{"t":"1:2"},"observed_at_ms":1,"attributes":{"m":"%s"}}'
    assert not isinstance(read(value % model.encode(), "decisions"), Refused)


@pytest.mark.parametrize("where", ['"attributes":{"a":%s}', '"action":%s', '"action":{"a":%s},"b":1', '"c":%s'])
def test_nothing_is_nested_deeper_than_the_contract_allows_wherever_it_stands(where: str) -> None:
    inside = where.partition("%s")[0].count("{") + 1
    for depth, reason in ((64, None), (65, "invalid.json")):
        nested = "[" * (depth - inside) + "]" * (depth - inside)
        fields = f'"id":"d-1","workflow":"billing","entity":"acct-17","observed_at_ms":{NOW_MS},'
        value = "{" + fields + ('"action":{},' if "action" not in where else "") + where % nested + "}"
        assert refused(fetched([value.encode()], [b"acct-17"])) == reason


def test_the_corpus_has_every_reason_of_ingest_and_names_of_its_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert {case.reason for case in CASES} == {
        None,
        *(f"invalid.{reason}" for reason in ("empty", "oversized", "encoding", "json", "schema", "key", "time")),
        "invalid.unknown_workflow",
        "invalid.future",
    }


def test_the_first_that_applies_is_the_reason() -> None:
    """One record with every fault there is; mended one by one, it shows each reason in CONTRACT's order."""
    fields = b'{"id":"d-1","workflow":%s,"entity":"acct-17","action":{},"observed_at_ms":%s,"note":%s,"id":%s}'
    future = b"%d" % (NOW_MS + 10_000)
    bad = b'"\xff'
    once = fields.replace(b',"id":%s', b"")
    steps: list[tuple[bytes | None, bytes | None, str | None]] = [
        (None, None, "invalid.empty"),
        (fields % (b'"w"', b"-1", bad + b"x" * VALUE_BYTES_MAX, b"1"), None, "invalid.oversized"),
        (fields % (b'"w"', b"-1", bad, b"1"), None, "invalid.encoding"),
        (fields % (b'"w"', b"-1", b"NaN", b"1"), None, "invalid.json"),
        (fields % (b'"w"', b"-1", b"0", b'"d-1"'), None, "invalid.schema"),
        (once % (b'"w"', b"-1", b"0"), None, "invalid.key"),
        (once % (b'"w"', b"-1", b"0"), b"acct-17", "invalid.time"),
        (once % (b'"w"', future, b"0"), b"acct-17", "invalid.unknown_workflow"),
        (once % (b'"billing"', future, b"0"), b"acct-17", "invalid.future"),
        (once % (b'"billing"', b"%d" % NOW_MS, b"0"), b"acct-17", None),
    ]
    assert [refused(fetched([value], [key])) for value, key, _ in steps] == [reason for _, _, reason in steps]


@pytest.mark.parametrize(("ahead_ms", "reason"), [(2_000, None), (2_001, "invalid.future")])
def test_an_observation_within_the_skew_tolerance_is_no_future(ahead_ms: int, reason: str | None) -> None:
    assert refused(fetched([decision(observed_at_ms=NOW_MS + ahead_ms)], broker_ms=NOW_MS)) == reason


def test_rows_keep_the_order_of_all_batches() -> None:
    batches = [
        fetched([decision(1), b"bad", decision(2)], first_offset=5),
        fetched([successor("r-1")], source="successors", first_offset=90),
    ]
    rows = ingest(batches, NOW_MS, POLICIES)
    assert [(row.fetched.input, row.offset, row.refused is None) for row in rows] == [
        ("decisions", 5, True),
        ("decisions", 6, False),
        ("decisions", 7, True),
        ("successors", 90, True),
    ]


def test_the_root_of_a_decision_is_itself_and_of_a_successor_its_first_attempt() -> None:
    (first,) = ingest([fetched([decision(1)])], NOW_MS, POLICIES)
    (second,) = ingest([fetched([successor("d-1")], source="successors")], NOW_MS, POLICIES)
    assert first.root == first.digest == second.root == root_digest("d-1")
    assert second.digest == root_digest("d-1~2")


def test_read_gives_the_fields_typed_and_the_action_as_it_came() -> None:
    value = b'{"id":"d","workflow":"w","entity":"e","observed_at_ms":7,"action": [1.10, 1e2 ,"\\u00e9"] }'
    found = read(value, "decisions")
    assert isinstance(found, Decision)
    assert (found.id, found.observed_at_ms, bytes(found.action)) == ("d", 7, b'[1.10, 1e2 ,"\\u00e9"]')
    assert isinstance(read(encoded(successor()), "successors"), Successor)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"observed_at_ms": "x"}, "observed_at_ms: expected int, got str"),
        ({"workflow": ...}, "workflow: missing"),
        ({"confidence": 7}, "confidence: expected float <= 1.0"),
        ({"attempt": 2}, "attempt: only Sluicegate itself says what a decision descends from"),
        ({"id": "a~2"}, "id: it may not hold a ~, which marks successors"),
    ],
)
def test_the_detail_of_a_schema_fault_names_the_field(change: dict[str, Any], sentence: str) -> None:
    assert read(encoded(decision(**change)), "decisions") == Refused("invalid.schema", sentence)


def test_a_value_that_is_no_object_is_told_as_such() -> None:
    assert read(b"[]", "decisions") == Refused("invalid.schema", "the value is JSON but no object")
    assert read(b"{}", "decisions") == Refused("invalid.schema", "id: missing")


def test_senders_learn_the_same_reasons_but_for_key_workflow_and_future() -> None:
    assert refusal(encoded(decision(workflow="nobody", observed_at_ms=NOW_MS * 2))) is None
    assert refusal(encoded(decision(observed_at_ms=-1))) == (
        "invalid.time",
        "observed_at_ms: outside 0 ... 253402300799999",
    )
    assert refusal(b"") == ("invalid.empty", "the value is empty")


def test_a_fetched_batch_has_the_length_of_its_columns() -> None:
    batch = fetched([decision(1), decision(2)])
    assert len(batch) == 2
    assert len(dataclasses.replace(batch, offsets=[])) == 0


def test_the_brokers_time_bounds_what_a_producer_may_claim() -> None:
    """It waited ten minutes in the topic; what it claims to have seen five minutes ago it cannot have seen."""
    claimed = decision(observed_at_ms=NOW_MS - 300_000)
    assert refused(fetched([claimed], broker_ms=NOW_MS - 600_000)) == "invalid.future"
    assert refused(fetched([claimed], broker_ms=NOW_MS - 300_000 - 2_000)) is None
    assert refused(fetched([claimed], broker_ms=NOW_MS - 600_000, broker_time=False)) is None


def test_a_key_that_belongs_to_another_partition_is_refused_with_the_cure_for_the_client() -> None:
    """Java's murmur2 puts acct-17 into partition 0 of 4, and acct-2 into 3; librdkafka's default does not."""
    batch = fetched([decision(1), decision(2, entity="acct-2"), decision(3, observed_at_ms=-1)])
    first, second, third = ingest([batch], NOW_MS, POLICIES, Home(3, 4))
    assert first.refused is not None and first.refused.reason == "invalid.key"
    told = first.refused.detail
    assert "its key belongs to partition 0 of 4 (Java's murmur2), and it came to partition 3" in told
    for family in ("partitioner=murmur2_random", "kafka-go", "KafkaJS", "ruby-kafka"):
        assert family in told
    assert second.refused is None
    assert third.refused is not None and third.refused.reason == "invalid.key", "key before time"


def test_a_key_that_is_not_the_entity_is_told_as_such_wherever_it_came() -> None:
    (row,) = ingest([fetched([decision(1)], [b"acct-18"])], NOW_MS, POLICIES, Home(3, 4))
    assert row.refused == Refused("invalid.key", "the record's key is not the entity")


def test_successors_keep_to_the_partition_of_their_key_too() -> None:
    (row,) = ingest([fetched([successor()], source="successors")], NOW_MS, POLICIES, Home(3, 4))
    assert row.refused is not None and row.refused.reason == "invalid.key"
