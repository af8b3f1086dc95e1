"""What the demo says to try next runs as it stands, typed into a shell in the checkout."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agents.demo.steps import Step, looking_around, next_steps
from streams.runtime.broker.sockets import free_port, refusal

HOME = Path(__file__).parents[3]
LINE_S = 60
SAID = {
    "policy check": "billing",
    "try --policies agents/workflows/billing -": "within_bounds",
    "try --policies agents/workflows/billing --age 21s -": "stale.age",
    "export ": "",
    "tail exceptions": "invalid.",
    "send -": "20",
    "tail receipts": "executed",
    "reviews list": "billing",
    "policy history": "billing@",
    "halt --workflow": "in force on ",
    "resume --workflow": "in force on ",
    "audit --group": "every promise holds for",
    "/metrics": "sluicegate_age_budget_ratio_bucket",
}


@pytest.fixture
def in_the_clone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As somebody who typed `make demo` there: nothing of the virtual environment is on the PATH."""
    monkeypatch.chdir(HOME)
    outside = [part for part in os.environ["PATH"].split(os.pathsep) if Path(part) != Path(sys.executable).parent]
    monkeypatch.setenv("PATH", os.pathsep.join(outside))


def typed(line: str, after: str = "true") -> subprocess.CompletedProcess[str]:
    script = f"set -e -o pipefail\n{after}\n{line}\n"
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=LINE_S, check=False)


def said_by(line: str) -> str:
    return SAID[max((part for part in SAID if part in line), key=len)]


@contextmanager
def left_open(line: str) -> Iterator[subprocess.Popen[str]]:
    """A line that goes on until Ctrl-C, which it gets here at the end, and which is well."""
    with subprocess.Popen(
        shlex.split(line), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        try:
            yield process
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate(timeout=LINE_S)
            assert process.returncode == 0, rest
        finally:
            if process.poll() is None:
                process.terminate()


@pytest.mark.usefixtures("in_the_clone")
def test_there_are_few_and_each_that_ends_says_what_it_promises() -> None:
    steps = next_steps()
    assert 4 <= len(steps) <= 6
    for step in steps:
        if step.ends:
            done = typed(step.line)
            assert done.returncode == 0, (step, done.stderr)
            assert said_by(step.line) in done.stdout, step


def that_goes_on(what: str) -> Step:
    (found,) = [step for step in next_steps() if not step.ends and what in step.line]
    return found


@pytest.mark.kafka
@pytest.mark.usefixtures("in_the_clone")
def test_a_kept_demo_can_be_looked_at_with_the_lines_it_prints() -> None:
    """It is kept, looked at, and ended by Ctrl-C; its own exit code is that of the audit."""
    with left_open(that_goes_on("--keep").line) as demo:
        assert demo.stdout is not None
        lines: list[str] = []
        for line in demo.stdout:
            if lines or line.startswith("  # first"):
                lines.append(line.strip())
            if "metrics | grep" in line:
                break
        steps = lines[1::2]
        assert [step.split()[0] for step in lines[::2]] == ["#"] * len(steps)
        assert len(steps) == len(looking_around("x", "y", 1))
        export = steps[0]
        for line in steps:
            done = typed(line, export)
            assert done.returncode == 0, (line, done.stderr)
            assert said_by(line) in done.stdout + done.stderr, line


@pytest.mark.kafka
@pytest.mark.usefixtures("in_the_clone")
def test_three_nodes_start_and_stop() -> None:
    """At other ports: its own may be somebody's on this machine."""
    port = free_port()
    while any(refusal(port + more) for more in (1, 2)):
        port = free_port()
    with left_open(f"{that_goes_on('broker').line} --port {port}") as broker:
        assert broker.stdout is not None
        assert any("stop it with Ctrl-C" in line for line in broker.stdout)
