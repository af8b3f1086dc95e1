"""Superseding: what a later observation has gone before is not acted on any more, over batches and owners."""

from __future__ import annotations

from typing import Any

from streams.batch import Decided
from streams.memory import Memory
from tests.streams.making import NOW_MS, SMALL_AND_SURE, decided, decision, fetched, outcomes, policy, successor

ON = policy([SMALL_AND_SURE], supersede=True)
OFF = policy([SMALL_AND_SURE])


def seen(ago_ms: int, number: int, **fields: Any) -> dict[str, Any]:
    return decision(number, observed_at_ms=NOW_MS - ago_ms, **fields)


def go(memory: Memory, *decisions: dict[str, Any], source: Any = "decisions", **about: Any) -> list[str]:
    found: Decided = decided(fetched(list(decisions), source=source, **about), [ON], memory=memory)
    return outcomes(found)


def test_a_later_observation_retires_an_earlier_one_and_a_tie_does_not() -> None:
    memory = Memory()
    assert go(memory, seen(100, 1), seen(200, 2), seen(100, 3), seen(50, 4), seen(99, 5)) == [
        "commands",
        "superseded",
        "commands",
        "commands",
        "superseded",
    ]
    assert go(memory, seen(60, 6)) == ["superseded"]
    assert outcomes(decided(fetched([seen(100, 1), seen(200, 2)]), [OFF])) == ["commands", "commands"]


def test_other_entities_and_action_types_are_left_alone() -> None:
    other = {"type": "invoice.void"}
    assert go(Memory(), seen(10, 1), seen(20, 2, entity="acct-18"), seen(20, 3, action=other)) == ["commands"] * 3


def test_only_what_went_out_retires_others() -> None:
    """A review does, an exception does not."""
    memory = Memory()
    assert go(memory, seen(10, 1, value_minor=1_000_000)) == ["reviews: value_over_limit"]
    assert go(memory, seen(20, 2)) == ["superseded"]
    memory = Memory()
    assert go(memory, decision(3, expires_at_ms=NOW_MS), seen(5_000, 4)) == ["stale.expired", "commands"]


def test_a_root_that_was_passed_takes_its_successors_along() -> None:
    memory = Memory()
    assert go(memory, seen(1_000, 1)) == ["commands"]
    late = successor("d-2", first_observed_at_ms=NOW_MS - 2_000, observed_at_ms=NOW_MS - 10)
    assert go(memory, late, source="successors") == ["superseded"]
    young = successor("d-3", first_observed_at_ms=NOW_MS - 500, observed_at_ms=NOW_MS - 10)
    assert go(memory, young, source="successors") == ["commands"]


def test_a_superseded_decision_uses_up_no_command() -> None:
    memory = Memory()
    assert go(memory, seen(10, 1), seen(20, 2)) == ["commands", "superseded"]
    again = successor("d-2", first_observed_at_ms=NOW_MS - 5, observed_at_ms=NOW_MS - 5)
    assert go(memory, again, source="successors") == ["commands"]


def test_a_root_that_has_its_command_retires_nobody_again() -> None:
    memory = Memory()
    assert go(memory, seen(100, 1)) == ["commands"]
    again = successor("d-1", first_observed_at_ms=NOW_MS - 100, observed_at_ms=NOW_MS - 10)
    assert go(memory, again, source="successors") == ["duplicate.conflict"]
    assert go(memory, seen(50, 2)) == ["commands"]


def test_the_next_owner_knows_it() -> None:
    memory, heir = Memory(), Memory()
    from streams.path import Snapshot, decide

    found = decide([fetched([seen(10, 1)])], NOW_MS, Snapshot([ON]), memory)
    changelog = memory.commit(found.remembered, NOW_MS)
    assert sorted(changelog) == ["latest/1", "window/1"]
    heir.restore(changelog, NOW_MS)
    assert go(heir, seen(20, 2)) == ["superseded"]


def test_a_question_to_the_evaluator_retires_nobody() -> None:
    """It may come to nothing; what it becomes will."""
    terms: dict[str, Any] = {
        "supersede": True,
        "on_stale": "reevaluate",
        "total": "1h",
        "segments": {"slow": {"budget": "30m"}},
    }
    asks = policy([SMALL_AND_SURE], evaluator={"url": "http://127.0.0.1:9/"}, **terms)
    stale, earlier = seen(660_000, 1), seen(700_000, 2, segment="slow")
    batch = fetched([stale, earlier], broker_ms=NOW_MS)
    assert outcomes(decided(batch, [asks])) == ["reevaluations: stale.age", "commands"]
