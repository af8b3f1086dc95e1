"""The supervisor with children of a line each: what is started again, how often, and what its end is."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from agents.supervisor import Child, Limits, supervise
from streams.runtime.metrics_board import Board
from streams.runtime.metrics_http import Watched

QUICK = Limits(restarts_max=3, restarts_window_s=600.0, backoff_s=(0.0,), stop_s=0.5)
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


@pytest.mark.parametrize("code", [0, 2])
async def test_a_child_that_is_done_or_refuses_its_configuration_is_not_started_again(
    tmp_path: Path, code: int
) -> None:
    assert await supervise([child(tmp_path / "n", str(code))], QUICK) == code
    assert len(lives(tmp_path / "n")) == 1


async def test_no_broker_in_the_first_life_ends_it_and_later_is_waited_for(tmp_path: Path) -> None:
    assert await supervise([child(tmp_path / "first", "3")], QUICK) == 3
    assert len(lives(tmp_path / "first")) == 1
    assert await supervise([child(tmp_path / "later", "4", "3", "3", "0")], QUICK) == 0
    assert len(lives(tmp_path / "later")) == 4


@pytest.mark.parametrize(("how", "code"), [("4", 4), ("1", 1), ("kill", 4)])
async def test_restarts_are_bounded_and_the_exit_code_passes_through(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], how: str, code: int
) -> None:
    assert await supervise([child(tmp_path / "n", how)], QUICK) == code
    assert len(lives(tmp_path / "n")) == 1 + QUICK.restarts_max
    said = capfd.readouterr().err.splitlines()
    assert len(said) == QUICK.restarts_max + 1
    cause = "was ended by SIGKILL" if how == "kill" else f"ended with exit code {how}"
    assert said[0] == f"sluicegate: the gate {cause}; starting it again in 0.0 s (1 of 3)"
    assert said[-1] == f"sluicegate: the gate {cause}, after 3 restarts in 600 s: giving up"


async def test_failures_that_lie_far_apart_do_not_add_up(tmp_path: Path) -> None:
    patient = Limits(restarts_max=1, restarts_window_s=0.0, backoff_s=(0.0,))
    assert await supervise([child(tmp_path / "n", "4", "4", "4", "4", "0")], patient) == 0
    assert len(lives(tmp_path / "n")) == 5


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
    assert await supervise([counting], QUICK, [seen]) == 4
    assert (seen.restarts, seen.running) == (3, False)
    assert seen.state == "ended with exit code 4"
    assert seen.board.read()["hand_overs", ()].tolist() == [4.0]


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
