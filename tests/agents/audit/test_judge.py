"""Each promise, broken by hand: the audit turns red and only the counter of that promise moves."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from agents.audit.report import BROKEN
from tests.agents.audit.records import (
    DEADLINE_MS,
    DECISIONS,
    GATED_MS,
    SUCCESSORS,
    Rec,
    command,
    decision,
    exception,
    found,
    judged,
    raw,
    review,
)

LOST = exception(raw(7, None, None), "lost.removed").changed(
    source={"topic": DECISIONS, "partition": 0, "offset": 7, "through": 9}
)
INPUTS = [
    decision(0),
    decision(1, entity="acct-9"),
    decision(4),  # 2 and 3 are taken by control records
    raw(5, b"{not json"),
    raw(6, None),
    decision(0, partition=1),
]
OUTPUTS = [
    command(INPUTS[0]),
    review(INPUTS[1]),
    exception(INPUTS[2]),
    exception(INPUTS[3], "invalid.json"),
    exception(INPUTS[4], "invalid.empty"),
    command(INPUTS[5]),
]
FIRST = OUTPUTS[0]
NAMES = {
    *("inputs", "pending", "commands", "reviews", "exceptions", "by_reason", "missing", "duplicates"),
    *("command_twice", "id_reused", "out_of_order", "late_commands", "altered", "ok"),
    *("appended_late", "unexplained", "followups", "reevaluations", "examples"),
    *("unanswered", "answered_twice", "misfits", "ended_twice", "highest_attempt"),
    *("reevaluations_answered", "reevaluations_pending", "successors", "lost", "lost_ranges"),
}


def with_first(record: Rec) -> list[Rec]:
    return [record, *OUTPUTS[1:]]


def test_a_clean_run_is_ok_and_counted_by_kind_and_reason() -> None:
    result = judged(INPUTS, OUTPUTS)
    assert result.ok
    assert found(result) == {}
    assert (result.inputs, result.pending) == (6, 0)
    assert (result.commands, result.reviews, result.exceptions, result.followups) == (2, 1, 3, 0)
    assert result.as_dict()["by_reason"] == {
        "commands": {"within_bounds": 2},
        "reviews": {"irreversible": 1, "value_over_limit": 1},
        "exceptions": {"invalid.empty": 1, "invalid.json": 1, "stale.age": 1},
        "reevaluations": {},
    }


def test_the_report_has_the_names_that_scripts_rely_on_and_is_json() -> None:
    report = judged(INPUTS, OUTPUTS[1:]).as_dict()
    assert set(report) == NAMES
    assert json.loads(json.dumps(report)) == report
    assert report["examples"] == {
        "missing": [
            {"topic": DECISIONS, "partition": 0, "offset": 0, "id": "d-0-0", "wrong": "no disposition names it"}
        ]
    }


@pytest.mark.parametrize("finding", BROKEN)
def test_any_broken_promise_is_not_ok(finding: str) -> None:
    result = judged(INPUTS, OUTPUTS)
    result.findings[finding] = 1
    assert not result.ok
    assert result.verdict() == f"the audit of 6 inputs found: {finding} 1"


@pytest.mark.parametrize("lost", range(len(OUTPUTS)))
def test_a_lost_record_is_missing(lost: int) -> None:
    result = judged(INPUTS, OUTPUTS[:lost] + OUTPUTS[lost + 1 :])
    assert found(result) == {"missing": 1}
    assert (result.examples["missing"][0].offset, result.examples["missing"][0].partition) == (
        INPUTS[lost].offset,
        INPUTS[lost].partition,
    )


@pytest.mark.parametrize("doubled", [1, 2, 3, 4])
def test_a_doubled_record_is_a_duplicate(doubled: int) -> None:
    again = replace(OUTPUTS[doubled], offset=100)
    assert found(judged(INPUTS, [*OUTPUTS, again])) == {"duplicates": 1}


def test_a_doubled_command_is_a_duplicate_and_a_command_twice() -> None:
    result = judged(INPUTS, [*OUTPUTS, replace(FIRST, offset=100)])
    assert found(result) == {"duplicates": 1, "command_twice": 1}


def test_answers_of_two_kinds_to_one_input_are_a_duplicate() -> None:
    assert found(judged(INPUTS, [*OUTPUTS, review(INPUTS[0], offset=100)])) == {"duplicates": 1}


@pytest.mark.parametrize("gated_after_ms", [0, 1])
def test_a_command_gated_at_or_past_its_deadline_is_late(gated_after_ms: int) -> None:
    late = FIRST.changed(deadline_ms=GATED_MS - gated_after_ms)
    result = judged(INPUTS, with_first(replace(late, timestamp=0)))
    assert found(result) == {"late_commands": 1}
    assert found(judged(INPUTS, with_first(FIRST.changed(deadline_ms=GATED_MS + 6)))) == {}


def test_a_command_stored_at_its_deadline_by_the_brokers_clock_is_reported_and_ok() -> None:
    stored = replace(FIRST, timestamp=DEADLINE_MS)
    result = judged(INPUTS, with_first(stored))
    assert result.ok
    assert found(result) == {"appended_late": 1}
    assert found(judged(INPUTS, with_first(replace(stored, timestamp_type=0)))) == {}


def test_answers_that_overtake_each_other_within_a_key_are_out_of_order() -> None:
    inputs = [decision(0), decision(1), decision(2, entity="acct-9")]
    in_order = [command(inputs[0], 0), command(inputs[1], 1), command(inputs[2], 2)]
    swapped = [command(inputs[1], 0), command(inputs[0], 1), command(inputs[2], 2)]
    other_key_first = [command(inputs[2], 0), command(inputs[0], 1), command(inputs[1], 2)]
    other_topic_first = [command(inputs[1], 0), review(inputs[0], 0), command(inputs[2], 1)]
    assert found(judged(inputs, in_order)) == {}
    assert found(judged(inputs, swapped)) == {"out_of_order": 1}
    assert found(judged(inputs, other_key_first)) == {}
    assert found(judged(inputs, other_topic_first)) == {}


def test_one_command_id_twice_before_the_first_deadline_breaks_the_promise() -> None:
    inputs = [decision(0, "d-1"), decision(1, "d-1")]
    result = judged(inputs, [command(inputs[0]), command(inputs[1]).changed(gated_at_ms=GATED_MS)])
    assert found(result) == {"command_twice": 1}


def test_an_id_commanded_again_at_or_after_the_first_deadline_is_the_producers_fault() -> None:
    inputs = [decision(0, "d-1"), decision(1, "d-1")]
    later = command(inputs[1]).changed(
        gated_at_ms=DEADLINE_MS,
        deadline_ms=DEADLINE_MS + 10,
        age_ms=600_000,
        stages_ms={"gate": 600_000},
    )
    result = judged(inputs, [command(inputs[0]), later])
    assert result.ok
    assert found(result) == {"id_reused": 1}


def test_a_decision_commanded_in_two_partitions_is_commanded_twice() -> None:
    """One entity has one partition: whoever let its record in by another one has issued the second command."""
    inputs = [decision(0, "d-1"), decision(0, "d-1", partition=1)]
    outputs = [command(record) for record in inputs]
    result = judged(inputs, outputs)
    assert not result.ok
    assert found(result) == {"command_twice": 1}
    assert found(judged(inputs, outputs[::-1])) == {"command_twice": 1}, "in whatever order they are read"


def test_an_id_of_two_entities_is_the_producers_fault_and_each_partition_is_watched() -> None:
    inputs = [
        decision(0, "d-1"),
        decision(0, "d-1", partition=1, entity="acct-18"),
        decision(1, "d-1", partition=1, entity="acct-18"),
    ]
    outputs = [command(record) for record in inputs]
    result = judged(inputs[:2], outputs[:2])
    assert result.ok
    assert found(result) == {"id_reused": 1}
    assert found(judged(inputs, outputs)) == {"id_reused": 1, "command_twice": 1}


@pytest.mark.parametrize(
    "wrong",
    [
        {"topic": DECISIONS, "partition": 0, "offset": 99},
        {"topic": DECISIONS, "partition": 0, "offset": 2},
        {"topic": DECISIONS, "partition": 7, "offset": 0},
        {"topic": "t.other", "partition": 0, "offset": 0},
        {"topic": DECISIONS, "partition": 0, "offset": -1},
        {"topic": DECISIONS, "partition": 0, "offset": 2**70},
        {"topic": DECISIONS, "partition": False, "offset": 0},
        {"topic": [], "partition": 0, "offset": 0},
        {},
        None,
    ],
)
def test_an_output_whose_source_is_no_input_is_unexplained(wrong: object) -> None:
    stranger = replace(FIRST.changed(source=wrong, command_id="c-" + 32 * "0"), offset=100)
    assert found(judged(INPUTS, [*OUTPUTS, stranger])) == {"unexplained": 1}


@pytest.mark.parametrize("value", [None, b"", b"[]", b"{", b"\xff", b'{"kind":"disposition"}x', b"{} {}"])
def test_an_output_that_is_no_json_object_is_unexplained(value: bytes | None) -> None:
    assert found(judged(INPUTS, [*OUTPUTS, replace(FIRST, value=value)])) == {"unexplained": 1}


def test_an_output_of_unknown_kind_is_unexplained_and_answers_nothing() -> None:
    result = judged(INPUTS, with_first(FIRST.changed(kind="whatever")))
    assert found(result) == {"unexplained": 1, "missing": 1}


def test_later_steps_are_counted_and_answer_nothing() -> None:
    later = [
        command(INPUTS[1], offset=100).changed(kind="followup"),
        review(INPUTS[0], offset=100).changed(kind="audit_sample"),
    ]
    result = judged(INPUTS, [*OUTPUTS, *later])
    assert found(result) == {}
    assert (result.followups, result.commands, result.reviews) == (2, 2, 1)
    assert found(judged(INPUTS, with_first(FIRST.changed(kind="followup")))) == {"missing": 1}


def test_a_sample_shows_a_command() -> None:
    sampled = review(INPUTS[0], offset=100).changed(kind="audit_sample")
    assert found(judged(INPUTS, [*OUTPUTS, sampled])) == {}
    for wrong in (sampled.changed(source=None), sampled.changed(source={"topic": "t"})):
        assert found(judged(INPUTS, [*OUTPUTS, wrong])) == {"unexplained": 1}
    for one in (INPUTS[1], INPUTS[2]):  # a review, and an exception
        wrong = review(one, offset=100).changed(kind="audit_sample")
        assert found(judged(INPUTS, [*OUTPUTS, wrong])) == {"unexplained": 1}


def test_a_later_commands_deadline_and_repetition_are_watched_too() -> None:
    late = replace(command(INPUTS[1], offset=100).changed(kind="followup", deadline_ms=GATED_MS), timestamp=0)
    assert found(judged(INPUTS, [*OUTPUTS, late])) == {"late_commands": 1}
    again = replace(FIRST, offset=100).changed(kind="followup")
    assert found(judged(INPUTS, [*OUTPUTS, again])) == {"command_twice": 1}
    timeless = replace(FIRST, offset=100).changed(kind="followup", deadline_ms=None)
    assert found(judged(INPUTS, [*OUTPUTS, timeless])) == {"altered": 1}


def test_an_answer_to_an_input_that_retention_removed_is_not_counted_against_anyone() -> None:
    inputs = [decision(10), decision(11)]
    outputs = [command(decision(8), 0), command(inputs[0], 1), command(inputs[1], 2)]
    assert found(judged(inputs, outputs, log_start=10)) == {}
    assert found(judged(inputs, outputs, log_start=8)) == {"unexplained": 1}


def test_inputs_past_the_groups_offset_are_pending_and_those_below_are_missing() -> None:
    committed = {(DECISIONS, 0): 5, (DECISIONS, 1): 0}
    result = judged(INPUTS, OUTPUTS[:3], committed=committed)
    assert result.ok
    assert (result.inputs, result.pending) == (6, 3)
    below = judged(INPUTS, OUTPUTS[1:3], committed=committed)
    assert (found(below), below.pending) == ({"missing": 1}, 3)


def test_a_partition_without_a_committed_offset_is_pending_as_a_whole() -> None:
    result = judged(INPUTS, OUTPUTS[:5], committed={(DECISIONS, 0): 7})
    assert (found(result), result.pending) == ({}, 1)


def test_a_disposition_that_the_group_never_committed_is_unexplained() -> None:
    committed = {(DECISIONS, 0): 6, (DECISIONS, 1): 1}
    result = judged(INPUTS, OUTPUTS, committed=committed)
    assert (found(result), result.pending) == ({"unexplained": 1}, 0)


def test_a_disposition_that_the_group_committed_while_the_audit_read_is_fine() -> None:
    committed = {(DECISIONS, 0): 6, (DECISIONS, 1): 1}
    result = judged(INPUTS, OUTPUTS, committed=committed, after={(DECISIONS, 0): 7, (DECISIONS, 1): 1})
    assert (found(result), result.pending) == ({}, 0)


def test_a_successor_is_commanded_under_its_root() -> None:
    successor = replace(decision(0, "d-1~2", root_id="d-1", attempt=2, final_deadline_ms=DEADLINE_MS), topic=SUCCESSORS)
    assert found(judged([successor], [command(successor)])) == {}
    own_id = replace(successor, topic=DECISIONS)
    assert found(judged([own_id], [command(own_id)])) == {"altered": 1}


def test_examples_are_bounded_in_number_and_length() -> None:
    inputs = [decision(offset, identifier=f"{offset}" + "x" * 190) for offset in range(20)]
    result = judged(inputs, [])
    assert result.findings["missing"] == 20
    assert len(result.examples["missing"]) == 5
    huge = replace(FIRST.changed(source="y" * 1_000_000, command_id="\ud800" * 1000), offset=100)
    example = judged(INPUTS, [*OUTPUTS, huge]).examples["unexplained"][0]
    assert len(example.wrong) < 400
    assert len((example.id or "").encode()) < 400


def test_an_exception_that_names_a_range_answers_each_input_in_it_once() -> None:
    damaged = [raw(7, b"x"), raw(9, b"y")]
    ranged = LOST.changed(reason="invalid.batch")
    assert found(judged([*INPUTS, *damaged], [*OUTPUTS, ranged])) == {}
    assert found(judged([*INPUTS, *damaged, raw(10, b"z")], [*OUTPUTS, ranged])) == {"missing": 1}
    twice = [*OUTPUTS, exception(damaged[0], "invalid.json"), ranged]
    assert found(judged([*INPUTS, *damaged], twice)) == {"duplicates": 1}


def test_only_what_could_not_be_read_may_be_answered_by_a_range() -> None:
    assert found(judged(INPUTS, [*OUTPUTS, LOST.changed(reason="stale.age")])) == {"altered": 1}
