"""SIGKILL at chosen points of the transaction and at random, and what follows: nothing lost, nothing twice, soon."""

from __future__ import annotations

import bisect
import random
import signal
import statistics
import time

import pytest

from tests.faults.conftest import Report
from tests.faults.fleet import Fleet
from tests.faults.load import Load

pytestmark = pytest.mark.faults

CHOSEN = [
    *("before_transaction=kill@1", "before_transaction=kill@7", "before_transaction=kill@23"),
    *("between_sends=kill@1", "between_sends=kill@2", "between_sends=kill@3", "between_sends=kill@11"),
    *("before_commit=kill@1", "before_commit=kill@5", "before_commit=kill@9", "before_commit=kill@30"),
    *("after_commit=kill@1", "after_commit=kill@4", "after_commit=kill@17"),
    *("hand_over_with_producer=kill@1", "hand_over_with_producer=kill@3"),
]
AT_RANDOM = 6


def test_nothing_is_lost_or_done_twice_when_workers_are_killed(fleet: Fleet, report: Report) -> None:
    rnd = random.Random(11)
    kills_ms: list[int] = []
    with Load(fleet, "kills"):
        for failpoint in CHOSEN:
            process = fleet.start(failpoint)
            code = process.process.wait(60)
            assert code == -signal.SIGKILL, f"{failpoint}: exit {code}\n{process.says()[-2000:]}"
            kills_ms.append(time.time_ns() // 1_000_000)
        for _ in range(AT_RANDOM):
            process = fleet.start()
            fleet.wait_for_progress()
            time.sleep(rnd.uniform(0, 1.5))
            process.kill()
            kills_ms.append(time.time_ns() // 1_000_000)
        last = fleet.start()
        fleet.wait_for_progress()
    fleet.wait_until_done()
    assert last.stop() == 0
    verdict = fleet.audit()
    recovered = _to_the_next_command_s(kills_ms, fleet.command_times_ms())
    report(
        f"{len(kills_ms)} SIGKILLs over {verdict['inputs']} inputs: missing {verdict['missing']}, duplicates "
        f"{verdict['duplicates']}; kill to next command: median {statistics.median(recovered):.1f} s, "
        f"max {max(recovered):.1f} s (over {len(recovered)} kills)"
    )
    assert len(kills_ms) >= 20


def _to_the_next_command_s(kills_ms: list[int], appended_ms: list[int]) -> list[float]:
    """For each kill whose successor lived long enough to issue a command: how long that took."""
    found = []
    for kill_ms, next_kill_ms in zip(kills_ms, [*kills_ms[1:], 2**62], strict=True):
        at = bisect.bisect_right(appended_ms, kill_ms)
        if at < len(appended_ms) and appended_ms[at] < next_kill_ms:
            found.append((appended_ms[at] - kill_ms) / 1000)
    return found
