"""Requests to ask again, their answers and their roots: each rule broken by hand, and green when it holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from tests.agents.audit.records import (
    DECISIONS,
    FINAL_MS,
    LATE_MS,
    OBSERVED_MS,
    REEVALUATIONS,
    SUCCESSORS,
    Rec,
    command,
    decision,
    exception,
    found,
    judged,
    request,
    review,
    successor,
    unsaved,
)

FIRST = decision(0, "d-1")
ASKED = request(FIRST)
AGAIN = successor(ASKED)
GATED_MS = LATE_MS + 100


def commanded(given: Rec, offset: int = 0, **fields: Any) -> Rec:
    """The command for an attempt that was observed late."""
    observed_ms = OBSERVED_MS if given.topic == DECISIONS else LATE_MS + 8
    gated_ms = fields.get("gated_at_ms", GATED_MS)
    timely: dict[str, Any] = {
        "gated_at_ms": gated_ms,
        "deadline_ms": LATE_MS + 600_000,
        "age_ms": gated_ms - observed_ms,
        "stages_ms": {"gate": gated_ms - observed_ms},
    }
    return replace(command(given, offset).changed(**timely | fields), timestamp=gated_ms)


def wrong(inputs: list[Rec], outputs: list[Rec], finding: str) -> str:
    """What the audit says; only this finding moves, by one."""
    result = judged(inputs, outputs)
    assert found(result) == {finding: 1}
    return result.examples[finding][0].wrong


def test_a_request_answered_by_a_successor_that_is_commanded_is_clean_and_counted() -> None:
    result = judged([FIRST, AGAIN], [ASKED, commanded(AGAIN)])
    assert found(result) == {}
    report = result.as_dict()
    assert (report["inputs"], report["successors"], report["highest_attempt"]) == (2, 1, 2)
    assert (report["reevaluations"], report["reevaluations_answered"], report["reevaluations_pending"]) == (1, 1, 0)
    assert report["by_reason"]["reevaluations"] == {"stale.age": 1}


def test_several_attempts_that_end_as_an_exception_are_clean() -> None:
    asked_again = request(AGAIN, offset=1)
    result = judged([FIRST, AGAIN], [ASKED, asked_again, unsaved(asked_again)])
    assert found(result) == {}
    assert (result.reevaluations_answered, result.highest_attempt, result.followups) == (2, 2, 1)


def test_a_request_without_an_answer_is_unanswered_until_the_group_may_not_have_got_there() -> None:
    assert wrong([FIRST], [ASKED], "unanswered") == "no successor and no exception names it"
    passed = judged([FIRST], [ASKED], answering={(REEVALUATIONS, 0): 1})
    assert (found(passed), passed.reevaluations_pending) == ({"unanswered": 1}, 0)
    for before in ({(REEVALUATIONS, 0): 0}, {}):
        waiting = judged([FIRST], [ASKED], answering=before)
        assert (found(waiting), waiting.reevaluations_pending) == ({}, 1)
        assert "1 requests to ask again are pending" in waiting.verdict()


def test_a_lost_successor_leaves_its_request_unanswered_and_its_command_unexplained() -> None:
    assert found(judged([FIRST], [ASKED, commanded(AGAIN)])) == {"unanswered": 1, "unexplained": 1}


def test_two_successors_of_one_request_are_answered_twice() -> None:
    twin = replace(AGAIN, offset=1)
    result = judged([FIRST, AGAIN, twin], [ASKED, commanded(AGAIN), exception(twin, "duplicate.repeat")])
    assert found(result) == {"answered_twice": 1}
    assert (result.examples["answered_twice"][0].topic, result.examples["answered_twice"][0].offset) == (SUCCESSORS, 1)


def test_two_exceptions_of_one_request_are_answered_twice() -> None:
    twice = [unsaved(ASKED), unsaved(ASKED, "reevaluation.failed", offset=51)]
    assert found(judged([FIRST], [ASKED, *twice])) == {"answered_twice": 1, "ended_twice": 1}


def test_a_successor_and_an_exception_for_one_request_are_answered_twice_and_end_twice() -> None:
    result = judged([FIRST, AGAIN], [ASKED, commanded(AGAIN), unsaved(ASKED)])
    assert found(result) == {"answered_twice": 1, "ended_twice": 1}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"id": "d-1~3"}, "its id 'd-1~3' is not 'd-1~2'"),
        ({"id": "d-1~3", "attempt": 3}, "it does not fit t.reevaluations/0/0 in attempt"),
        ({"id": "d-9~2", "root_id": "d-9"}, "it does not fit t.reevaluations/0/0 in root_id"),
        ({"first_observed_at_ms": OBSERVED_MS + 1}, "it does not fit t.reevaluations/0/0 in first_observed_at_ms"),
        ({"final_deadline_ms": FINAL_MS + 1}, "it does not fit t.reevaluations/0/0 in final_deadline_ms"),
        ({"entity": "acct-9"}, "it does not fit t.reevaluations/0/0 in entity"),
        ({"workflow": "refunds"}, "it does not fit t.reevaluations/0/0 in workflow"),
        ({"cause": "stale.context"}, "it does not fit t.reevaluations/0/0 in cause"),
        ({"source": None}, "it does not fit t.reevaluations/0/0 in source"),
    ],
)
def test_a_successor_that_does_not_fit_its_request_is_a_misfit(fields: dict[str, Any], said: str) -> None:
    other = successor(ASKED, **fields)
    final_ms = fields.get("final_deadline_ms", FINAL_MS)
    answer = commanded(other, deadline_ms=min(final_ms, LATE_MS + 600_000))
    assert wrong([FIRST, other], [ASKED, answer], "misfits") == said


def test_a_successor_with_another_key_or_in_another_partition_is_a_misfit() -> None:
    other = replace(AGAIN, key=b"acct-9")
    assert wrong([FIRST, other], [ASKED, commanded(other)], "misfits").endswith("in key")
    moved = replace(AGAIN, partition=1)
    assert wrong([FIRST, moved], [ASKED, commanded(moved)], "misfits") == "it is in partition 1, its request in 0"


@pytest.mark.parametrize("name", ["decision_id", "attempt", "workflow", "entity", "source"])
def test_an_exception_that_does_not_fit_its_request_is_a_misfit(name: str) -> None:
    other = unsaved(ASKED).changed(**{name: 7})
    assert wrong([FIRST], [ASKED, other], "misfits") == f"it does not fit t.reevaluations/0/0 in {name}"


def test_an_exception_that_carries_another_decision_or_key_is_a_misfit() -> None:
    altered = unsaved(ASKED).rewritten("1.50", "1.5")
    assert wrong([FIRST], [ASKED, altered], "misfits").endswith("in decision")
    assert wrong([FIRST], [ASKED, replace(unsaved(ASKED), key=b"x")], "misfits").endswith("in key")
    assert wrong([FIRST], [ASKED, replace(unsaved(ASKED), partition=1)], "misfits").endswith("in partition")


@pytest.mark.parametrize("answer", [AGAIN, unsaved(ASKED)], ids=["successor", "exception"])
def test_an_answer_to_a_request_that_is_not_there_is_unexplained_as_far_as_requests_were_read(answer: Rec) -> None:
    inputs, outputs = [FIRST], [exception(FIRST)]
    if answer.topic == SUCCESSORS:
        inputs, outputs = [FIRST, answer], [exception(FIRST), commanded(answer)]
    else:
        outputs = [exception(FIRST), answer]
    assert wrong(inputs, outputs, "unexplained") == "t.reevaluations/0/0 is no request"
    assert found(judged(inputs, outputs, reach={0: (5, 9)})) == {}, "its request has been removed"
    assert found(judged(inputs, outputs, reach={0: (0, 0)})) == {}, "its request came later than the audit"


def test_a_successor_of_no_request_answers_none() -> None:
    """A redrive's cause is a record on another topic; those of tests have none."""
    for cause in (None, {"topic": "t.case-actions", "partition": 0, "offset": 3}):
        given = successor(ASKED, caused_by=cause)
        result = judged([FIRST, given], [exception(FIRST), commanded(given)])
        assert (found(result), result.reevaluations_answered) == ({}, 0)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"root_id": "d-2"}, "its root_id 'd-2' is not its input's"),
        ({"attempt": 2}, "its attempt is 2, its input's is 1"),
        ({"attempt": True}, "its attempt is True, its input's is 1"),
        ({"first_observed_at_ms": 1}, f"its first_observed_at_ms is 1, its input's is {OBSERVED_MS}"),
        ({"request_id": "q-0-0"}, "its request_id 'q-0-0' is not that of its source"),
        ({"decision_id": "d-2"}, "its decision_id 'd-2' is not its input's"),
        ({"value_minor": 1}, "its value_minor 1 is not its input's"),
        ({"final_deadline_ms": None}, "its gated_at_ms or final_deadline_ms is not a time"),
        ({"final_deadline_ms": LATE_MS}, "it was gated at or past its final_deadline_ms"),
        ({"age_ms": 1}, "its age_ms is 1, gated_at_ms less observed_at_ms is 700000"),
        ({"attempts": []}, "its attempts [] do not end with its input, attempt 1"),
        ({"attempts": None}, "its attempts [] do not end with its input, attempt 1"),
        ({"attempts": [{"attempt": 1, "observed_at_ms": 5}]}, "its attempts [1] do not end with its input"),
        ({"decision": None}, "it carries no decision"),
    ],
)
def test_a_request_that_does_not_fit_its_input_is_altered(fields: dict[str, Any], said: str) -> None:
    asked = ASKED.changed(**fields)
    result = judged([FIRST], [asked], answering={})
    assert found(result) == {"altered": 1}
    assert result.examples["altered"][0].wrong.startswith(said)


