"""What becomes of a stale decision: dropped, asked again or shown to a person, as the policy says."""

from __future__ import annotations

from typing import Any

import pytest

from streams.batch import Decided
from streams.memory import Memory
from streams.policy import Policy
from tests.streams.making import (
    NOW_MS,
    SMALL_AND_SURE,
    decided,
    decision,
    fetched,
    only,
    outcomes,
    policy,
    successor,
)

RATER = {"url": "http://127.0.0.1:9/rate"}
MINUTE_MS = 60_000


def billing(**freshness: Any) -> Policy:
    return policy([SMALL_AND_SURE], evaluator=RATER, **{"budget": "10m", "total": "30m", **freshness})


def old(age_min: int = 11, **fields: Any) -> dict[str, Any]:
    return decision(observed_at_ms=NOW_MS - age_min * MINUTE_MS, **fields)


def given(fields: dict[str, Any], **freshness: Any) -> Decided:
    return decided(fetched([fields], broker_ms=NOW_MS), [billing(**freshness)])


class World:
    """The context of every entity, as a test wants it."""

    def __init__(self, version: int | None, changed: bool = True) -> None:
        self._version, self._changed = version, changed
        self.asked: list[frozenset[str]] = []

    def version(self, entity: str) -> int | None:
        return self._version

    def changed(self, entity: str, since: int, fields: frozenset[str]) -> bool:
        self.asked.append(fields)
        return self._changed


@pytest.mark.parametrize(
    ("on_stale", "outcome"),
    [("drop", "stale.age"), ("reevaluate", "reevaluations: stale.age"), ("escalate", "reviews: stale")],
)
def test_the_policy_says_what_becomes_of_it(on_stale: str, outcome: str) -> None:
    assert outcomes(given(old(), on_stale=on_stale)) == [outcome]


@pytest.mark.parametrize("on_stale", ["drop", "reevaluate", "escalate"])
def test_what_is_past_its_final_deadline_ends(on_stale: str) -> None:
    assert outcomes(given(old(30), on_stale=on_stale)) == ["stale.age"]
    assert outcomes(given(decision(expires_at_ms=NOW_MS), on_stale=on_stale)) == ["stale.expired"]


def test_a_request_carries_what_the_next_attempt_needs() -> None:
    record = only(given(old(segment="fleet-2"), on_stale="reevaluate"))
    assert (record["root_id"], record["attempt"], record["reason"]) == (record["decision_id"], 1, "stale.age")
    assert record["first_observed_at_ms"] == NOW_MS - 11 * MINUTE_MS
    assert record["final_deadline_ms"] == NOW_MS + 19 * MINUTE_MS
    assert record["decision"]["segment"] == "fleet-2"
    assert [(one["attempt"], one["reason"], one["gated_at_ms"]) for one in record["attempts"]] == [
        (1, "stale.age", NOW_MS)
    ]


def test_attempts_are_capped_and_the_history_is_told() -> None:
    first = {"attempt": 1, "observed_at_ms": 1, "gated_at_ms": 2, "reason": "stale.context", "policy": "billing@2"}
    again = successor("d-2", observed_at_ms=NOW_MS - 11 * MINUTE_MS, final_deadline_ms=NOW_MS + 1_000, attempts=[first])
    batch = fetched([again], source="successors", broker_ms=NOW_MS)
    assert outcomes(decided(batch, [billing(on_stale="reevaluate")])) == ["reevaluations: stale.age"]
    record = only(decided(batch, [billing(on_stale="reevaluate", max_attempts=2)]))
    assert (record["reason"], record["first_reason"]) == ("reevaluation.exhausted", "stale.context")
    assert [one["reason"] for one in record["trace"]] == ["stale.context", "reevaluation.exhausted"]


def test_a_stale_review_is_not_fresh_and_ends_with_the_final_deadline() -> None:
    record = only(given(old(), on_stale="escalate"))
    assert (record["fresh_until_ms"], record["deadline_ms"]) == (0, NOW_MS + 19 * MINUTE_MS)
    assert record["reasons"] == ["stale"]


def test_a_segment_has_terms_of_its_own() -> None:
    terms = {"on_stale": "reevaluate", "segments": {"express": {"budget": "1m", "on_stale": "drop"}}}
    assert outcomes(given(old(2, segment="express"), **terms)) == ["stale.age"]
    assert outcomes(given(old(2, segment="other"), **terms)) == ["commands"]
    assert outcomes(given(old(2), **terms)) == ["commands"]
    assert only(given(old(2, segment="express"), **terms))["budget_ms"] == MINUTE_MS


@pytest.mark.parametrize(("left_ms", "outcome"), [(501, "commands"), (500, "stale.unactionable")])
def test_what_would_expire_before_it_can_be_acted_on_is_not_issued(left_ms: int, outcome: str) -> None:
    fields = decision(observed_at_ms=NOW_MS - 10 * MINUTE_MS + left_ms)
    assert outcomes(given(fields, allowance="500ms")) == [outcome]


def test_a_measured_allowance_replaces_the_first_one() -> None:
    fields = decision(observed_at_ms=NOW_MS - 10 * MINUTE_MS + 500)
    terms = billing(allowance={"initial": "100ms", "at_most": "5s"})
    memory = Memory()
    assert outcomes(decided(fetched([fields], broker_ms=NOW_MS), [terms], memory=memory)) == ["commands"]
    memory.allowances_ms[0] = 500
    other = fetched([{**fields, "id": "d-2"}], broker_ms=NOW_MS)
    assert outcomes(decided(other, [terms], memory=memory)) == ["stale.unactionable"]


@pytest.mark.parametrize(
    ("rests_on", "world", "outcome"),
    [
        (41, World(41), "commands"),
        (42, World(41), "commands"),
        (40, World(41), "stale.context"),
        (40, World(41, changed=False), "commands"),
        (40, World(None), "stale.context"),
        (None, World(41), "reviews: field_missing"),
    ],
)
def test_a_decision_rests_on_the_present_context(rests_on: int | None, world: World, outcome: str) -> None:
    fields = decision() if rests_on is None else decision(context_version=rests_on)
    terms = billing(context=["rate_card"])
    found = decided(fetched([fields]), [terms], memory=Memory(contexts=world))
    assert outcomes(found) == [outcome]
    assert only(found).get("context_version_seen") == world.version("acct-17")
    assert all(fields == frozenset({"rate_card"}) for fields in world.asked)


def test_a_command_says_which_context_was_seen() -> None:
    terms, world = billing(context="any"), World(41)
    found = decided(fetched([decision(context_version=41)]), [terms], memory=Memory(contexts=world))
    assert only(found)["context_version_seen"] == 41
