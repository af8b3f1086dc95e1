"""Retention overtakes a gate that was away: the audit names exactly what was lost, and nothing else is."""

from __future__ import annotations

import pytest

from tests.faults.conftest import Report
from tests.faults.fleet import PARTITIONS, Fleet
from tests.faults.load import Load

pytestmark = pytest.mark.faults


def test_what_was_removed_before_it_was_read_is_named_and_nothing_else_is_lost(fleet: Fleet, report: Report) -> None:
    with Load(fleet, "removed"):
        away = fleet.start()
        fleet.wait_for_progress(400)
        assert away.stop() == 0
        for number, count in ((0, 40), (PARTITIONS - 1, 7)):
            fleet.removes(number, count)
        back = fleet.start()
        fleet.wait_for_progress(400)
    fleet.wait_until_done()
    assert back.stop() == 0
    verdict = fleet.audit()
    report(f"removed before they were read: {verdict['lost']} of {verdict['inputs']} inputs; missing 0, duplicates 0")
