"""The README's producer and executor, run as they stand there, with a gate between them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from streams.runtime.broker import Broker
from tests.faults.fleet import Fleet, wait_until

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_producer_and_the_executor_of_the_readme_meet_through_the_gate(
    kafka: Broker, prefix: str, tmp_path: Path
) -> None:
    producer, executor = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    (policy,) = re.findall(r"^```yaml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    fleet = Fleet(kafka.bootstrap, prefix, tmp_path)
    (fleet.policies / "payout.yaml").write_text(policy)
    environment = {**os.environ, "SLUICEGATE_BOOTSTRAP": kafka.bootstrap}
    try:
        worker = fleet.start()
        wait_until(lambda: worker.says().count("partition ready") == 4, 60, "the gate did not start", fleet)
        for program in (producer, executor):
            done = subprocess.run(
                [sys.executable, "-c", program.replace('"sluicegate.', f'"{prefix}')],
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 0, done.stderr
        assert done.stdout == "pay DE02-1203 12.50\n"
    finally:
        fleet.end()
    fleet.audit()