def test_a_request_whose_decision_is_not_verbatim_is_altered() -> None:
    asked = ASKED.rewritten("1.50", "1.5")
    assert found(judged([FIRST], [asked], answering={})) == {"altered": 1}


def test_a_request_keeps_the_final_deadline_of_its_root_and_its_whole_history() -> None:
    asked_again = request(AGAIN, offset=1)
    assert found(judged([FIRST, AGAIN], [ASKED, asked_again], answering={(REEVALUATIONS, 0): 1})) == {}
    for fields in (
        {"final_deadline_ms": FINAL_MS - 1},
        {"attempts": [{"attempt": 2, "observed_at_ms": LATE_MS + 8}] * 2},
        {"attempts": [{"attempt": None}, {"attempt": 2, "observed_at_ms": LATE_MS + 8}]},
    ):
        asked = asked_again.changed(**fields)
        assert found(judged([FIRST, AGAIN], [ASKED, asked], answering={(REEVALUATIONS, 0): 1})) == {"altered": 1}


def test_a_request_resting_on_what_is_no_decision_is_altered() -> None:
    broken = replace(FIRST, value=b'{"id":"d-1"}')
    assert found(judged([broken], [ASKED], answering={})) == {"altered": 1}


def test_two_commands_of_one_root_are_a_command_twice_and_an_ending_twice() -> None:
    second = decision(1, "d-1")
    outputs = [ASKED, commanded(AGAIN), commanded(second, 1, deadline_ms=OBSERVED_MS + 800_000)]
    assert found(judged([FIRST, AGAIN, second], outputs)) == {"command_twice": 1, "ended_twice": 1}


