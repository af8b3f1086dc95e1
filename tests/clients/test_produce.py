"""`produce` as a whole program: what ends it, what it says then, and what has arrived."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from streams.runtime import topics
from streams.runtime.broker import Broker
from tests.clients.test_on_kafka import KIT
from tests.kafka.harness import Child, read

WAITING = """
import sys, time
from sluicegate_kit import Decision, now_ms, produce
def decide():
    for n in range(3):
        yield Decision(id=f"d-{n}", workflow="w", entity="e", action={}, observed_at_ms=now_ms())
    print("waiting for the next", flush=True)
    time.sleep(3600)
print("sent", produce(decide, kafka={"linger_ms": LINGER}))
"""
ASYNC = """
import asyncio
from sluicegate_kit import Decision, now_ms, produce
async def decide():
    yield Decision(id="d-0", workflow="w", entity="e", action={}, observed_at_ms=now_ms())
    print("waiting for the next", flush=True)
    await asyncio.sleep(3600)
print("sent", produce(decide))
"""


def produced(program: str, kafka: Broker | None, prefix: str, folder: Path) -> Child:
    environment = {"SLUICEGATE_PREFIX": prefix, "PYTHONPATH": str(KIT)}
    if kafka is not None:
        environment["SLUICEGATE_BOOTSTRAP"] = kafka.bootstrap
    return Child([sys.executable, "-c", program], folder / "produce.log", environment)


@pytest.mark.parametrize(
    ("program", "number", "count"),
    [
        (WAITING.replace("LINGER", "0"), signal.SIGINT, 3),
        (WAITING.replace("LINGER", "1500"), signal.SIGTERM, 3),  # under way when the signal comes
        (ASYNC, signal.SIGINT, 1),
    ],
)
def test_the_first_signal_sends_what_is_under_way_and_ends_well(
    kafka: Broker, prefix: str, tmp_path: Path, program: str, number: signal.Signals, count: int
) -> None:
    asyncio.run(topics.apply(kafka.bootstrap, prefix, 1))
    with produced(program, kafka, prefix, tmp_path) as child:
        asyncio.run(child.said("waiting for the next"))
        child.process.send_signal(number)
        assert asyncio.run(child.ended()) == 0, child.log
    assert f"sent {count}\n" in child.log
    assert "Traceback" not in child.log
    found = asyncio.run(read(kafka.bootstrap, [prefix + "decisions"], count))
    assert [one.json()["id"] for one in found] == [f"d-{n}" for n in range(count)]


def test_the_second_signal_does_not_wait_for_acknowledgements(kafka: Broker, prefix: str, tmp_path: Path) -> None:
    asyncio.run(topics.apply(kafka.bootstrap, prefix, 1))
    with produced(WAITING.replace("LINGER", "100_000"), kafka, prefix, tmp_path) as child:
        asyncio.run(child.said("waiting for the next"))
        child.process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            child.process.wait(0.5)
        child.process.send_signal(signal.SIGINT)
        assert child.process.wait(10) == 3
    assert "stopped while 3 decisions were not acknowledged ('d-0', 'd-1', 'd-2'): send them again" in child.log
    assert "Traceback" not in child.log


ONE = "Decision(id='d', workflow='w', entity='e', action={}, observed_at_ms=1764000000000)"


@pytest.mark.parametrize(
    ("decide", "says"),
    [
        ("def decide(): yield {'id': 'd'}", "decide yields {'id': 'd'}: a Decision is expected"),
        ("async def decide(): yield 7", "decide yields 7: a Decision is expected"),
        ("async def decide(): pass", "decide is an `async def` without a `yield`"),
        ("def decide(): pass", "decide returns None: decisions are expected"),
        ("decide = 3", "decide must be a function that yields decisions, got 3"),
        (f"def decide(): return [{ONE}, None]", "decide yields None: a Decision is expected"),
    ],
)
def test_what_is_no_source_of_decisions_is_one_line(
    kafka: Broker, prefix: str, tmp_path: Path, decide: str, says: str
) -> None:
    asyncio.run(topics.apply(kafka.bootstrap, prefix, 1))
    program = f"from sluicegate_kit import *\n{decide}\nproduce(decide)"
    with produced(program, kafka, prefix, tmp_path) as child:
        assert asyncio.run(child.ended()) == 2, child.log
    (line,) = child.log.splitlines()
    assert line.startswith("sluicegate-kit: ")
    assert says in line
    if ONE in decide:
        assert len(asyncio.run(read(kafka.bootstrap, [prefix + "decisions"], 1))) == 1


def test_what_the_users_function_raises_is_shown_as_theirs_and_what_came_before_is_sent(
    kafka: Broker, prefix: str, tmp_path: Path
) -> None:
    asyncio.run(topics.apply(kafka.bootstrap, prefix, 1))
    program = f"from sluicegate_kit import *\ndef decide():\n    yield {ONE}\n    raise RuntimeError('mine')\n"
    with produced(program + "produce(decide)", kafka, prefix, tmp_path) as child:
        assert asyncio.run(child.ended()) == 1
    assert child.log.rstrip().endswith("RuntimeError: mine")
    assert len(asyncio.run(read(kafka.bootstrap, [prefix + "decisions"], 1))) == 1


@pytest.mark.parametrize(
    ("bootstrap", "says"),
    [
        ("127.0.0.1:99999", "the port is '99999', a number from 1 to 65535 is expected, for example 127.0.0.1:9092"),
        ("127.0.0.1:x", "the port is 'x'"),
        ("127.0.0.1:0", "the port is '0'"),
        ("127.0.0.1:" + "9" * 5000, "cannot be read: the port is '9999"),
        ("caf\u00e9:9092", "HOST:PORT is expected, for example 127.0.0.1:9092"),
        ("a b:1", "HOST:PORT is expected"),
        ("localhost:9092,", "HOST:PORT is expected"),
        ("x" * 10_000 + ":9092", "HOST:PORT is expected"),
        (" ", "bootstrap is empty"),
    ],
)
def test_an_address_that_is_none_is_one_line(bootstrap: str, says: str) -> None:
    environment = {**os.environ, "SLUICEGATE_BOOTSTRAP": bootstrap, "PYTHONPATH": str(KIT)}
    for name in ("HOME", "USER"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", "from sluicegate_kit import *; produce(lambda: [])"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert says in line


@pytest.mark.parametrize("program", ["produce(lambda: [])", "run(print, group='g', store='sqlite:///acted.db')"])
def test_a_signal_ends_the_wait_for_a_broker(tmp_path: Path, program: str) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # takes connections, and says nothing
        where = f"127.0.0.1:{silent.getsockname()[1]}"
        environment = {"SLUICEGATE_BOOTSTRAP": where, "PYTHONPATH": str(KIT)}
        text = f"import os; os.chdir({str(tmp_path)!r})\nfrom sluicegate_kit import *\n{program}"
        with Child([sys.executable, "-c", text], tmp_path / "child.log", environment) as child:
            silent.settimeout(30)
            connection, _ = silent.accept()
            child.process.send_signal(signal.SIGINT)
            assert child.process.wait(10) == 0, child.log
            connection.close()
    assert "Traceback" not in child.log


def test_closed_streams_change_no_exit_code(tmp_path: Path) -> None:
    program = "from sluicegate_kit import *; produce(lambda: [], bootstrap='')"
    command = f'exec {sys.executable} -c "{program}" >&- 2>&-'
    environment = {**os.environ, "PYTHONPATH": str(KIT)}
    assert subprocess.run(["sh", "-c", command], env=environment, timeout=60, check=False).returncode == 2
