"""An evaluator in a process of its own: nothing that it does stalls or ends ours, and it does not outlive us."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from streams.path import Snapshot
from streams.reevaluation import Unanswered
from streams.runtime.evaluators import Evaluators, child, child_main
from tests.streams.runtime.evaluators.conftest import HOME
from tests.streams.runtime.evaluators.making import FUNCTIONS, Counted, ask, evaluators_of, workflow_of

Make = Callable[..., Counted]


@pytest_asyncio.fixture
async def make() -> AsyncIterator[Make]:
    made: list[Counted] = []

    def one(behaviour: str, **limits: Any) -> Counted:
        function = behaviour if ":" in behaviour else f"{FUNCTIONS}:{behaviour}"
        made.append(evaluators_of(function=function, **limits))
        return made[-1]

    yield one
    for evaluators in made:
        await evaluators.close()


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.02)


async def test_it_may_be_async(make: Make) -> None:
    assert json.loads(await ask(make("awaited")))["id"] == "d-1~2"


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        ("failing", "raised LookupError: no rate card x"),
        ("leaving", "raised SystemExit: the function has no say"),
        ("wrong", "returned a list, not a dict or None"),
        ("not_json", "returned what is not JSON: "),
        ("huge", "returned an answer of 3000013 bytes; at most 262144 are read"),
        ("crashing", "its process ended with code 7"),
    ],
)
async def test_what_went_wrong_is_said(make: Make, behaviour: str, why: str) -> None:
    with pytest.raises(Unanswered, match=why) as raised:
        await ask(make(behaviour))
    assert len(str(raised.value)) < 400
    assert not raised.value.late


async def test_nothing_returned_is_a_decline(make: Make) -> None:
    assert json.loads(await ask(make("declining"))) == {"decline": "the function returned None"}


async def test_it_starts_where_we_were_started_and_our_files_hide_nothing(make: Make) -> None:
    about = json.loads(await ask(make("curious")))["action"]
    assert (about["cwd"], about["http"], about["python"]) == (os.getcwd(), "http.client", list(sys.version_info[:2]))
    assert about["path"][0] == os.getcwd()
    assert not any(Path(entry) == Path(child_main.__file__).parent for entry in about["path"])


@pytest.mark.parametrize(
    ("behaviour", "more", "why"),
    [
        ("no_such_module:rate", {}, "the module no_such_module cannot be imported: ModuleNotFoundError"),
        (f"{FUNCTIONS}:no_such", {}, "has no function no_such"),
        (f"{FUNCTIONS}:right", {"interpreter": "/no/such/python"}, "cannot be started: No such file"),
        (f"{FUNCTIONS}:right", {"interpreter": "/bin/false"}, "ended with code 1 before it was ready"),
        (f"{FUNCTIONS}:right", {}, None),
    ],
)
async def test_what_cannot_be_used_is_known_before_anything_is_asked(
    make: Make, behaviour: str, more: dict[str, Any], why: str | None
) -> None:
    evaluators = make(behaviour, **more)
    found = await evaluators.check()
    if why is None:
        assert found == []
        return
    assert len(found) == 1 and why in found[0] and found[0].startswith("workflow billing: ")
    with pytest.raises(Unanswered, match=why):
        await ask(evaluators)


async def test_after_a_check_in_another_loop_and_a_close_it_can_be_asked(make: Make) -> None:
    evaluators = make("right")

    def checked() -> list[str]:
        async def check() -> list[str]:
            try:
                return await evaluators.check()
            finally:
                await evaluators.close()

        return asyncio.run(check())

    assert await asyncio.to_thread(checked) == []
    assert await ask(evaluators)


async def test_no_more_than_the_policy_allows_run_at_once(make: Make) -> None:
    evaluators = make("counted", concurrency=3)
    said = await asyncio.gather(*(ask(evaluators, number) for number in range(12)))
    assert max(json.loads(one)["action"] for one in said) <= 3


async def test_a_call_past_its_time_keeps_its_slot_and_the_others_go_on(make: Make) -> None:
    evaluators = make("hangs_first", timeout="20s", concurrency=2)
    await evaluators.check()
    with pytest.raises(Unanswered, match="the function had not returned") as why:
        await ask(evaluators, timeout_s=0.3)
    assert why.value.late
    for number in range(5):
        assert await ask(evaluators, number)


@pytest.mark.parametrize("behaviour", ["hangs_first", "hangs_awaited"])
async def test_when_all_its_calls_hang_it_is_started_anew(make: Make, behaviour: str) -> None:
    evaluators = make(behaviour, timeout="1s", concurrency=1)
    await evaluators.check()
    with pytest.raises(Unanswered) as why:
        await ask(evaluators, timeout_s=1.0)
    assert why.value.late
    assert await ask(evaluators)


async def test_one_that_is_frozen_is_killed_and_started_anew(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "UNTAKEN_S", 0.3)
    evaluators = make("curious", concurrency=16)
    await ask(evaluators)
    (frozen,) = mine()
    frozen.send_signal(signal.SIGSTOP)
    with pytest.raises(Unanswered) as why:
        await ask(evaluators, timeout_s=0.3)
    assert why.value.late
    await asyncio.wait_for(until(lambda: not frozen.is_running() or frozen.status() == psutil.STATUS_ZOMBIE), 20)
    assert await ask(evaluators)


async def test_a_killed_one_fails_its_calls_and_is_started_again(make: Make, folder: Path) -> None:
    evaluators = make("hangs_first", concurrency=4)
    calls = [asyncio.create_task(ask(evaluators))]
    await asyncio.wait_for(until((folder / "hanging").exists), 20)
    mine()[0].kill()
    with pytest.raises(Unanswered, match="its process was killed by signal 9") as why:
        await calls[0]
    assert not why.value.late
    assert await ask(evaluators)


async def test_one_that_crashes_at_every_call_is_left_alone_for_longer_and_longer(make: Make, folder: Path) -> None:
    evaluators = make("crashing")
    for _ in range(2):
        with pytest.raises(Unanswered, match="ended with code 7"):
            await ask(evaluators)
    with pytest.raises(Unanswered, match="breaker is open"):
        await ask(evaluators, timeout_s=1.0)
    assert (folder / "crashing").read_text() == "xx"


async def test_what_it_has_started_ends_with_it(make: Make, folder: Path) -> None:
    evaluators = make("parent")
    call = asyncio.create_task(ask(evaluators))
    await asyncio.wait_for(until((folder / "hanging").exists), 20)
    both = [psutil.Process(int(pid)) for pid in (folder / "pids").read_text().split()]
    await evaluators.close()
    with pytest.raises(Unanswered):
        await call
    await asyncio.wait_for(until(lambda: not any(alive(one) for one in both)), 20)


OURS = """
import asyncio, os, sys
from tests.streams.runtime.evaluators.making import FUNCTIONS, ask, evaluators_of
async def main():
    evaluators = evaluators_of(function=FUNCTIONS + ":" + sys.argv[1])
    await ask(evaluators)
