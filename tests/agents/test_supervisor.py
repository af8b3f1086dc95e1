"""The supervisor with children of a line each: what is started again, how often, and what its end is."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from agents.supervisor import Child, Limits, supervise
from streams.runtime.metrics_board import Board
from streams.runtime.metrics_http import Watched

QUICK = Limits(backoff_s=(0.0,), stop_s=0.5, tick_s=0.02)
# notes each life in a file, then does what it is told
LIFE = """
import os, signal, sys, time
role, notes, *codes = sys.argv[1:]
with open(notes, "a") as file:
    file.write(f"{os.getpid()} {os.environ['SLUICEGATE_SUPERVISED']} {role}\\n")
life = len(open(notes).readlines())
what = codes[min(life, len(codes)) - 1]
if what == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
if what == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("deaf", flush=True)
    open(notes + ".deaf", "w").close()
if what in ("deaf", "sleep"):
    time.sleep(60)
sys.exit(int(what))
"""


def child(notes: Path, *codes: str, role: str = "gate") -> Child:
    return Child(role, [str(notes), *codes], {}, (sys.executable, "-c", LIFE))


def lives(notes: Path) -> list[str]:
    return notes.read_text().splitlines() if notes.exists() else []


def alive(notes: Path) -> bool:
    """Whether the last life still is."""
    try:
        os.kill(int(lives(notes)[-1].split()[0]), 0)
    except ProcessLookupError:
        return False
    return True


async def runs(seen: Watched) -> None:
    while not seen.running:
        await asyncio.sleep(0.01)


async def appeared(path: Path) -> None:
    for _ in range(1_000):
        if path.exists() and (path.suffix == ".deaf" or path.read_text().endswith("\n")):
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{path} never appeared")


async def lived(notes: Path, count: int) -> None:
    until_s = time.monotonic() + 30
    while len(lives(notes)) < count:
        assert time.monotonic() < until_s
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("code", [2, 3])
async def test_a_first_start_that_is_refused_ends_the_worker(tmp_path: Path, code: int) -> None:
    assert await supervise([child(tmp_path / "n", str(code))], QUICK) == code
    assert len(lives(tmp_path / "n")) == 1


@pytest.mark.parametrize("how", ["0", "1", "4", "kill"])
async def test_a_role_that_fails_is_started_again_for_ever_and_ends_no_other(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], how: str
) -> None:
    """Also past the ten restarts after which all roles were ended; and also when it says that it is done."""
    other = child(tmp_path / "other", "sleep", role="reviews")
    seen = [Watched("gate", Board.make()), Watched("reviews", Board.make())]
    limits = dataclasses.replace(QUICK, backoff_s=(0.0,) * 14 + (60.0,))
    task = asyncio.create_task(supervise([child(tmp_path / "n", how), other], limits, seen))
    await failed(seen[0], 14)
    assert len(lives(tmp_path / "n")) == 15
    assert (len(lives(tmp_path / "other")), alive(tmp_path / "other")) == (1, True)
    assert (seen[0].backing_off, seen[1].backing_off) == (True, False)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await task == 0, "it waits to be started again: nobody is to end"
    first, second, *_ = capfd.readouterr().err.splitlines()
    cause = {"kill": "was ended by SIGKILL", "0": "ended, though nobody told it to"}
    cause_of_this = cause.get(how, f"ended with exit code {how}")
    assert first == f"sluicegate: the gate {cause_of_this}; it is started again in 0.0 s"
    assert second == f"sluicegate: the gate {cause_of_this}; it is started again in 0.0 s (failure 2 in a row)"


async def test_what_is_refused_later_is_waited_for_by_name(tmp_path: Path) -> None:
    """Its topics or policies were taken away; the others work, and it comes back when they do."""
    seen = Watched("gate", Board.make())
    task = asyncio.create_task(supervise([child(tmp_path / "n", "4", "3", "2", "2", "sleep")], QUICK, [seen]))
    await lived(tmp_path / "n", 5)
    assert seen.restarts == 4
    assert "ended with exit code 2 and waits to be started again (failure 4 in a row)" in seen.state
    assert seen.backing_off
    os.kill(os.getpid(), signal.SIGTERM)
    assert await task == 0


def test_the_wait_grows_to_half_a_minute_and_is_never_the_same() -> None:
    limits = Limits()
    waits_s = [limits.wait_s(failures) for failures in (*range(1, 9), 100, 10_000)]
    for wait_s, expected_s in zip(waits_s, (*limits.backoff_s, 30.0, 30.0), strict=True):
        assert 0.8 * expected_s <= wait_s <= 1.2 * expected_s
    assert len({limits.wait_s(50) for _ in range(20)}) == 20
    assert limits.well_reports > 1.2 * limits.backoff_s[-1]


# says that it is ready so often, then does what it is told
REPORTS = """
import os, signal, sys, time
from streams.runtime.metrics_board import Board
board, (role, reports, what) = Board.given(), sys.argv[1:]
for _ in range(int(reports)):
    board.report({"ready": True, "partitions": [0], "waits": []})
    time.sleep(0.05)
