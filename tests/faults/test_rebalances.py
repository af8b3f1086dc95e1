"""1-3-1 workers: every rebalance hands all partitions over, and none is split."""

from __future__ import annotations

import pytest

from tests.faults.conftest import Report
from tests.faults.fleet import Fleet, wait_until
from tests.faults.load import Load

pytestmark = pytest.mark.faults

ROUNDS = 5


def test_workers_come_and_go_and_nothing_is_lost_or_done_twice(fleet: Fleet, report: Report) -> None:
    with Load(fleet, "rounds"):
        stays = fleet.start()
        fleet.wait_for_progress()
        for _ in range(ROUNDS):
            guests = [fleet.start(), fleet.start()]
            for guest in guests:
                wait_until(lambda one=guest: "partition ready" in one.says(), 60, "no partition came", fleet)  # type: ignore[misc]  # mypy cannot type a lambda's default
            fleet.wait_for_progress(400)
            assert [guest.stop() for guest in guests] == [0, 0]
            fleet.wait_for_progress(400)
    fleet.wait_until_done()
    assert stays.stop() == 0
    verdict = fleet.audit()
    report(
        f"{ROUNDS} rounds of 1-3-1 workers over {verdict['inputs']} inputs: missing {verdict['missing']}, "
        f"duplicates {verdict['duplicates']}, out of order {verdict['out_of_order']}"
    )
