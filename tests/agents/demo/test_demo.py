"""The demo ends by itself with a verdict, twice in a row, and leaves nothing running; also when it is interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil  # type: ignore[import-untyped]  # its types are a package of their own, for two tests
import pytest

MARK = "SLUICEGATE_DEMO_TEST"
DEMO = [sys.executable, "-c", "from agents.cli.main import main; main()", "demo", "--seconds", "3", "--rate", "150"]


@pytest.fixture
def mark(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """An environment that everything started by the demo inherits: nothing that has it may be left."""
    value = f"{os.getpid()}-{request.node.name}"
    yield dict(os.environ) | {MARK: value, "SLUICEGATE_BOOTSTRAP": "127.0.0.1:1", "SLUICEGATE_PREFIX": "elsewhere."}
    assert left_running(value) == []


def left_running(value: str) -> list[str]:
    left = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == value and process.status() != psutil.STATUS_ZOMBIE:
                left.append(" ".join(process.cmdline())[-200:])
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return left


@pytest.mark.kafka
@pytest.mark.parametrize("run", [1, 2])
def test_it_ends_by_itself_and_the_audit_is_content(run: int, mark: dict[str, str]) -> None:
    done = subprocess.run([*DEMO, "--output", "json"], env=mark, capture_output=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr.decode()
    result = json.loads(done.stdout)
    assert result["ok"] is result["audit"]["ok"] is True
    assert result["sent"] == result["audit"]["inputs"] == sum(line["count"] for line in result["outputs"]) == 450
    reasons = {(line["kind"], line["reason"].partition(".")[0]) for line in result["outputs"]}
    assert {("commands", "within_bounds"), ("exceptions", "stale"), ("exceptions", "invalid")} <= reasons
    assert ("exceptions", "duplicate") in reasons
    assert result["money_minor"]["acted_on"] > result["money_minor"]["held_back"] > 0
    assert set(result["latency_ms"]) >= {"inference", "producer", "transport", "queue", "gate", "age"}


@pytest.mark.kafka
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_ends_its_children_first(number: signal.Signals, mark: dict[str, str]) -> None:
    with subprocess.Popen(DEMO, env=mark, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        assert any("the gate answers" in line for line in demo.stdout)
        demo.send_signal(number)
        _, errors = demo.communicate(timeout=60)
    assert demo.returncode == 130
    assert "Traceback" not in errors
