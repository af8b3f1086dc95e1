"""The kit on a real broker: the README's programs with a gate between them; poison, repeats, stops, refused starts."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka.partitioner import murmur2
from sluicegate_kit import (
    Command,
    Decision,
    Executor,
    KitError,
    Limits,
    Producer,
    SyncProducer,
    now_ms,
    produce,
)

from streams.runtime import topics
from streams.runtime.broker import Broker
from tests.faults.fleet import Fleet, wait_until
from tests.kafka.harness import Child, Record, committed_is, decision, read, send

KIT = Path(__file__).parents[2] / "deploy/clients/python"
PARTITIONS = 4
POLICY = """\
workflow: payout
version: 1
freshness: {budget: 10m, total: 30m}
boundary:
  rules:
    - name: small-and-sure
      when: {segment: {equals: retail}}
      then: autonomous
      limits: {value_minor_at_most: 25000, currency: EUR, confidence_at_least: 0.9, reversible: true}
"""


def test_the_readmes_producer_and_executor_meet_through_the_gate(kafka: Broker, prefix: str, tmp_path: Path) -> None:
    programs = re.findall(r"^```python\n(.*?)^```", (KIT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    fleet = Fleet(kafka.bootstrap, prefix, tmp_path)
    (fleet.policies / "payout.yaml").write_text(POLICY)
    environment = {"SLUICEGATE_BOOTSTRAP": kafka.bootstrap, "SLUICEGATE_PREFIX": prefix, "PYTHONPATH": str(KIT)}
    # `acted.db` is beside the program
    arguments = [[sys.executable, "-c", f"import os; os.chdir({str(tmp_path)!r})\n{each}"] for each in programs]
    try:
        worker = fleet.start()
        wait_until(lambda: worker.says().count("partition ready") == PARTITIONS, 60, "the gate did not start", fleet)
        with Child(arguments[0], tmp_path / "producer.log", environment) as producer:
            assert asyncio.run(producer.ended()) == 0, producer.log
        with Child(arguments[1], tmp_path / "pay.log", environment) as executor:
            asyncio.run(executor.said("pay DE02-1203 12.50"))
            (found,) = asyncio.run(read(kafka.bootstrap, [prefix + "receipts"], 1))
            assert asyncio.run(executor.stop()) == 0, executor.log
        with Child(arguments[0], tmp_path / "again.log", environment) as producer:
            assert asyncio.run(producer.ended()) == 0, producer.log
        (again,) = asyncio.run(read(kafka.bootstrap, [prefix + "exceptions"], 1))
    finally:
        fleet.end()
    receipt, (command,) = found.json(), asyncio.run(read(kafka.bootstrap, [prefix + "commands"], 1))
    assert (receipt["status"], receipt["detail"], receipt["entity"]) == ("executed", "paid", "acct-17")
    assert receipt["command_id"] == command.json()["command_id"]
    assert (found.key, found.partition) == (command.key, command.partition)
    assert again.json()["reason"] == "duplicate.repeat", "the same id, observed anew: no second action"
    assert (tmp_path / "acted.db").exists()
    fleet.audit()


def command(number: int, **more: Any) -> Record:
    body = {"command_id": f"c-{number}", "workflow": "payout", "entity": f"e-{number}", "action": {"n": number}}
    times = {"gated_at_ms": now_ms(), "deadline_ms": now_ms() + 600_000}
    return Record(
        "commands", f"e-{number}".encode(), json.dumps({**body, **times, **more}).encode(), number % PARTITIONS
    )


class Running:
    """An executor of this test's own, in this process."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.bootstrap, self.prefix, self.seen = bootstrap, prefix, list[str]()
        self.executor: Executor | None = None
        self.task: asyncio.Task[None] | None = None

    def start(self, act: Any, store: Path, **options: Any) -> Executor:
        url = f"sqlite:///{store}/acted.db"
        group = self.prefix + "acting"
        self.executor = Executor(self.bootstrap, act, group=group, prefix=self.prefix, store=url, **options)
        self.task = asyncio.create_task(self.executor.run())
        return self.executor

    async def send(self, *records: Record) -> None:
        await send(self.bootstrap, [one._replace(topic=self.prefix + one.topic) for one in records])

    async def receipts(self, count: int) -> list[dict[str, Any]]:
        assert self.task is not None
        reading = asyncio.create_task(read(self.bootstrap, [self.prefix + "receipts"], count))
        await asyncio.wait({reading, self.task}, return_when=asyncio.FIRST_COMPLETED)
        if self.task.done():
            reading.cancel()
            self.task.result()
        return [one.json() for one in await reading]

    async def stop(self) -> None:
        if self.task is not None and self.executor is not None:
            self.executor.stop()
            await asyncio.wait_for(self.task, 60)


