"""The window: a repeat never becomes a second action, and what the changelog holds is enough to know it."""

from __future__ import annotations

from typing import Any

import pytest

from streams.batch import Remembered
from streams.window import Window, content_of
from tests.streams.making import (
    BILLING,
    BUDGET_MS,
    NOW_MS,
    decided,
    decision,
    fetched,
    outcomes,
    policy,
    row,
    successor,
)

ALL: dict[str, Any] = {"name": "all", "then": "autonomous"}
EXPIRY_MS = NOW_MS - 1_000 + BUDGET_MS + 2_000  # of a decision of `making`: its final deadline and the tolerance


def test_the_same_again_is_a_repeat_and_other_content_a_conflict() -> None:
    window = Window()
    assert outcomes(decided(fetched([decision()]), window=window)) == ["commands"]
    assert outcomes(decided(fetched([decision()]), window=window)) == ["duplicate.repeat"]
    assert outcomes(decided(fetched([decision(value_minor=1)]), window=window)) == ["duplicate.conflict"]
    assert outcomes(decided(fetched([decision(2)]), window=window)) == ["commands"]


def test_repeats_within_one_batch_are_found() -> None:
    batch = fetched([decision(1), decision(1), decision(2), decision(1, entity="acct-2")])
    assert outcomes(decided(batch)) == ["commands", "duplicate.repeat", "commands", "duplicate.conflict"]


