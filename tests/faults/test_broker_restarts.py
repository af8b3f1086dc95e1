"""The broker goes and comes back, in order and by SIGKILL, under a worker that stays.

Known and not understood yet: after about one restart in thirty the one-node broker keeps a transaction open that no
initialisation of its producer ends; readers and the hand-over of that partition number then wait, nothing is lost, and
no restart of the worker helps. Such a run says so in its output and is done again on a fresh broker; any other failure
is final.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from streams.runtime.broker import Broker, BrokerConfig
from tests.faults.conftest import Report
from tests.faults.fleet import Fleet
from tests.faults.load import Load

pytestmark = pytest.mark.faults

TRIES = 4
LEFT_OPEN = "brings nothing past offset"  # what the hand-over says of a changelog behind an open transaction


def test_a_worker_outlives_restarts_of_the_broker(prefix: str, tmp_path: Path, report: Report) -> None:
    for attempt in range(TRIES):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        verdict = _three_restarts(prefix, folder)
        if verdict is not None:
            report(
                f"3 restarts of the broker over {verdict['inputs']} inputs: missing {verdict['missing']}, "
                f"duplicates {verdict['duplicates']}; runs in which the broker left a transaction open: {attempt}"
            )
            return
        report("the broker left a transaction open after a restart: once more on a fresh one")
    pytest.fail(f"the broker left a transaction open in {TRIES} runs of {TRIES}")


def _three_restarts(prefix: str, folder: Path) -> dict[str, object] | None:
    """The audit's verdict, or None when the broker left a transaction open."""
    with Broker(BrokerConfig(data=folder / "kafka")) as broker:
        fleet = Fleet(broker.bootstrap, prefix, folder)
        try:
            with Load(broker.bootstrap, prefix + "decisions", "restarts"):
                worker = fleet.start()
                for how in (broker.stop, broker.kill, broker.stop):
                    fleet.wait_for_progress(400)
                    how()
                    time.sleep(3)
                    broker.start()
                fleet.wait_for_progress(400, within_s=120)
            deadline = time.monotonic() + 120
            while not fleet.is_done():
                if LEFT_OPEN in worker.says():
                    return None
                assert worker.process.poll() is None, worker.says()[-20000:]
                assert time.monotonic() < deadline, worker.says()[-20000:]
                time.sleep(0.5)
            assert worker.stop() == 0, worker.says()[-3000:]
            return fleet.audit()
        finally:
            fleet.end()