if what == "freeze":
    os.kill(os.getpid(), signal.SIGSTOP)
sys.exit(int(what))
"""


def reporting(reports: int, what: str) -> Child:
    return Child("gate", [str(reports), what], {}, (sys.executable, "-c", REPORTS))


async def failed(seen: Watched, times: int) -> str:
    for _ in range(2_000):
        if seen.restarts >= times and seen.backing_off and not seen.running:
            return seen.state
        await asyncio.sleep(0.01)
    raise AssertionError(f"{seen.restarts} restarts, {seen.state}")


async def test_a_role_that_was_well_fails_for_the_first_time_again() -> None:
    patient = dataclasses.replace(QUICK, well_reports=3, backoff_s=(0.0, 60.0))
    well, ill = (Watched("gate", Board.make()) for _ in range(2))
    task = asyncio.create_task(supervise([reporting(10, "4"), reporting(1, "4")], patient, [well, ill]))
    while well.restarts < 3:  # its back-off of 0 s is too short to be met in it
        await asyncio.sleep(0.01)
    await failed(ill, 1)
    assert ill.restarts == 1  # it was ready too, and not for long: it waits
    assert "failure 2 in a row" in ill.state
    os.kill(os.getpid(), signal.SIGTERM)
    assert await task in (0, 4), "it may fail in the moment in which it is told"


async def test_a_child_that_is_frozen_is_killed_and_that_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    seen = Watched("gate", Board.make())
    impatient = dataclasses.replace(QUICK, silent_s=0.5, backoff_s=(60.0,))
    task = asyncio.create_task(supervise([reporting(2, "freeze")], impatient, [seen]))
    said = await failed(seen, 0)
    assert "was killed because it had said nothing for " in said
    assert (
        "the gate was killed because it had said nothing for 0 s: stopped, or stuck in a call" in capfd.readouterr().err
    )
    os.kill(os.getpid(), signal.SIGTERM)
    assert await task == 0


async def test_time_in_which_the_supervisor_did_not_run_is_nobodys_silence() -> None:
    """A machine that slept, or a container that was paused: both clocks jump, and the child had no turn to speak."""
    seen = Watched("gate", Board.make())
    impatient = dataclasses.replace(QUICK, silent_s=0.5, backoff_s=(60.0,))
    others = set(psutil.Process().children())  # the session's broker may be one of them
    task = asyncio.create_task(supervise([reporting(40, "0")], impatient, [seen]))
    while not seen.board.beat:
        await asyncio.sleep(0.01)
    (process,) = set(psutil.Process().children()) - others
    process.suspend()
    time.sleep(1.0)  # the supervisor too: its loop does not run
    process.resume()
    assert "ended, though nobody told it to" in await failed(seen, 0)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await task == 0


async def test_ready_is_said_once_when_all_are(tmp_path: Path) -> None:
    said: list[str] = []
    both = [reporting(20, "4"), child(tmp_path / "n", "sleep", role="reviews")]
    seen = [Watched("gate", Board.make()), Watched("reviews", Board.make())]
    limits = dataclasses.replace(QUICK, backoff_s=(60.0,))
    task = asyncio.create_task(supervise(both, limits, seen, ready=lambda: said.append("ready")))
    await lived(tmp_path / "n", 1)
    await failed(seen[0], 0)
    assert said == []
    for _ in range(5):
        seen[1].board.report({"ready": True, "partitions": [], "waits": []})
        await asyncio.sleep(0.05)
    assert said == ["ready"]
    os.kill(os.getpid(), signal.SIGTERM)
    assert await task == 0
    assert said == ["ready"]


async def test_the_code_is_that_of_the_child_that_ended_first_by_itself() -> None:
    """Four that end within a millisecond: one's code was taken away by the signal that told it to end (255)."""
    found: Counter[int] = Counter()
    for _ in range(250):
        four = [Child(role, [], {}, ("sh", "-c", "exit 2")) for role in "abcd"]
        found[await supervise(four, QUICK)] += 1
    assert found == {2: 250}