def test_two_endings_of_one_root_before_its_final_deadline_break_the_promise() -> None:
    """The window should have called the repetition a duplicate: then it is none."""
    repeated = decision(1, "d-1")
    named = ['"kind"', '"decision_id":"d-1","kind"']
    ended = exception(repeated).rewritten(*named)
    assert found(judged([FIRST, AGAIN, repeated], [ASKED, commanded(AGAIN), ended])) == {"ended_twice": 1}
    told = exception(repeated, "duplicate.repeat").rewritten(*named)
    assert found(judged([FIRST, AGAIN, repeated], [ASKED, commanded(AGAIN), told])) == {}


def test_one_start_ends_once_however_late_the_second_ending_is() -> None:
    elsewhere = {"topic": "t.reviews", "partition": 0, "offset": 1}
    late = unsaved(ASKED, "review.expired").changed(gated_at_ms=FINAL_MS + 1, caused_by=elsewhere)
    assert found(judged([FIRST, AGAIN], [ASKED, commanded(AGAIN), late])) == {"ended_twice": 1}


def test_a_record_that_was_never_let_in_is_no_ending_of_the_root_that_it_names() -> None:
    """Its producer sent it again, and better; but a successor that is refused has ended its root."""
    refused = exception(decision(1, "d-1"), "invalid.time").rewritten('"kind"', '"decision_id":"d-1","kind"')
    assert found(judged([FIRST, AGAIN, decision(1, "d-1")], [ASKED, commanded(AGAIN), refused])) == {}
    of_successor = exception(AGAIN, "invalid.time").rewritten('"kind"', '"decision_id":"d-1~2","kind"')
    reviewed = commanded(FIRST, 9, gated_at_ms=OBSERVED_MS + 5, deadline_ms=LATE_MS).changed(kind="followup")
    assert found(judged([FIRST, AGAIN], [ASKED, of_successor, reviewed])) == {"ended_twice": 1}


