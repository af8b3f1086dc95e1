"""A frame fits the terminal, from the smallest it is drawn on, and says what the counts say."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from agents.demo.flow import Flow
from agents.demo.tally import Tally
from agents.demo.view import HEIGHT_MIN, WIDTH_MIN, Screen, frame, spent, totals
from agents.demo.watch import Moment

MOMENT = Moment(9, 5_000_000, 18_000_000, "2019-01, rater backed up")


def output(**fields: Any) -> bytes:
    return json.dumps({"kind": "disposition", "workflow": "billing", "gated_at_ms": 100_000} | fields).encode()


def busy(reasons: int = 30) -> Tally:
    """As large as numbers get, with more reasons than a screen has rows."""
    tally = Tally()
    for number in range(10):
        command = {"command_id": f"c-{number}", "value_minor": 10**11, "reason": "within_bounds", "stages_ms": {}}
        tally.add("commands", output(age_ms=300, deadline_ms=119_700, **command))
        status = {"status": "executed" if number else "unknown", "started_at_ms": 108_700}
        tally.add("receipts", json.dumps({"command_id": f"c-{number}"} | status).encode())
    for number in range(reasons):
        reason = f"stale.some_long_reason_to_be_cut_{number}"
        tally.add("exceptions", output(reason=reason, age_ms=25_000, budget_ms=20_000, value_minor=5))
    tally.counts["billing", "commands", "within_bounds"] = tally.kinds["commands"] = 15_000_000
    return tally


def drawn(tally: Tally, width: int, height: int, moment: Moment = MOMENT) -> list[str]:
    flow = Flow()
    flow.note(moment.second, totals(moment, tally))
    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=True, color_system=None)
    console.print(frame(moment, tally, flow, Screen(width, height)))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize(("width", "height"), [(WIDTH_MIN, HEIGHT_MIN), (80, 24), (97, 30), (200, 60)])
@pytest.mark.parametrize("tally", [Tally(), busy()], ids=["nothing yet", "busy"])
def test_it_fits_and_leaves_a_row_for_the_cursor(width: int, height: int, tally: Tally) -> None:
    lines = drawn(tally, width, height)
    assert len(lines) < height
    assert {len(line) for line in lines} == {width}


def test_it_says_what_was_counted() -> None:
    text = " ".join(" ".join(drawn(busy(), 80, 24)).split())
    for words in (
        "Sluicegate: 2019-01, rater backed up",
        "5,000,000 of 18,000,000 sent",
        " 27 %",
        "decisions in 555,555 5,000,000 █",
        "executed 9",
        "expired 0, unknown 1",
        "acted on 10,000,000,000.00 USD",
        "executed 9,000,000,000.00 USD",
        "held back 1.50 USD",
    ):
        assert words in text, words


def test_ages_are_shares_of_the_budget_of_20_s() -> None:
    text = " ".join(" ".join(drawn(busy(reasons=10), 80, 24)).split())
    assert "acted on 45.0 % 45.0 %" in text
    assert "decided 1.5 % 125.0 %" in text


def test_what_does_not_fit_is_summed_up() -> None:
    rows = drawn(busy(), 80, 24)
    assert sum("stale.some_long" in row for row in rows) == 6
    assert any("24 more" in row and " 24 " in row for row in rows)


def test_shares_fall_into_their_part_of_the_histogram_and_the_whole_budget_is_too_late() -> None:
    assert spent([0, 19, 20, 99, 100, 499, 500, 999, 1000, 5000]) == [2, 2, 2, 2, 2]
