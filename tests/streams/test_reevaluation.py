"""From a request to its answer: what an evaluator says becomes a successor, or a reason, never anything else."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import msgspec
import orjson
import pytest

from schemas.decision import Successor
from schemas.exception import ExceptionRecord
from schemas.reevaluation import PresentContext, Question
from streams.batch import Fetched, Refused
from streams.headers import DEFAULTS
from streams.reevaluation import Pending, pending, question, sent_exception, sent_successor, successor
from streams.requests import Ended
from tests.streams.making import NOW_MS, SMALL_AND_SURE, decided, decision, fetched, outcomes, policy
from tests.streams.making import successor as made_again

RATER = {"url": "http://127.0.0.1:9/rate"}
BILLING = policy([SMALL_AND_SURE], evaluator=RATER, budget="10m", total="30m", on_stale="reevaluate")
POLICIES = {"billing": BILLING}
OBSERVED_MS = NOW_MS - 700_000


def requests(fields: dict[str, Any] | None = None, source: Any = "decisions") -> Fetched:
    """What the gate sends to be asked again, as the re-evaluator reads it."""
    stale = fields or decision(observed_at_ms=OBSERVED_MS, segment="fleet-2", proposer="rating")
    found = decided(fetched([stale], source=source, broker_ms=NOW_MS), [BILLING])
    assert [sent.output for sent in found.records] == ["reevaluations"]
    return Fetched(
        "t.reevaluations",
        "reevaluations",
        2,
        [7],
        [NOW_MS],
        [found.records[0].key],
        [found.records[0].value],
        True,
        NOW_MS,
        [[("traceparent", b"00-1-2-01"), ("other", b"x")]],
    )


def asked(fields: dict[str, Any] | None = None, source: Any = "decisions") -> Pending:
    found = pending(requests(fields, source), 0, POLICIES, NOW_MS)
    assert isinstance(found, Pending), found
    return found


def answer(**fields: Any) -> bytes:
    whole = {"action": {"type": "invoice.post", "amount": 13}, "observed_at_ms": NOW_MS - 10, **fields}
    return json.dumps({name: value for name, value in whole.items() if value is not ...}).encode()


def answered(said: bytes, now_ms: int = NOW_MS) -> Successor | Refused:
    return successor(asked(), said, 42, now_ms)


def test_a_question_shows_the_decision_and_the_present_context() -> None:
    context = PresentContext(42, NOW_MS - 5, msgspec.Raw(b'{"rate_card":"2019-02"}'))
    body = msgspec.json.decode(question(asked(), context, NOW_MS + 2_000), type=Question)
    assert (body.id, body.root_id, body.attempt, body.reason) == ("d-1~2", "d-1", 2, "stale.age")
    assert (body.deadline_ms, body.final_deadline_ms) == (NOW_MS + 2_000, OBSERVED_MS + 1_800_000)
    assert orjson.loads(bytes(body.decision))["segment"] == "fleet-2"
    assert body.context == context


def test_an_answer_becomes_a_successor_that_the_gate_takes() -> None:
    said = answer(confidence=0.9, value_minor=1_300, currency="USD", reversible=True)
    made = answered(said)
    assert isinstance(made, Successor), made
    assert (made.id, made.root_id, made.attempt, made.cause) == ("d-1~2", "d-1", 2, "stale.age")
    assert (made.first_observed_at_ms, made.final_deadline_ms) == (OBSERVED_MS, OBSERVED_MS + 1_800_000)
    assert (made.context_version, made.segment, made.proposer) == (42, "fleet-2", "rating")
    assert made.caused_by is not None and made.source is not None
    assert (made.caused_by.topic, made.caused_by.offset, made.source.topic) == ("t.reevaluations", 7, "t.decisions")
    sent = sent_successor(asked(), made, DEFAULTS)
    assert ("traceparent", b"00-1-2-01") in sent.headers
    assert "other" not in dict(sent.headers)
    fields = json.loads(sent.value)
    assert outcomes(decided(fetched([fields], source="successors"), [BILLING])) == ["commands"]


def test_the_action_travels_byte_for_byte() -> None:
    said = b'{"observed_at_ms":%d,"action":{"type":"invoice.post", "amount": 1.10}}' % NOW_MS
    made = answered(said)
    assert isinstance(made, Successor), made
    assert bytes(made.action) == b'{"type":"invoice.post", "amount": 1.10}'


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"", "cannot be read"),
        (b"null", "cannot be read"),
        (b"[]", "cannot be read"),
        (b"{", "cannot be read"),
        (b'{"action": {}', "cannot be read"),
        (b"{}", "no action, or no observed_at_ms"),
        (answer(action=...), "no action"),
        (answer(observed_at_ms=...), "no observed_at_ms"),
        (answer(observed_at_ms="now"), "cannot be read"),
        (answer(id="d-2~2"), "about the id 'd-2~2'"),
        (answer(entity="acct-18"), "about the entity"),
        (answer(workflow="payout"), "about the workflow"),
        (answer(observed_at_ms=OBSERVED_MS), "not later"),
        (answer(observed_at_ms=OBSERVED_MS - 1), "not later"),
        (answer(observed_at_ms=NOW_MS + 2_001), "2001 ms in the future"),
        (answer(action={"type": "invoice.void"}), "the action type 'invoice.void'"),
        (answer(action={"amount": 1}), "the action type None"),
        (answer(confidence=1.5), "cannot be read"),
        (answer(currency="DOLLAR"), "cannot be read"),
        (answer(action={"type": "invoice.post", "n": 10**300}), "would not stand"),
        (b'{"observed_at_ms":%d,"action":{"type":"invoice.post","n":NaN}}' % NOW_MS, "cannot be read"),
        (b'{"observed_at_ms":%d,"action":{"type":"invoice.post","t":"\\ud800"}}' % NOW_MS, ""),
        (b'{"observed_at_ms":%d,"action":{"type":"invoice.post","type":"x"}}' % NOW_MS, ""),
        (b'{"observed_at_ms":%d,"action":%s}' % (NOW_MS, b"[" * 70 + b"]" * 70), ""),
        (answer(note="x" * 300_000), "at most 262144 are read"),
        (answer(decline="the ride was voided"), "declines: the ride was voided"),
    ],
)
def test_whatever_else_it_says_is_a_reason(said: bytes, told: str) -> None:
    found = answered(said)
    assert isinstance(found, Refused), found
    assert found.reason == "reevaluation.failed"
    assert told in found.detail


def test_an_answer_at_the_final_deadline_is_too_late() -> None:
    final_ms = OBSERVED_MS + 1_800_000
    late = successor(asked(), answer(), None, final_ms)
    assert isinstance(late, Refused)
    assert late.reason == "reevaluation.timeout"
    assert isinstance(successor(asked(), answer(), None, final_ms - 1), Successor)


def test_nobody_is_asked_in_vain() -> None:
    final_ms = OBSERVED_MS + 1_800_000
    for policies, now_ms, reason in (
        (POLICIES, final_ms, "reevaluation.timeout"),
        ({}, NOW_MS, "reevaluation.failed"),
        ({"billing": policy([SMALL_AND_SURE])}, NOW_MS, "reevaluation.failed"),
    ):
        found = pending(requests(), 0, policies, now_ms)
        assert isinstance(found, Ended)
        assert found.why.reason == reason
    first = {"attempt": 1, "observed_at_ms": 1, "gated_at_ms": 2, "reason": "stale.age", "policy": "billing@3"}
    second = made_again(observed_at_ms=OBSERVED_MS, final_deadline_ms=NOW_MS + 9_000, attempts=[first])
    lowered = policy([SMALL_AND_SURE], evaluator=RATER, max_attempts=2)
    found = pending(requests(second, "successors"), 0, {"billing": lowered}, NOW_MS)
    assert isinstance(found, Ended)
    assert found.why.reason == "reevaluation.exhausted"


def test_an_ending_tells_the_whole_history() -> None:
    refused = Refused("reevaluation.failed", "the evaluator is away")
    sent, workflow = sent_exception(requests(), 0, asked().ended(refused), POLICIES, NOW_MS, DEFAULTS)
    record = json.loads(sent.value)
    assert (sent.output, workflow, record["kind"], record["stage"]) == (
        "exceptions",
        "billing",
        "followup",
        "reevaluation",
    )
    assert (record["reason"], record["first_reason"], record["attempt"]) == ("reevaluation.failed", "stale.age", 1)
    assert record["caused_by"] == {"topic": "t.reevaluations", "partition": 2, "offset": 7}
    assert record["source"]["topic"] == "t.decisions"
    assert [one["reason"] for one in record["trace"]] == ["stale.age"]
    assert record["decision"]["id"] == "d-1"
    assert dict(sent.headers)["__dlq.errors.topic"] == b"t.decisions"


def changed(**fields: Any) -> bytes:
    """The request with other fields; `...` takes one away."""
    whole = {**json.loads(requests().values[0] or b""), **fields}
    return json.dumps({name: value for name, value in whole.items() if value is not ...}).encode()


FOREIGN = [
    (None, "invalid.empty"),
    (b"", "invalid.empty"),
    (b"{", "invalid.json"),
    (b"garbage", "invalid.json"),
    (b"\xff\xfe", "invalid.encoding"),
    (changed(detail="x").replace(b'"x"', b'"\\ud800"'), "invalid.encoding"),
    (changed(decision={"id": "d"}).replace(b'{"id": "d"}', b'{"id": "\xff"}'), "invalid.encoding"),
    (b"[" * 100_000 + b"]" * 100_000, "invalid.json"),
    (b"[]", "invalid.schema"),
    (b"{}", "invalid.schema"),
    (json.dumps(decision()).encode(), "invalid.schema"),
    (changed(decision=None), "invalid.schema"),
    (changed(decision="d-1"), "invalid.schema"),
    (changed(decision={"id": "d-1"}), "invalid.schema"),
    (changed(attempts=[]), "invalid.schema"),
    (changed(kind="audit_sample"), "invalid.schema"),
    (changed(final_deadline_ms=10**30), "invalid.schema"),
    (changed(final_deadline_ms=-1), "invalid.schema"),
    (changed(attempt=2**70), "invalid.schema"),
    (changed(decision=decision(observed_at_ms=10**18)), "invalid.schema"),
]


@pytest.mark.parametrize(("value", "reason"), FOREIGN, ids=range(len(FOREIGN)))
def test_a_record_that_is_no_request_ends_and_names_its_own_place(value: bytes | None, reason: str) -> None:
    batch = replace(requests(), values=[value], keys=[b"\xff"])
    ended = pending(batch, 0, POLICIES, NOW_MS)
    assert isinstance(ended, Ended)
    assert (ended.why.reason, ended.request) == (reason, None)
    sent, workflow = sent_exception(batch, 0, ended, POLICIES, NOW_MS, DEFAULTS)
    assert (sent.output, sent.key, workflow) == ("exceptions", b"\xff", "")
    told = msgspec.json.decode(sent.value, type=ExceptionRecord)
    assert (told.kind, told.reason, told.stage, bytes(told.decision)) == ("followup", reason, "reevaluation", b"null")
    assert told.source == told.caused_by
    assert (told.source.topic, told.source.partition, told.source.offset) == ("t.reevaluations", 2, 7)
    assert (told.raw_sha256, told.raw_bytes) == (hashlib.sha256(value or b"").hexdigest(), len(value or b""))
    assert len(told.raw or told.raw_base64 or "") <= 65536 * 4 // 3
    assert dict(sent.headers)["__sluicegate.errors.reason"] == reason.encode()
    assert dict(sent.headers)["__dlq.errors.topic"] == b"t.reevaluations"


@pytest.mark.parametrize("field", list(json.loads(changed())))
@pytest.mark.parametrize("odd", [..., None, 0, -1, 2**63, 10**25, 1.5, "", "x" * 300, [], {}, True, "\x00"], ids=repr)
def test_whatever_stands_in_a_field_the_flow_goes_on(field: str, odd: Any) -> None:
    batch = replace(requests(), values=[changed(**{field: odd})])
    found = pending(batch, 0, POLICIES, NOW_MS)
    if isinstance(found, Pending):
        json.loads(question(found, None, NOW_MS + 1000))
        made = successor(found, answer(), 42, NOW_MS)
        if isinstance(made, Successor):
            json.loads(sent_successor(found, made, DEFAULTS).value)
        found = found.ended(Refused("reevaluation.failed", "the evaluator is away"))
    json.loads(sent_exception(batch, 0, found, POLICIES, NOW_MS, DEFAULTS)[0].value)


def test_a_request_of_a_later_step_is_answered_like_one_of_the_gate() -> None:
    """A review that was approved too late asks again, too: its answer names the request, and the decision's record."""
    review = {"topic": "t.reviews", "partition": 2, "offset": 3}
    batch = replace(requests(), values=[changed(kind="followup", caused_by=review, reason="review.outdated")])
    found = pending(batch, 0, POLICIES, NOW_MS)
    assert isinstance(found, Pending)
    made = successor(found, answer(), 42, NOW_MS)
    assert isinstance(made, Successor)
    assert made.source is not None
    assert (made.id, made.cause, made.source.topic) == ("d-1~2", "review.outdated", "t.decisions")
    assert made.caused_by == found.place
    sent, workflow = sent_exception(
        batch, 0, found.ended(Refused("reevaluation.failed", "away")), POLICIES, NOW_MS, DEFAULTS
    )
    told = msgspec.json.decode(sent.value, type=ExceptionRecord)
    assert (workflow, told.source.topic, told.caused_by) == ("billing", "t.decisions", found.place)
