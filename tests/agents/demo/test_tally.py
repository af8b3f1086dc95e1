"""The tally counts dispositions alone, and sums money in integers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agents.demo.tally import Tally, percentile


def output(**fields: Any) -> bytes:
    return json.dumps({"kind": "disposition", "workflow": "billing"} | fields).encode()


def command(value_minor: int, **fields: Any) -> bytes:
    stages = {"inference": 100, "producer": 10, "transport": 2, "queue": 5, "gate": 1}
    always = {"command_id": "c-1", "gated_at_ms": 10_118, "deadline_ms": 11_000, "stages_ms": stages, "age_ms": 118}
    return output(value_minor=value_minor, reason="within_bounds", **always | fields)


def test_money_is_acted_on_waiting_or_held_back_and_a_repeat_is_no_money() -> None:
    tally = Tally()
    tally.add("commands", command(2**53))
    tally.add("commands", command(1))
    tally.add("reviews", output(reasons=["value_over_limit"], decision={"value_minor": 7000}, fresh_until_ms=0))
    tally.add("exceptions", output(reason="stale.age", value_minor=300))
    tally.add("exceptions", output(reason="duplicate.repeat", value_minor=2**53))
    tally.add("exceptions", output(reason="invalid.json", workflow=None, value_minor=None, decision=None))
    assert tally.acted_minor() == 2**53 + 1
    assert tally.waiting_minor() == 7000
    assert tally.held_back_minor() == 300
    assert tally.answered == 6
    assert tally.counts[("-", "exceptions", "invalid.json")] == 1
    assert tally.families == {"stale": 1, "duplicate": 1, "invalid": 1}


@pytest.mark.parametrize("kind", ["followup", "audit_sample"])
def test_later_steps_are_not_counted(kind: str) -> None:
    tally = Tally()
    tally.add("reviews", output(kind=kind, reasons=["audit_sample"], value_minor=5))
    assert tally.answered == tally.waiting_minor() == 0


def test_latency_is_by_stage_of_the_commands() -> None:
    tally = Tally()
    tally.add("commands", command(1))
    tally.add("exceptions", output(reason="stale.age", stages_ms={"producer": 99_999}))
    latency = tally.latency()
    assert latency["producer"] == {"p50": 10, "p95": 10, "p99": 10}
    assert latency["sent to decided"]["p50"] == 8
    assert latency["age"]["p99"] == 118


def test_a_share_is_age_by_budget_of_what_a_budget_was_held_against() -> None:
    tally = Tally()
    tally.add("commands", command(1))
    reviewed = {"age_ms": 500, "gated_at_ms": 10_500, "reasons": ["rule"]}
    tally.add("reviews", output(fresh_until_ms=12_000, **reviewed))
    tally.add("reviews", output(fresh_until_ms=0, **reviewed))
    tally.add("exceptions", output(reason="stale.age", age_ms=3_000, budget_ms=1_000))
    tally.add("exceptions", output(reason="duplicate.repeat", age_ms=3_000, budget_ms=1_000))
    tally.add("exceptions", output(reason="invalid.json", age_ms=None))
    assert tally.shares_permille == [118, 250, 3000]


@pytest.mark.parametrize(("percent", "expected"), [(50, 50), (95, 95), (99, 99), (100, 100)])
def test_percentiles_are_the_nearest_rank(percent: int, expected: int) -> None:
    assert percentile(range(1, 101), percent) == expected
    assert percentile([7], percent) == 7