def test_what_ended_at_once_and_was_sent_again_ends_its_root_once() -> None:
    """Halted or shed, it never went out; sent again it was asked about again, and became the one command."""
    before, out = decision(0, "d-1"), decision(1, "d-1")
    asked = request(out)
    again = successor(asked)
    for reason in ("halted", "shed.overload", "boundary.blocked"):
        told = exception(before, reason).rewritten('"kind"', '"decision_id":"d-1","kind"')
        assert found(judged([before, out, again], [asked, told, commanded(again)])) == {}


def test_an_id_that_its_producer_uses_again_later_is_the_producers_fault() -> None:
    later = decision(1, "d-1", observed_at_ms=FINAL_MS + 10_000)
    again = command(later).changed(
        gated_at_ms=FINAL_MS + 10_163, deadline_ms=FINAL_MS + 20_000, age_ms=163, stages_ms={"gate": 163}
    )
    result = judged([FIRST, AGAIN, later], [ASKED, commanded(AGAIN), replace(again, timestamp=0)])
    assert result.ok
    assert set(found(result)) == {"id_reused"}


def test_what_happens_to_a_command_and_reviews_are_no_endings() -> None:
    failed = unsaved(ASKED, "execution.failed").changed(caused_by={"topic": "t.receipts", "partition": 0, "offset": 1})
    sampled = review(AGAIN, offset=9).changed(kind="audit_sample")
    assert found(judged([FIRST, AGAIN], [ASKED, commanded(AGAIN), failed, sampled])) == {}


def test_the_same_root_in_another_partition_is_another_one() -> None:
    elsewhere = decision(0, "d-1", partition=1)
    outputs = [ASKED, commanded(AGAIN), exception(elsewhere)]
    assert found(judged([FIRST, AGAIN, elsewhere], outputs)) == {}


@pytest.mark.parametrize("cause", [None, 5, {}, {"topic": REEVALUATIONS}, {"topic": REEVALUATIONS, "offset": "x"}])
def test_a_cause_that_cannot_be_read_is_nobodys_answer(cause: object) -> None:
    given = successor(ASKED, caused_by=cause)
    assert found(judged([FIRST, given], [ASKED, commanded(given)])) == {"unanswered": 1}


def test_the_report_for_people_counts_lineage() -> None:
    console = Console(record=True, width=160)
    judged([FIRST, AGAIN], [ASKED, request(AGAIN, offset=1)], answering={(REEVALUATIONS, 0): 1}).print(console)
    lines = [" ".join(line.replace("│", " ").split()) for line in console.export_text().splitlines()]
    assert {"reevaluations 2", "stale.age 2", "answered 1", "pending 1", "successors up to attempt 2 1"} <= set(lines)


def test_a_foreign_record_is_unexplained_itself_and_the_exception_that_names_it_is_not() -> None:
    foreign = replace(ASKED, value=b"\xff\xfe", offset=0)
    assert wrong([FIRST], [exception(FIRST), foreign, unsaved(ASKED)], "unexplained") == "it is not a JSON object"
