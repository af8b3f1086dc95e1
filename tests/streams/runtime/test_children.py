"""Children: each ends once, with its own code, whoever signals and whoever waits; and what it started ends with it."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from streams.runtime import children
from streams.runtime.children import Process, start

ENDS_WITH_2 = ("sh", "-c", "exit 2")
SLEEPS = ("sleep", "60")


@pytest.fixture(params=["told by the system", "looked at"])
def _both(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without a descriptor that tells of the end, which not every system has."""
    if request.param == "looked at":
        monkeypatch.delattr(os, "pidfd_open", raising=False)
        monkeypatch.setattr(children, "LOOK_S", 0.001)


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def said(process: Process) -> bytes:
    """The first line that it says."""
    assert process.stdout is not None
    with process.stdout:
        return process.stdout.readline()


async def told_and_awaited(process: Process) -> int:
    """One that waits, and another that tells it to end at about the moment in which it does."""
    waiting = asyncio.create_task(process.ended())
    await asyncio.sleep(0)
    while not _has_ended(process.pid):
        pass  # the waiter does not get to run meanwhile
    process.signal(signal.SIGTERM)
    return await waiting


def _has_ended(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True  # the waiter was quicker


@pytest.mark.usefixtures("_both")
async def test_a_signal_never_takes_the_code_away_from_the_one_that_waits() -> None:
    """asyncio's `terminate` does: the waiter then reports 255, or the signal raises ProcessLookupError."""
    found = Counter([await told_and_awaited(start(ENDS_WITH_2)) for _ in range(300)])
    assert found == {2: 300}


@pytest.mark.usefixtures("_both")
async def test_many_may_wait_and_one_may_give_up() -> None:
    process = start(("sh", "-c", "read _; exit 3"), stdin=children.PIPE)
    waiting = [asyncio.create_task(process.ended()) for _ in range(3)]
    impatient = asyncio.create_task(process.ended())
    await asyncio.sleep(0.01)
    impatient.cancel()
    process.signal(signal.SIGKILL)
    assert await asyncio.gather(*waiting) == [-signal.SIGKILL] * 3
    assert (process.code, process.wait(), await process.ended()) == (-9, -9, -9)


@pytest.mark.usefixtures("_both")
def test_a_wait_has_a_bound() -> None:
    process = start(SLEEPS)
    assert process.wait(0.02) is None
    assert process.code is None
    assert process.end(5.0) == -signal.SIGTERM
    deaf = start(("sh", "-c", "trap '' TERM; echo; while :; do sleep 0.01; done"), stdout=children.PIPE)
    said(deaf)
    assert deaf.end(0.05) == -signal.SIGKILL


def test_once_its_status_was_taken_nothing_is_signalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its number may be somebody else's by then."""
    process = start(ENDS_WITH_2)
    assert process.wait() == 2
    sent: list[object] = []
    monkeypatch.setattr(os, "kill", lambda *what: sent.append(what))
    monkeypatch.setattr(os, "killpg", lambda *what: sent.append(what))
    process.signal(signal.SIGTERM)
    process.kill()
    assert sent == []


def test_threads_that_wait_and_signal_agree(tmp_path: Path) -> None:
    for _ in range(20):
        process, found = start(ENDS_WITH_2), []
        threads = [threading.Thread(target=lambda: found.append(process.wait())) for _ in range(4)]  # noqa: B023
        for thread in threads:
            thread.start()
        process.signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
        assert len(set(found)) == 1
        assert found[0] in (2, -signal.SIGTERM)


@pytest.mark.parametrize("how", ["it ends by itself", "it is killed"])
def test_what_it_has_started_in_its_session_ends_with_it(tmp_path: Path, how: str) -> None:
    last = "exit 0" if how == "it ends by itself" else "wait"
    process = start(("sh", "-c", f"sleep 60 & echo $!; {last}"), stdout=children.PIPE)
    left_behind = int(said(process))
    if how == "it is killed":
        assert is_alive(left_behind)
        process.kill()
    process.wait()
    until_s = time.monotonic() + 5
    while is_alive(left_behind):
        assert time.monotonic() < until_s
        time.sleep(0.005)


def test_what_cannot_be_started_is_told() -> None:
    with pytest.raises(FileNotFoundError):
        start(("/nonexistent/program",))
