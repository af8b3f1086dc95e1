"""What the world does on an ordinary Monday, at once: a clock steps by an hour, retention takes what nobody has read.

The load brings strangers along, as in all fault tests. The audit names exactly what was lost, and nothing else is.
"""

from __future__ import annotations

import pytest

from tests.faults.conftest import Report
from tests.faults.fleet import PARTITIONS, Fleet, wait_until
from tests.faults.load import Load

pytestmark = pytest.mark.faults

HOUR_MS = 3_600_000
APART = "the clocks to agree"


def test_a_clock_steps_and_retention_overtakes_and_only_what_was_removed_is_lost(fleet: Fleet, report: Report) -> None:
    off = fleet.folder / "off-by-ms"
    with Load(fleet, "unfriendly"):
        pair = [fleet.start(f"clock=shift:{off}"), fleet.start()]
        fleet.wait_for_progress(400)
        off.write_text(str(HOUR_MS))
        wait_until(lambda: APART in pair[0].says(), 60, "the step of the clock was not seen", fleet)
        off.unlink()
        fleet.wait_for_progress(800)
        assert [one.stop() for one in pair] == [0, 0]
        for number, count in ((0, 40), (PARTITIONS - 1, 7)):
            fleet.removes(number, count)
        back = fleet.start()
        fleet.wait_for_progress(400)
    fleet.wait_until_done()
    assert back.stop() == 0
    verdict = fleet.audit()
    report(
        f"a clock ahead by an hour, {verdict['lost']} offsets removed unread, {fleet.strangers[0].unexplained} strange "
        f"records on outputs; {verdict['inputs']} inputs: missing {verdict['missing']}, duplicates "
        f"{verdict['duplicates']}, commanded twice {verdict['command_twice']}"
    )
