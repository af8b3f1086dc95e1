"""The demo ends by itself with a verdict and leaves nothing running, also when it is interrupted.

Every test that runs it shows that it runs again after the one before.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

MARK = "SLUICEGATE_DEMO_TEST"
SHOW_CURSOR, HIDE_CURSOR = "\x1b[?25h", "\x1b[?25l"
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
def test_it_ends_by_itself_and_the_audit_is_content(mark: dict[str, str]) -> None:
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
    commands = sum(line["count"] for line in result["outputs"] if line["kind"] == "commands")
    receipts = {line["status"]: line["count"] for line in result["receipts"]}
    assert sum(receipts.values()) == commands
    assert result["commands_without_receipt"] == 0
    assert {"executed", "refused"} <= set(receipts)
    assert 0 < result["money_minor"]["executed"] < result["money_minor"]["acted_on"]
    shares = result["age_of_budget_permille"]
    assert shares["decided"]["p99"] >= 1000 > shares["acted_on"]["p99"] >= shares["acted_on"]["p50"] > 0


@pytest.mark.kafka
def test_terminated_it_ends_its_children_first(mark: dict[str, str]) -> None:
    with subprocess.Popen(DEMO, env=mark, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        assert any("the gate answers" in line for line in demo.stdout)
        demo.send_signal(signal.SIGTERM)
        _, errors = demo.communicate(timeout=60)
    assert demo.returncode == 130
    assert "Traceback" not in errors


@contextmanager
def on_a_terminal(environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The demo on a terminal of 80 x 24, and the terminal's other side, which is closed at the end."""
    wanted = {name: value for name, value in environment.items() if name not in ("CI", "COLUMNS", "LINES")}
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with subprocess.Popen(
        DEMO, env=wanted | {"TERM": "xterm"}, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as demo:
        os.close(theirs)
        try:
            yield demo, ours
        finally:
            os.close(ours)
            demo.send_signal(signal.SIGHUP)


@pytest.mark.kafka
def test_on_a_terminal_it_draws_and_after_ctrl_c_gives_the_terminal_back(mark: dict[str, str]) -> None:
    with on_a_terminal(mark) as (demo, terminal):
        shown = read_until(terminal, re.compile(r"[1-9][0-9]+ of 450 sent"))
        for part in ("flow", "age by budget", "reasons", "dollars"):
            assert f" {part}" in shown
        demo.send_signal(signal.SIGINT)
        shown += read_until(terminal, None)
        assert demo.wait(60) == 130
    assert "Traceback" not in shown
    assert shown.rindex(SHOW_CURSOR) > shown.rindex(HIDE_CURSOR)
    assert shown.rindex("interrupted: ") > shown.rindex(" dollars")


@pytest.mark.kafka
def test_when_its_terminal_is_closed_it_ends_all_the_same(mark: dict[str, str]) -> None:
    with on_a_terminal(mark) as (_, terminal):
        read_until(terminal, re.compile("waiting for the gate"))


def read_until(terminal: int, wanted: re.Pattern[str] | None) -> str:
    """What is shown until something wanted is, or until nobody writes any more."""
    shown = b""
    while wanted is None or not wanted.search(shown.decode(errors="replace")):
        try:
            more = os.read(terminal, 65536)
        except OSError:  # Linux says so at the end of a terminal
            more = b""
        if not more:
            assert wanted is None, shown.decode(errors="replace")
            break
        shown += more
    return shown.decode(errors="replace")