@pytest.mark.parametrize(
    "change",
    [
        {"entity": "acct-18"},
        {"action": {"type": "invoice.post", "amount": 12.50001}},
        {"value_minor": 1_251},
        {"currency": "EUR"},
        {"confidence": 0.94},
        {"attributes": {"vendor": "1"}},
        {"attributes": {}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_content_is_entity_action_value_currency_confidence_and_attributes(change: dict[str, Any]) -> None:
    same = change == {"attributes": {}}
    assert (_content(**change) == _content()) is same


def test_the_workflow_is_content_and_the_rest_is_not() -> None:
    both = (BILLING, policy(workflow="routing", index=1))
    batch = fetched([decision(), decision(workflow="routing")])
    assert outcomes(decided(batch, both)) == ["commands", "duplicate.conflict"]
    rest: dict[str, Any] = {
        "observed_at_ms": NOW_MS - 999,
        "expires_at_ms": NOW_MS + 999,
        "context_version": 7,
        "decided_at_ms": 1,
        "sent_at_ms": 2,
        "model": "m",
        "proposer": "p",
        "segment": "s",
        "note": 1,
    }
    assert _content(**rest) == _content()


def test_the_actions_bytes_are_content_not_their_meaning() -> None:
    plain = b'{"id":"d","workflow":"billing","entity":"acct-17","observed_at_ms":%d,"action":{"n":1.0}}' % NOW_MS
    batch = fetched([plain, plain.replace(b"1.0", b"1")])
    assert outcomes(decided(batch, [policy()])) == ["reviews: no_rule_matched", "duplicate.conflict"]


def _content(**change: Any) -> bytes:
    made = row(decision(**change)).decision
    assert made is not None
    return content_of(made)


def test_invalid_records_are_not_remembered() -> None:
    window = Window()
    batch = fetched([decision(observed_at_ms=-1), decision(workflow="nobody"), decision()], [b"acct-17"] * 3)
    assert outcomes(decided(batch, window=window)) == ["invalid.time", "invalid.unknown_workflow", "commands"]
    assert len(window) == 1


def test_what_ended_needs_no_place_and_is_judged_again() -> None:
    """A stale or blocked decision can become no command; sent again it ends again, or goes out where it now may."""
    patient, open_now = policy([{"name": "no", "then": "block"}], total="30m"), policy([ALL])
    window = Window()
    batch = fetched([decision(1, observed_at_ms=NOW_MS - BUDGET_MS), decision(2), decision(2)])
    for _ in range(2):
        assert outcomes(decided(batch, [patient], window)) == ["stale.age"] + ["boundary.blocked"] * 2
    assert len(window) == 0
    assert outcomes(decided(batch, [open_now], window)) == ["stale.age", "commands", "duplicate.repeat"]


def test_what_went_to_a_person_or_is_asked_again_is_remembered() -> None:
    asking = policy([ALL], total="30m", on_stale="reevaluate", evaluator={"url": "http://127.0.0.1:1/"})
    batch = fetched([decision(1, confidence=0.1), decision(2, observed_at_ms=NOW_MS - BUDGET_MS)])
    window = Window()
    assert outcomes(decided(batch, [BILLING], window))[:1] == ["reviews: confidence_below"]
    assert outcomes(decided(batch, [asking], window)) == ["duplicate.repeat", "reevaluations: stale.age"]
    assert outcomes(decided(batch, [asking], window)) == ["duplicate.repeat"] * 2


def test_a_repeat_is_one_whatever_else_is_wrong_with_it_in_one_batch_or_in_two() -> None:
    """Observed again too long ago, or in another segment that is blocked: the first has gone out already."""
    rules = [{"name": "no", "when": {"segment": {"equals": "x"}}, "then": "block"}, ALL]
    again = [decision(1, segment="a"), decision(1, observed_at_ms=NOW_MS - BUDGET_MS), decision(1, segment="x")]
    together = decided(fetched(again), [policy(rules)])
    assert outcomes(together) == ["commands", "duplicate.repeat", "duplicate.repeat"]
    window = Window()
    apart = [decided(fetched([one], first_offset=at), [policy(rules)], window) for at, one in enumerate(again)]
    assert [one.records[0] for one in apart] == list(together.records)


def test_a_decision_sent_again_with_other_times_is_a_repeat() -> None:
    """The producer of the README, run twice: the id names the decision, its times are none of its content."""
    window = Window()
    again = decision(observed_at_ms=NOW_MS - 10, decided_at_ms=NOW_MS - 9, sent_at_ms=NOW_MS - 8)
    assert outcomes(decided(fetched([decision(), again]), window=window)) == ["commands", "duplicate.repeat"]
    assert outcomes(decided(fetched([again]), window=window)) == ["duplicate.repeat"]


def test_an_id_is_kept_until_its_final_deadline_and_the_tolerance() -> None:
    window = Window()
    decided(fetched([decision()]), window=window)
    last = decided(fetched([decision()]), window=window, now_ms=EXPIRY_MS - 1)
    assert outcomes(last) == ["duplicate.repeat"]
    assert outcomes(decided(fetched([decision()]), window=window, now_ms=EXPIRY_MS)) == ["stale.age"]
    decided(fetched([decision(2, observed_at_ms=EXPIRY_MS)]), window=window, now_ms=EXPIRY_MS)
    assert len(window) == 1, "what has expired is forgotten with the next batch that brings something new"


def test_a_batch_that_brings_nothing_new_writes_nothing() -> None:
    assert Window().plan(Remembered(), NOW_MS) is None


def test_beyond_ids_max_the_oldest_go_and_are_counted() -> None:
    window = Window(ids_max=3)
    for number in range(1, 6):
        decided(fetched([decision(number)]), window=window)
    assert (len(window), window.evicted) == (3, 2)
    batch = fetched([decision(number) for number in (5, 4, 3)])
    assert outcomes(decided(batch, window=window)) == ["duplicate.repeat"] * 3
    assert outcomes(decided(fetched([decision(1)]), window=window)) == ["commands"]


def test_an_id_that_was_written_again_is_young_again() -> None:
    """A root that got its command late is not evicted for the age of its first record."""
    window = Window(ids_max=4)
    decided(fetched([decision(1, confidence=0.1), decision(2)]), window=window)
    assert outcomes(decided(_successors("d-1"), window=window)) == ["commands"]
    decided(fetched([decision(3)]), window=window)
    decided(fetched([decision(4)]), window=window)
    assert (len(window), window.evicted) == (4, 1)
    assert outcomes(decided(_successors("d-1", attempt=3), window=window)) == ["duplicate.conflict"]


def _successors(*roots: str, **fields: Any) -> Any:
    return fetched([successor(root, **fields) for root in roots], source="successors", first_offset=70)


def test_a_root_with_its_command_gets_no_second_one_by_a_successor() -> None:
    window = Window()
    decided(fetched([decision(1), decision(2, confidence=0.1)]), window=window)
    found = decided(_successors("d-1", "d-2", "d-3"), window=window)
    assert outcomes(found) == ["duplicate.conflict", "commands", "commands"]
    assert outcomes(decided(_successors("d-2", attempt=3), window=window)) == ["duplicate.conflict"]


def test_a_root_with_its_command_gets_no_review_either() -> None:
    """Approved, the review would be the second command; in one batch or in two makes no difference."""
    unsure = successor("d-1", confidence=0.1)
    window = Window()
    decided(fetched([decision(1)]), window=window)
    assert outcomes(decided(fetched([unsure], source="successors"), window=window)) == ["duplicate.conflict"]
    together = [fetched([decision(1)]), fetched([unsure], source="successors")]
    assert outcomes(decided(together)) == ["commands", "duplicate.conflict"]


def test_a_late_successor_of_a_commanded_root_is_stale_in_one_batch_or_in_two() -> None:
    late = fetched([successor("d-1", final_deadline_ms=NOW_MS)], source="successors")
    window = Window()
    decided(fetched([decision(1)]), window=window)
    assert outcomes(decided(late, window=window)) == ["stale.age"]
    assert outcomes(decided([fetched([decision(1)]), late])) == ["commands", "stale.age"]


def test_in_one_batch_the_first_of_a_root_gets_the_command_whatever_its_kind() -> None:
    first, second = fetched([decision(1)]), _successors("d-1")
    assert outcomes(decided([first, second])) == ["commands", "duplicate.conflict"]
    assert outcomes(decided([second, first])) == ["commands", "duplicate.conflict"]
    twice = fetched([successor("d-1"), successor("d-1", attempt=3)], source="successors")
    assert outcomes(decided(twice)) == ["commands", "duplicate.conflict"]


def test_a_root_that_comes_after_its_successors_command_is_no_second_action() -> None:
    window = Window()
    assert outcomes(decided(_successors("d-1"), window=window)) == ["commands"]
    assert outcomes(decided(fetched([decision(1)]), window=window)) == ["duplicate.conflict"]
    kept_ms = NOW_MS + BUDGET_MS + 2_000
    assert outcomes(decided(_successors("d-1"), window=window, now_ms=kept_ms - 1)) == ["duplicate.repeat"]


def test_a_flood_of_one_workflow_takes_nothing_from_another() -> None:
    """Its own oldest go; what came of another workflow before it is known to the last."""
    both = (BILLING, policy([ALL], workflow="routing", index=1))
    window = Window(ids_max=100)
    quiet = fetched([decision(n) for n in range(40)])
    decided(quiet, both, window)
    for first in range(1_000, 2_000, 50):
        flood = [decision(n, workflow="routing") for n in range(first, first + 50)]
        assert outcomes(decided(fetched(flood), both, window)) == ["commands"] * 50
    assert (len(window), window.evicted) == (100, 40 + 1_000 - 100)
    assert outcomes(decided(quiet, both, window)) == ["duplicate.repeat"] * 40
    youngest = fetched([decision(n, workflow="routing") for n in range(1_940, 2_000)])
    assert outcomes(decided(youngest, both, window)) == ["duplicate.repeat"] * 60


def test_of_many_workflows_the_one_with_the_most_pays() -> None:
    several = [policy([ALL], workflow=f"w{index}", index=index) for index in range(5)]
    window = Window(ids_max=50)
    for index, count in enumerate((5, 10, 15, 20)):
        some = [decision(100 * index + n, workflow=f"w{index}") for n in range(count)]
        decided(fetched(some), several, window)
    decided(fetched([decision(900 + n, workflow="w4") for n in range(10)]), several, window)
    known = [
        outcomes(decided(fetched([decision(100 * index + n, workflow=f"w{index}")]), several, window))
        == ["duplicate.repeat"]
        for index, count in enumerate((5, 10, 15))
        for n in range(count - 2, count)
    ]
    assert all(known)
    assert window.evicted == 10


def test_blocked_ids_take_no_place_however_many_they_are() -> None:
    rules = [{"name": "no", "when": {"segment": {"equals": "x"}}, "then": "block"}, ALL]
    window, mine = Window(), policy(rules)
    decided(fetched([decision(1)]), [mine], window)
    blocked = [decision(n, segment="x") for n in range(1_000, 3_000)]
    assert set(outcomes(decided(fetched(blocked), [mine], window))) == {"boundary.blocked"}
    assert len(window) == 1
    assert outcomes(decided(fetched([decision(1)]), [mine], window)) == ["duplicate.repeat"]
