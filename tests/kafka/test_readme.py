"""The README's producer and executor, run as they stand there, with a gate between them; and its part on the demo."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

from agents.demo.report import BREACHES
from agents.demo.tally import KINDS
from streams.runtime.broker import Broker
from tests.faults.fleet import Fleet, wait_until
from tests.kafka.harness import Child, read

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
KIT = ROOT / "deploy/clients/python"


def test_the_producer_and_the_executor_of_the_readme_meet_through_the_gate(
    kafka: Broker, prefix: str, tmp_path: Path
) -> None:
    programs = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    policy, *_ = re.findall(r"^```yaml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    fleet = Fleet(kafka.bootstrap, prefix, tmp_path)
    (fleet.policies / "payout.yaml").write_text(policy)
    environment = {"SLUICEGATE_BOOTSTRAP": kafka.bootstrap, "SLUICEGATE_PREFIX": prefix, "PYTHONPATH": str(KIT)}
    # `acted.db` is beside the program
    commands = [[sys.executable, "-c", f"import os; os.chdir({str(tmp_path)!r})\n{each}"] for each in programs]
    try:
        worker = fleet.start()
        wait_until(lambda: worker.says().count("partition ready") == 4, 60, "the gate did not start", fleet)
        with Child(commands[0], tmp_path / "producer.log", environment) as producer:
            assert asyncio.run(producer.ended()) == 0, producer.log
        with Child(commands[1], tmp_path / "pay.log", environment) as executor:
            asyncio.run(executor.said("pay DE02-1203 12.50"))
            (found,) = asyncio.run(read(kafka.bootstrap, [prefix + "receipts"], 1))
            assert asyncio.run(executor.stop()) == 0, executor.log
        assert found.json()["status"] == "executed"
    finally:
        fleet.end()
    fleet.audit()


def test_what_the_readme_shows_of_the_demo_has_the_demos_form() -> None:
    """Its other tests compare these forms with what the demo writes."""
    shown = README.split("## Try it")[1].split("\n## ")[0]
    kinds = "".join(rf"  {kind} +\d+" for kind in KINDS)
    seconds = re.findall(rf"^ +\d+ s  sent +\d+{kinds} \([a-z 0-9,]+\)  receipts +\d+  20\S+", shown, re.MULTILINE)
    assert len(seconds) == 2
    breaches = ", ".join(f"{name} 0" for name in BREACHES)
    assert re.search(rf"^    audit: every promise held: \d+ inputs; {breaches}$", shown, re.MULTILINE)
