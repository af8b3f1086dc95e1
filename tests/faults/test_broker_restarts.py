"""The broker goes and comes back, in order and by SIGKILL, under a worker that stays."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from streams.runtime.broker import Broker, BrokerConfig
from tests.faults.conftest import Report
from tests.faults.fleet import Fleet
from tests.faults.load import Load

pytestmark = pytest.mark.faults


def test_a_worker_outlives_restarts_of_the_broker(prefix: str, tmp_path: Path, report: Report) -> None:
    with Broker(BrokerConfig(data=tmp_path / "kafka")) as broker:
        fleet = Fleet(broker.bootstrap, prefix, tmp_path)
        try:
            with Load(fleet, "restarts"):
                worker = fleet.start()
                for how in (broker.stop, broker.kill, broker.stop):
                    fleet.wait_for_progress(400)
                    how()
                    time.sleep(3)
                    broker.start()
                fleet.wait_for_progress(400, within_s=120)
            deadline = time.monotonic() + 120
            while not fleet.is_done():
                assert worker.process.poll() is None, worker.says()[-20000:]
                assert time.monotonic() < deadline, worker.says()[-20000:]
                time.sleep(0.5)
            assert worker.stop() == 0, worker.says()[-3000:]
            verdict = fleet.audit()
            report(
                f"3 restarts of the broker over {verdict['inputs']} inputs: missing {verdict['missing']}, "
                f"duplicates {verdict['duplicates']}"
            )
        finally:
            fleet.end()
