"""The measured allowance: what receipts say of the time from issue to execution, and what they may not do to it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streams.allowance import RECEIPTS_MAX, RECEIPTS_MIN, WINDOW_MS, Allowances
from tests.streams.making import NOW_MS, policy

MEASURED = {"initial": "2s", "at_least": "100ms", "at_most": "5s"}


def allowances() -> Allowances:
    fixed = policy(workflow="routing", index=1, allowance="3s")
    none = policy(workflow="documents", index=2)
    other = policy(workflow="claims", index=3, allowance={**MEASURED, "initial": "1s"})
    return Allowances([policy(allowance=MEASURED), fixed, none, other])


def receipt(number: int = 0, took_ms: int = 400, status: str = "executed", **more: Any) -> bytes:
    fields = {
        "command_id": f"c-{number}",
        "workflow": "billing",
        "entity": "acct-17",
        "gated_at_ms": NOW_MS,
        "deadline_ms": NOW_MS + 600_000,
        "status": status,
        "started_at_ms": NOW_MS + took_ms,
        "at_ms": NOW_MS + took_ms + 50,
        **more,
    }
    return json.dumps(fields).encode()


def filled(count: int, took_ms: int = 400) -> Allowances:
    found = allowances()
    for number in range(count):
        assert found.add(receipt(number, took_ms), NOW_MS) == "counted"
    return found


def present_ms(found: Allowances, now_ms: int = NOW_MS) -> int:
    return found.present_ms(now_ms)[0]


def test_until_enough_receipts_have_come_the_initial_one_holds() -> None:
    assert allowances().present_ms(NOW_MS) == {0: 2_000, 3: 1_000}
    assert present_ms(filled(RECEIPTS_MIN - 1)) == 2_000
    assert filled(RECEIPTS_MIN).present_ms(NOW_MS) == {0: 400, 3: 1_000}


def test_it_is_the_time_that_19_of_20_executions_take_at_most() -> None:
    found = allowances()
    for number in range(100):
        found.add(receipt(number, took_ms=(number * 37 % 100 + 1) * 10), NOW_MS)
    assert present_ms(found) == 950


@pytest.mark.parametrize(("took_ms", "expected_ms"), [(3, 100), (100_000, 5_000)])
def test_it_stays_within_what_the_policy_allows(took_ms: int, expected_ms: int) -> None:
    assert present_ms(filled(RECEIPTS_MIN, took_ms)) == expected_ms


def test_receipts_leave_with_the_window_and_without_enough_the_initial_one_holds_again() -> None:
    found = filled(RECEIPTS_MIN)
    assert present_ms(found, NOW_MS + WINDOW_MS - 1) == 400
    assert present_ms(found, NOW_MS + WINDOW_MS) == 2_000


def test_of_more_receipts_than_it_keeps_the_oldest_go() -> None:
    found = filled(RECEIPTS_MAX, 4_000)
    for number in range(RECEIPTS_MAX):
        found.add(receipt(RECEIPTS_MAX + number, 400), NOW_MS)
    assert present_ms(found) == 400


def test_one_that_expired_took_at_least_until_that_was_found() -> None:
    found = allowances()
    for number in range(RECEIPTS_MIN):
        value = receipt(number, status="expired", started_at_ms=None, at_ms=NOW_MS + 3_000)
        assert found.add(value, NOW_MS) == "counted"
    assert present_ms(found) == 3_000


@pytest.mark.parametrize(
    "value",
    [
        receipt(status="refused"),
        receipt(status="unknown"),
        receipt(status="failed", started_at_ms=None),
        receipt(workflow="routing"),
        receipt(workflow="nobody's"),
    ],
)
def test_what_was_never_started_or_is_not_measured_says_nothing(value: bytes) -> None:
    found = allowances()
    assert found.add(value, NOW_MS) == "not_measured"


@pytest.mark.parametrize("value", [None, b"", b"{", b"\xff", b"[" * 100_000, b"{}", receipt(at_ms="soon")])
def test_what_cannot_be_read_is_ignored(value: bytes | None) -> None:
    assert allowances().add(value, NOW_MS) == "unreadable"


def test_an_execution_that_ended_before_it_began_is_ignored() -> None:
    found = filled(RECEIPTS_MIN - 1)
    assert found.add(receipt(99, at_ms=NOW_MS + 399), NOW_MS) == "out_of_order"
    assert present_ms(found) == 2_000


def test_a_clock_that_is_behind_ours_makes_a_time_of_0_and_is_told() -> None:
    found = allowances()
    for number in range(RECEIPTS_MIN):
        assert found.add(receipt(number, took_ms=-70), NOW_MS) == "skewed"
    assert present_ms(found) == 100


def test_a_receipt_that_comes_twice_counts_once() -> None:
    found = filled(RECEIPTS_MIN - 1)
    assert found.add(receipt(0), NOW_MS) == "repeated"
    assert present_ms(found) == 2_000


def test_workflows_are_measured_apart_and_failed_executions_count() -> None:
    found = filled(RECEIPTS_MIN)
    for number in range(RECEIPTS_MIN):
        assert found.add(receipt(number + 500, 900, "failed", workflow="claims"), NOW_MS) == "counted"
    assert found.present_ms(NOW_MS) == {0: 400, 3: 900}