@pytest.fixture
async def running(kafka: Broker, prefix: str) -> AsyncIterator[Running]:
    await topics.apply(kafka.bootstrap, prefix, PARTITIONS)
    one = Running(kafka.bootstrap, prefix)
    yield one
    await one.stop()


async def test_poison_is_passed_by_and_what_others_do_is_left_to_them(running: Running, tmp_path: Path) -> None:
    seen: list[int] = []

    async def act(one: Command) -> None:
        seen.append(one.action["n"])

    traced = command(5)._replace(headers=(("traceparent", b"00-1"), ("tracestate", b"a=1"), ("ce_id", b"x")))
    poison = [Record("commands", b"e", value, n) for n, value in enumerate((b"{", b"", None, b"[]"))]
    await running.send(*poison, command(1, workflow="others"), command(4, deadline_ms=now_ms()), traced)
    executor = running.start(act, tmp_path, workflows=["payout"], name="erp-2")
    by_id = {one["command_id"]: one for one in await running.receipts(2)}
    assert {one: receipt["status"] for one, receipt in by_id.items()} == {"c-4": "expired", "c-5": "executed"}
    assert by_id["c-5"]["executor"] == "erp-2"
    ends = {(running.prefix + "commands", n): count for n, count in ((0, 2), (1, 3), (2, 1), (3, 1))}
    await committed_is(running.bootstrap, running.prefix + "acting", ends)
    assert seen == [5]
    assert executor.counts == {"poison": 4, "skipped": 1, "expired": 1, "executed": 1}


async def test_a_repeated_command_gets_the_same_receipt_also_from_another_instance(
    running: Running, tmp_path: Path
) -> None:
    seen: list[str] = []
    await running.send(command(1))
    for count in (1, 2):
        running.start(lambda one: seen.append(one.command_id), tmp_path)
        receipts = await running.receipts(count)
        await running.stop()
        assert len({json.dumps(one) for one in receipts}) == 1
        await running.send(command(1))
    assert seen == ["c-1"]


async def test_a_stop_lets_what_runs_end_and_leaves_the_rest(running: Running, tmp_path: Path) -> None:
    going, go = asyncio.Event(), asyncio.Event()
    seen: list[str] = []

    async def act(one: Command) -> None:
        seen.append(one.command_id)
        going.set()
        await go.wait()

    executor = running.start(act, tmp_path, limits=Limits(concurrency=1))
    await running.send(command(0), command(4))
    await asyncio.wait_for(going.wait(), 60)
    await asyncio.sleep(0.1)
    executor.stop()
    await asyncio.sleep(0.1)
    assert running.task is not None
    assert not running.task.done()
    go.set()
    await running.stop()
    assert seen == ["c-0"]
    (receipt,) = await read(running.bootstrap, [running.prefix + "receipts"], 1)
    assert receipt.json()["status"] == "executed"
    await committed_is(running.bootstrap, running.prefix + "acting", {(running.prefix + "commands", 0): 1})


async def test_a_stop_has_a_bound(running: Running, tmp_path: Path) -> None:
    going = asyncio.Event()

    async def act(_: Command) -> None:
        going.set()
        await asyncio.sleep(600)

    running.start(act, tmp_path, limits=Limits(stop_within_ms=50))
    await running.send(command(0))
    await asyncio.wait_for(going.wait(), 60)
    await running.stop()
    (receipt,) = await read(running.bootstrap, [running.prefix + "receipts"], 1)
    assert receipt.json()["status"] == "unknown"


