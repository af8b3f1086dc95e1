"""Verdicts and the clock: what each makes of an open review, and what is refused and changes nothing."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from schemas.identifiers import action_digest
from schemas.published import Halt, Scope
from streams.context import ContextView
from streams.halts import Halts
from streams.review_keys import NO_KEYS
from streams.review_memory import ReviewMemory
from streams.reviews import HOLD_MS, Reviews
from streams.signatures import sign
from tests.streams.making import NOW_MS, encoded
from tests.streams.reviewing import (
    ASKING,
    DIGEST,
    EVALUATOR,
    KEYS,
    PLAIN,
    SECRET,
    Desk,
    gate,
    observed,
    policy,
    records,
    told,
    verdict,
)

ENDS_MS = NOW_MS - 1_000 + 600_000
FINAL_MS = NOW_MS - 1_000 + 1_200_000
NEW = {"type": "invoice.post", "amount": 7}
NEW_DIGEST = action_digest(orjson.dumps(NEW).replace(b":", b": ").replace(b",", b", "))


def test_an_approval_in_time_is_a_command_of_the_bytes_under_review() -> None:
    desk = Desk()
    review = desk.opens()
    desk.now_ms += 30_000
    (command,) = desk.says(verdict(review))
    assert command == {
        **command,
        "output": "commands",
        "kind": "followup",
        "authority": "reviewed",
        "review_id": review,
        "reason": "approved",
        "rule": "ask",
        "policy": "billing@3",
        "deadline_ms": ENDS_MS,
        "gated_at_ms": desk.now_ms,
        "age_ms": 31_000,
        "caused_by": {"topic": "t.verdicts", "partition": 2, "offset": desk.at},
        "source": {"topic": "t.decisions", "partition": 2, "offset": 1},
    }
    assert sum(command["stages_ms"].values()) == command["age_ms"]
    assert told(desk.says(verdict(review))) == ["verdict.ended"]


def test_a_rejection_ends_it() -> None:
    desk = Desk(policy(review={"quorum": 3}))
    review = desk.opens()
    (ended,) = desk.says(verdict(review, "reject", "bo", note="not ours"))
    assert (ended["reason"], ended["detail"]) == ("review.rejected", "bo rejects it: not ours")
    assert ended["kind"] == "followup"
    assert told(desk.says(verdict(review, by="cy"))) == ["verdict.ended"]


CLERKS = policy(
    review={
        "approvers": [
            {"role": "clerk", "value_minor_at_most": 1_000, "currency": "USD"},
            {"role": "controller", "value_minor_at_most": 5_000, "currency": "USD"},
        ]
    }
)


@pytest.mark.parametrize(
    ("under", "fields", "said", "reason"),
    [
        (PLAIN, {}, {"digest": "sha256:0"}, "verdict.digest"),
        (PLAIN, {"proposer": "ana"}, {}, "verdict.proposer"),
        (PLAIN, {"proposer": "ana"}, {"word": "reject"}, "verdict.proposer"),
        (PLAIN, {}, {"by": "zoe"}, "verdict.by"),
        (CLERKS, {}, {"by": "ana"}, "verdict.role"),
        (CLERKS, {}, {"by": "ana", "word": "reject"}, "verdict.role"),
        (CLERKS, {}, {"by": "eve"}, "verdict.role"),
        (CLERKS, {"value_minor": -6_000}, {"by": "bo"}, "verdict.role"),
        (CLERKS, {"currency": "EUR", "value_minor": 1}, {"by": "bo"}, "verdict.role"),
        (CLERKS, {"value_minor": ..., "currency": ...}, {"by": "bo"}, "verdict.role"),
        (PLAIN, {}, {"word": "perhaps"}, "invalid.schema"),
        (PLAIN, {}, {"word": "modify"}, "invalid.schema"),
        (PLAIN, {}, {"word": "modify", "action": {"type": "refund"}}, "verdict.boundary"),
        (CLERKS, {"value_minor": 900}, {"word": "modify", "action": NEW, "value_minor": 1_001}, "verdict.role"),
        (PLAIN, {}, {"word": "modify", "action": NEW, "currency": "USD"}, "invalid.schema"),
        (PLAIN, {}, {"word": "modify", "action": NEW, "observed_at_ms": NOW_MS - 1_000}, "invalid.schema"),
        (PLAIN, {}, {"word": "modify", "action": NEW, "observed_at_ms": NOW_MS + 9_000}, "invalid.schema"),
    ],
)
def test_what_does_not_fit_changes_nothing(
    under: Any, fields: dict[str, Any], said: dict[str, Any], reason: str
) -> None:
    desk = Desk(under)
    review = desk.opens(**fields)
    before = dict(desk.changelog)
    (refused,) = desk.says(verdict(review, **said))
    assert (refused["output"], refused["reason"]) == ("rejections", reason), refused
    assert refused["source"]["topic"] == "t.verdicts"
    assert desk.changelog == before


def test_what_is_not_signed_or_not_readable_is_refused() -> None:
    desk = Desk()
    review = desk.opens()
    value = verdict(review)
    other = sign("desk-1", b"another secret, as long", value)
    unknown = sign("desk-2", SECRET, value)
    for signature in (other, unknown, b"desk-1:00", b"\xff"):
        assert told(desk.says(value, signature=signature)) == ["verdict.unsigned"]
    assert told(desk.says(b"{")) == ["invalid.json"]
    assert told(desk.says(b"")) == ["invalid.json"]
    assert told(desk.says(b"[]")) == ["invalid.schema"]
    assert told(desk.says(b'"' + b"x" * 300_000 + b'"')) == ["invalid.oversized"]
    assert told(desk.says(value, key=b"acct-18")) == ["invalid.key"]
    assert told(desk.says(verdict(review))) == ["commands"]


def test_without_keys_every_verdict_is_unsigned() -> None:
    desk = Desk(keys=NO_KEYS)
    assert told(desk.says(verdict(desk.opens()))) == ["verdict.unsigned"]


def test_a_quorum_is_of_different_people() -> None:
    desk = Desk(policy(review={"quorum": 2}))
    review = desk.opens()
    (now,) = desk.says(verdict(review))
    assert (now["kind"], now["approvals"], now["decision"]["id"]) == ("followup", ["ana"], "d-1")
    assert told(desk.says(verdict(review))) == ["verdict.repeated"]
    assert told(desk.says(verdict(review, "reject"))) == ["verdict.repeated"]
    assert desk.step(records("reviews", encoded({k: v for k, v in now.items() if k != "output"}))) == []
    assert told(desk.says(verdict(review, by="bo"))) == ["commands"]


def test_an_approval_past_the_attempts_deadline_asks_again() -> None:
    desk = Desk(ASKING)
    review = desk.opens()
    desk.now_ms = ENDS_MS
    (request,) = desk.says(verdict(review))
    assert (request["output"], request["kind"], request["reason"]) == ("reevaluations", "followup", "stale.age")
    assert (request["root_id"], request["attempt"], request["final_deadline_ms"]) == ("d-1", 1, FINAL_MS)
    assert [one["reason"] for one in request["attempts"]] == ["stale.age"]


def test_at_its_deadline_it_has_expired_whatever_is_said_then() -> None:
    desk = Desk(ASKING)
    review = desk.opens()
    desk.now_ms = FINAL_MS
    assert told(desk.says(verdict(review))) == ["review.expired", "verdict.ended"]
    desk = Desk()
    review = desk.opens()
    desk.now_ms = ENDS_MS
    assert told(desk.says(verdict(review))) == ["review.expired", "verdict.ended"]


def test_timers_escalate_at_half_of_the_sla_and_end_it_after_all_of_it() -> None:
    desk = Desk(policy(review={"sla": "60s", "queue": "desk"}))
    review = desk.opens()
    assert desk.reviews.due_ms(desk.snapshot(), NOW_MS) == NOW_MS  # another snapshot: look at once
    desk.now_ms = NOW_MS + 29_999
    assert desk.step() == []
    desk.now_ms = NOW_MS + 30_000
    (now,) = desk.step()
    assert (now["escalated"], now["kind"], now["queue"], now["review_id"]) == (True, "followup", "desk", review)
    assert desk.step() == []
    desk.now_ms = NOW_MS + 60_000
    (ended,) = desk.step()
    assert (ended["reason"], ended["caused_by"]["topic"]) == ("review.expired", "t.reviews")
    assert desk.reviews.due_ms(desk.snapshot(), desk.now_ms) is None
    assert not [slot for slot in desk.changelog if slot.startswith("open/")]


def test_a_changed_context_or_a_new_block_asks_again_and_without_an_evaluator_ends_it() -> None:
    for evaluator, outcome in ((EVALUATOR, "stale.context"), (None, "review.outdated")):
        desk = Desk(policy(evaluator=evaluator))
        view = ContextView()
        desk.contexts = view
        view.apply(b"acct-17", encoded({"entity": "acct-17", "version": 4, "at_ms": 0, "state": {}}))
        review = desk.opens(context_version=4)
        desk.policy = policy(freshness={"context": "any"}, evaluator=evaluator)
        view.apply(b"acct-17", encoded({"entity": "acct-17", "version": 5, "at_ms": 0, "state": {}}))
        assert told(desk.says(verdict(review))) == [outcome]
        desk = Desk(policy(evaluator=evaluator))
        review = desk.opens()
        block = {"name": "no", "then": "block", "when": {"value_minor": {"over": 1_000, "currency": "USD"}}}
        desk.policy = policy(4, rules=[block], evaluator=evaluator)
        wanted = "boundary.blocked" if evaluator else outcome
        assert told(desk.says(verdict(review))) == [wanted]


def test_a_halt_refuses_approvals_and_the_review_stays() -> None:
    desk = Desk()
    review = desk.opens()
    desk.halts = Halts({Scope(workflow="billing"): Halt(True, "fire", "ops", NOW_MS)})
    assert told(desk.says(verdict(review))) == ["verdict.halted"]
    desk.halts = Halts({})
    assert told(desk.says(verdict(review))) == ["commands"]


def test_a_modification_is_another_action_approved_by_whoever_proposes_it() -> None:
    desk = Desk(policy(review={"quorum": 2}))
    review = desk.opens()
    desk.says(verdict(review, by="bo"))
    (now,) = desk.says(verdict(review, "modify", action=NEW, value_minor=700))
    assert (now["action_digest"], now["approvals"], now["decision"]["value_minor"]) == (NEW_DIGEST, ["ana"], 700)
    assert now["decision"]["action"] == NEW
    assert told(desk.says(verdict(review, by="bo"))) == ["verdict.digest"]
    (command,) = desk.says(verdict(review, by="bo", digest=NEW_DIGEST))
    assert (command["action"], command["value_minor"], command["currency"]) == (NEW, 700, "USD")


def test_a_modification_that_is_blocked_is_refused() -> None:
    block = {"name": "no", "then": "block", "when": {"value_minor": {"over": 2_000, "currency": "USD"}}}
    desk = Desk(policy(rules=[block]))
    review = desk.opens()
    assert told(desk.says(verdict(review, "modify", action=NEW, value_minor=2_001))) == ["verdict.boundary"]
    assert told(desk.says(verdict(review))) == ["commands"]


def test_what_is_stale_is_only_acted_on_after_a_modification_on_a_new_observation() -> None:
    under = policy(freshness={"on_stale": "escalate", "total": "20m"}, evaluator=EVALUATOR)
    desk = Desk(under)
    stale = {"observed_at_ms": NOW_MS - 700_000}
    review = desk.opens(**stale)
    assert told(desk.says(verdict(review, "modify", action=NEW))) == ["verdict.boundary"]
    old = verdict(review, "modify", action=NEW, observed_at_ms=NOW_MS - 650_000)
    assert told(desk.says(old)) == ["verdict.boundary"]
    (command,) = desk.says(verdict(review, "modify", action=NEW, observed_at_ms=NOW_MS - 200_000))
    assert (command["output"], command["deadline_ms"]) == ("commands", NOW_MS + 400_000)
    review = desk.opens(2, **stale)
    assert told(desk.says(verdict(review))) == ["stale.age"]
    review = desk.opens(3, **stale)
    (capped,) = desk.says(verdict(review, "modify", action=NEW, observed_at_ms=NOW_MS))
    assert capped["deadline_ms"] == NOW_MS - 700_000 + 1_200_000


def test_a_verdict_that_is_read_before_its_review_waits_for_it() -> None:
    desk = Desk()
    value = gate(observed(1, NOW_MS - 1_000), desk.policy)
    review = orjson.loads(value)["review_id"]
    assert desk.says(verdict(review)) == []
    desk.crash()
    found = desk.step(records("reviews", value))
    assert told(found) == ["commands"]
    assert desk.changelog.keys() == {"ended/1"}


def test_a_review_that_never_was_is_unknown_after_a_while() -> None:
    desk = Desk()
    assert told(desk.says(verdict("r-3-other"))) == ["verdict.unknown_review"]
    assert desk.says(verdict("r-2-none")) == []
    due_ms = desk.reviews.due_ms(desk.snapshot(), NOW_MS)
    assert due_ms == NOW_MS + HOLD_MS
    desk.now_ms = due_ms
    assert told(desk.step()) == ["verdict.unknown_review"]
    assert desk.changelog == {}


def test_a_sample_takes_one_answer_and_executes_nothing() -> None:
    desk = Desk()
    sample = {**orjson.loads(gate(observed(1, NOW_MS - 1_000), desk.policy)), "kind": "audit_sample"}
    desk.step(records("reviews", encoded(sample)))
    desk.crash()
    assert told(desk.says(verdict(sample["review_id"], digest="sha256:0"))) == ["verdict.digest"]
    assert desk.says(verdict(sample["review_id"])) == []
    assert told(desk.says(verdict(sample["review_id"], by="bo"))) == ["verdict.ended"]


def test_beyond_what_a_partition_holds_a_review_ends_at_once() -> None:
    desk = Desk()
    desk.reviews = Reviews(2, KEYS, memory=ReviewMemory(open_max=1))
    desk.opens(1)
    value = gate(observed(2, NOW_MS - 1_000), desk.policy, 2)
    (ended,) = desk.step(records("reviews", value))
    assert (ended["reason"], ended["decision_id"]) == ("shed.capacity", "d-2")
    assert told(desk.step(records("reviews", b"{}"))) == ["invalid.schema"]


def test_a_review_read_again_is_one_review() -> None:
    desk = Desk()
    value = gate(observed(1, NOW_MS - 1_000), desk.policy)
    review = orjson.loads(value)["review_id"]
    desk.step(records("reviews", value), records("reviews", value, at=1))
    assert told(desk.says(verdict(review), verdict(review, by="bo"))) == ["commands", "verdict.ended"]
    assert desk.step(records("reviews", value, at=2)) == []
    assert orjson.loads(value)["action_digest"] == DIGEST