async def test_told_to_stop_it_tells_the_child_and_ends_well(tmp_path: Path) -> None:
    task = asyncio.create_task(supervise([child(tmp_path / "n", "sleep")], QUICK))
    await appeared(tmp_path / "n")
    os.kill(os.getpid(), signal.SIGTERM)
    assert await task == 0
    assert not alive(tmp_path / "n")


async def test_a_child_that_does_not_end_is_killed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    task = asyncio.create_task(supervise([child(tmp_path / "n", "deaf")], QUICK))
    await appeared(tmp_path / "n.deaf")
    os.kill(os.getpid(), signal.SIGTERM)
    assert await task == 4
    assert not alive(tmp_path / "n")
    assert "did not end within" in capfd.readouterr().err


async def test_when_one_role_gives_up_the_others_are_ended_too(tmp_path: Path) -> None:
    both = [child(tmp_path / "a", "sleep", role="other"), child(tmp_path / "b", "2")]
    assert await supervise(both, QUICK) == 2
    assert all(not alive(tmp_path / name) for name in "ab" if lives(tmp_path / name))


COUNTS = """
import sys
from streams.runtime.metrics_board import Board
Board.given().numbers("hand_overs")[0] += 1
sys.exit(4)
"""


async def test_every_life_counts_on_the_same_board_and_restarts_are_counted() -> None:
    seen = Watched("gate", Board.make())
    counting = Child("gate", [], {}, (sys.executable, "-c", COUNTS))
    task = asyncio.create_task(supervise([counting], dataclasses.replace(QUICK, backoff_s=(0.0, 0.0, 60.0)), [seen]))
    while "failure 3" not in seen.state:
        await asyncio.sleep(0.01)
    assert (seen.restarts, seen.running) == (2, False)
    assert seen.board.read()["hand_overs", ()].tolist() == [3.0]
    os.kill(os.getpid(), signal.SIGTERM)
    assert await task == 0


async def test_while_it_runs_and_when_it_is_told_to_stop_it_says_so(tmp_path: Path) -> None:
    seen = Watched("gate", Board.make())
    task = asyncio.create_task(supervise([child(tmp_path / "n", "deaf")], QUICK, [seen]))
    await appeared(tmp_path / "n.deaf")
    await runs(seen)  # the child may be quicker than the call that started it
    told = [(seen.running, seen.state)]
    os.kill(os.getpid(), signal.SIGTERM)
    while told[-1][0]:
        await asyncio.sleep(0.01)
        told.append((seen.running, seen.state))
    assert (told[0][0], told[-1][1]) == (True, "is stopping")
    assert await task == 4
