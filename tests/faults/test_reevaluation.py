"""Workers and the evaluator killed while stale decisions are asked about again: each still has exactly one ending."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from streams.runtime.broker.sockets import free_port
from tests.faults.conftest import Report
from tests.faults.fleet import Fleet, Process
from tests.faults.load import Load

pytestmark = pytest.mark.faults

POLICY = """\
workflow: payout
version: 1
freshness: {{budget: 1500ms, total: 12s, on_stale: reevaluate, max_attempts: 3}}
evaluator: {{url: "http://127.0.0.1:{port}/", timeout: 1s, concurrency: 32}}
boundary:
  rules:
    - name: small-and-sure
      then: autonomous
      limits: {{value_minor_at_most: 100000, currency: EUR, confidence_at_least: 0.6}}
"""
ROUNDS = 6
ATTEMPTS_MAX = 3
CLOCK_MS = 500  # between the sending of a call by one process and its being noted by another, on a busy machine


class Rater:
    """The evaluator's process, to be killed and started again on the same port."""

    def __init__(self, port: int, notes: Path) -> None:
        self._command = [sys.executable, "-m", "tests.faults.rater", str(port), str(notes)]
        self._process = subprocess.Popen(self._command)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def again(self) -> None:
        self._process = subprocess.Popen(self._command)


def test_asking_again_survives_the_death_of_everybody(fleet: Fleet, report: Report) -> None:
    rnd, port, notes = random.Random(5), free_port(), fleet.folder / "calls.ndjson"
    (fleet.policies / "payout.yaml").write_text(POLICY.format(port=port))
    rater = Rater(port, notes)
    workers: dict[str, Process] = {role: fleet.start(role=role) for role in ("gate", "reevaluation")}
    kills: Counter[str] = Counter()
    try:
        with Load(fleet, "again", per_s=150):
            fleet.wait_for_progress()
            for number in range(ROUNDS):
                time.sleep(rnd.uniform(2, 4))
                victims = [("rater",), ("reevaluation",), ("gate", "reevaluation", "rater")][number % 3]
                for victim in victims:
                    kills[victim] += 1
                    rater.kill() if victim == "rater" else workers[victim].kill()
                time.sleep(rnd.uniform(0.2, 1.5))
                if "rater" in victims:
                    rater.again()
                for victim in set(victims) - {"rater"}:
                    workers[victim] = fleet.start(role=victim)
                fleet.wait_for_progress()
        verdict = fleet.wait_until_content()
    finally:
        rater.kill()
    calls = [json.loads(line) for line in notes.read_text().splitlines() if line.endswith("}")]
    assert all(call["key"] == call["id"] for call in calls)
    assert max(call["attempt"] for call in calls) <= ATTEMPTS_MAX
    late = [call for call in calls if call["came_ms"] >= min(call["deadline_ms"], call["final_deadline_ms"]) + CLOCK_MS]
    assert late == []
    assert (verdict["missing"], verdict["duplicates"], verdict["command_twice"]) == (0, 0, 0)
    report(
        f"kills: {dict(kills)}; {verdict['inputs']} inputs, {len(calls)} calls for {len({c['id'] for c in calls})} "
        f"questions, none after its deadline; commands {verdict['commands']}, asked again {verdict['reevaluations']}; "
        f"missing {verdict['missing']}, duplicates {verdict['duplicates']}"
    )