asyncio.run(main())
"""


@pytest.mark.parametrize(
    "behaviour",
    [
        "parent",
        pytest.param(
            "holding_the_lock", marks=pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")
        ),
    ],
)
async def test_it_and_what_it_has_started_die_with_us(folder: Path, behaviour: str) -> None:
    us = subprocess.Popen([sys.executable, "-c", OURS, behaviour], cwd=HOME)
    both: list[psutil.Process] = []
    try:
        await asyncio.wait_for(until((folder / "hanging").exists), 30)
        both = [psutil.Process(int(pid)) for pid in (folder / "pids").read_text().split()]
        us.kill()
        us.wait()
        await asyncio.wait_for(until(lambda: not any(alive(one) for one in both)), 20)
    finally:
        us.kill()
        us.wait()
        for one in both:
            if alive(one):
                one.kill()


async def test_two_workflows_have_a_process_each() -> None:
    first = workflow_of(function=f"{FUNCTIONS}:right")
    other = workflow_of(function="no_such_module:rate", workflow="routing", index=1)
    evaluators = Evaluators(Snapshot([first, other]))
    try:
        (wrong,) = await evaluators.check()
        assert wrong.startswith("workflow routing: the evaluator no_such_module:rate cannot be used: ")
        assert await ask(evaluators)
    finally:
        await evaluators.close()


@pytest.mark.parametrize("version", ["3.9", "3.10", "3.12", "3.13"])
async def test_another_interpreter_serves(make: Make, version: str) -> None:
    found = interpreter(version)
    about = json.loads(await ask(make("curious", interpreter=found)))["action"]
    assert about["python"] == [int(part) for part in version.split(".")]


def interpreter(version: str) -> str:
    """Another Python of this machine, where there is one; only what works is taken (a version manager's may not)."""
    found = shutil.which(f"python{version}")
    if found is None or subprocess.run([found, "-c", ""], check=False, capture_output=True).returncode:
        pytest.skip(f"no Python {version} here")
    return found


def mine() -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if "child_main.py" in " ".join(one.cmdline())]


def alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def test_one_that_is_about_to_die_is_not_asked(make: Make) -> None:
    """We have killed it, and its end has not been seen yet: the next question goes to the next life."""
    evaluators = make("curious")
    assert await ask(evaluators)
    client = evaluators._client("billing")
    assert isinstance(client, child.ChildEvaluator)
    assert client._life is not None
    client._life.kill()
    assert await ask(evaluators, 2)
