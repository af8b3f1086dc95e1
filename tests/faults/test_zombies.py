"""Owners that come back: frozen past their session, or held inside their commit while the partition moves."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from streams.runtime.broker import Broker, BrokerConfig
from streams.runtime.settings import SESSION_S
from tests.faults.conftest import Report
from tests.faults.fleet import Fleet, wait_until
from tests.faults.load import Load

pytestmark = pytest.mark.faults

ZOMBIES = 5


def test_a_worker_that_slept_past_its_session_appends_nothing_when_it_wakes(fleet: Fleet, report: Report) -> None:
    with Load(fleet, "zombies"):
        pair = [fleet.start(), fleet.start()]
        fleet.wait_for_progress()
        for turn in range(ZOMBIES):
            frozen = pair[turn % 2]
            frozen.signal(signal.SIGSTOP)
            time.sleep(SESSION_S + 4)
            fleet.wait_for_progress()  # the other one has taken over
            frozen.signal(signal.SIGCONT)
            fleet.wait_for_progress(400)
            pair = [one if one.process.poll() is None else fleet.start() for one in pair]
    fleet.wait_until_done()
    verdict = fleet.audit()
    report(
        f"{ZOMBIES} zombies over {verdict['inputs']} inputs: missing {verdict['missing']}, "
        f"duplicates {verdict['duplicates']}"
    )


# The broker ends no transaction by its time-out during the test: only the fence is left to stop the old owner.
PATIENT = {"transaction.abort.timed.out.transaction.cleanup.interval.ms": "600000"}


def test_a_commit_held_while_its_partition_moves_is_fenced(prefix: str, tmp_path: Path, report: Report) -> None:
    """The old owner is stopped right before its commit and wakes while the new one stands between fencing it and
    reading the offsets. In any other order of the hand-over its commit would go through, after the offsets were read.
    """
    with Broker(BrokerConfig(properties=PATIENT)) as broker:
        fleet = Fleet(broker.bootstrap, prefix, tmp_path)
        try:
            _hold_and_move(fleet, tmp_path, report)
        finally:
            fleet.end()


def _hold_and_move(fleet: Fleet, tmp_path: Path, report: Report) -> None:
    hold_old, hold_new = tmp_path / "hold-old", tmp_path / "hold-new"
    with Load(fleet, "held"):
        old = fleet.start(f"before_commit=hold:{hold_old}")
        fleet.wait_for_progress(400)
        hold_old.touch()
        time.sleep(1)  # every lane of the old owner has come to its commit
        old.signal(signal.SIGSTOP)
        hold_new.touch()
        new = fleet.start(f"hand_over_with_producer=hold:{hold_new}")
        wait_until(lambda: "assigned" in new.says(), 60, "the new owner got nothing", fleet)
        time.sleep(2)  # every lane of the new owner has its producer
        hold_old.unlink()
        old.signal(signal.SIGCONT)
        # Time for the old owner's commit, and too little for the group to notice that it is back: then the partitions
        # would move once more, and what the new owner read too early would be forgotten.
        time.sleep(0.15)
        hold_new.unlink()
        fleet.wait_for_progress()
    fleet.wait_until_done()
    verdict = fleet.audit()
    report(f"one owner held in its commit: missing {verdict['missing']}, duplicates {verdict['duplicates']}")
    assert "another owner" in old.says(), old.says()[-2000:]