VECTORS = {  # Kafka's own: UtilsTest.testMurmur2
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


async def test_the_producer_uses_javas_partitioner_the_entity_as_key_and_fills_in_the_times(running: Running) -> None:
    assert {key: murmur2(key) - (murmur2(key) >> 31 << 32) for key in VECTORS} == VECTORS
    async with Producer(running.bootstrap, prefix=running.prefix) as producer:
        for key, hashed in VECTORS.items():
            before_ms = now_ms()
            fields = {**decision("d-" + key.decode(), key.decode()), "proposer": "test"}
            sent = await producer.send(**fields, headers=[("traceparent", b"00-1")])
            assert sent[:2] == (running.prefix + "decisions", (hashed & 0x7FFFFFFF) % PARTITIONS)
            (found,) = [r for r in await read(running.bootstrap, [sent.topic], 1) if r.key == key]
            assert before_ms <= found.json()["sent_at_ms"] == found.json()["decided_at_ms"] <= now_ms()
        with pytest.raises(KitError, match="'d-1' cannot be sent: entity: 1 to 200"):
            await producer.send(**decision("d-1", ""))
        with pytest.raises(KitError, match="missing 1 required keyword-only argument: 'observed_at_ms'"):
            await producer.send(id="d", workflow="w", entity="e", action={})
    with pytest.raises(KitError, match="not started"):
        await producer.send(**decision("d-1"))


def test_without_an_event_loop(kafka: Broker, prefix: str, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(topics.apply(kafka.bootstrap, prefix, PARTITIONS))
    with SyncProducer(kafka.bootstrap, prefix=prefix) as producer:
        assert producer.send(Decision(**decision("d-1"))).offset == 0
    many = [Decision(**decision(f"d-{number}", f"e-{number}")) for number in range(2500)]
    assert produce(lambda: iter(many), bootstrap=kafka.bootstrap, prefix=prefix) == 2500

    async def each() -> AsyncIterator[Decision]:
        yield many[0]
        yield Decision(**decision("d~1"))

    with pytest.raises(SystemExit) as ended:
        produce(each, bootstrap=kafka.bootstrap, prefix=prefix)
    assert ended.value.code == 2
    assert "sluicegate-kit: the decision 'd~1' cannot be sent: id: it may not hold a ~" in capsys.readouterr().err
    assert len(asyncio.run(read(kafka.bootstrap, [prefix + "decisions"], 2502))) == 2502


RUN = "import sys; from sluicegate_kit import run, Limits; run(print, group='g', {})"


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ("prefix='nothing-here.'", 2, "the topic nothing-here.commands does not exist"),
        (
            "store='sqlite:////no/such/folder/a.db'",
            2,
            "the store cannot be opened: /no/such/folder/a.db: unable to open",
        ),
        ("store='nosuchdb://host/a'", 2, "the store cannot be opened: "),
        ("concurrency=3", 2, "the options are refused: Executor.__init__() got an unexpected keyword argument"),
        ("limits=Limits(concurrency=0)", 2, "the limit concurrency is 0: an integer of at least 1"),
        ("kafka={'acks': 0}", 2, "the kafka option 'acks' is the kit's own"),
        ("kafka={'no_such': 0}", 2, "the kafka options are refused"),
        ("bootstrap=''", 2, "bootstrap is empty"),
        ("bootstrap='127.0.0.1:CLOSED'", 3, "no broker answers at 127.0.0.1:"),
    ],
)
def test_a_start_that_is_refused_says_why_in_a_line(
    kafka: Broker, tmp_path: Path, options: str, code: int, says: str
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can take it
        program = RUN.format(options.replace("CLOSED", str(closed.getsockname()[1])))
        program = f"import os; os.chdir({str(tmp_path)!r}); " + program
        environment = {"SLUICEGATE_BOOTSTRAP": kafka.bootstrap, "PYTHONPATH": str(KIT)}
        with Child([sys.executable, "-c", program], tmp_path / "run.log", environment) as child:
            assert asyncio.run(child.ended()) == code, child.log
    errors = [line for line in child.log.splitlines() if line.startswith("sluicegate-kit: ")]
    assert len(errors) == 1, child.log
    assert says in errors[0]
    assert "Traceback" not in child.log
