"""A broker that is away for longer than the client's own patience: nothing is lost, and nobody has to start again."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from sluicegate_kit import BrokerUnreachable, Command, Executor, Producer

from streams.runtime import topics
from streams.runtime.broker import Broker, BrokerConfig
from tests.clients.test_on_kafka import KIT, Running, command
from tests.clients.test_replaced import first_seen
from tests.conftest import QUICK_GROUPS
from tests.kafka.harness import Child, decision, read

pytestmark = pytest.mark.faults

PREFIX, PARTITIONS, ENTITIES = "t.", 4, 6
PATIENCE_MS = 700  # of aiokafka, for a batch without a leader; its default is 40 s
AWAY_S = 3.0
PRODUCE = """
import time
from sluicegate_kit import Decision, now_ms, produce
def decide():
    for n in range(10**9):
        yield Decision(id=f"d-{n}", workflow="w", entity=f"e-{n % 6}", action={}, observed_at_ms=now_ms())
        time.sleep(0.02)
print("sent", produce(decide, kafka={"request_timeout_ms": 1500}))
"""
LINES_MAX = 30  # an executor's, of which aiokafka's hundred a second are a few kinds in ten seconds


async def test_after_an_outage_every_decision_and_every_receipt_is_there_and_in_order(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = tmp_path / "kafka"
    acted: list[str] = []
    going, go = asyncio.Event(), asyncio.Event()
    quick = {"request_timeout_ms": PATIENCE_MS}

    async def act(one: Command) -> None:
        acted.append(one.command_id)
        going.set()
        await go.wait()

    with Broker(BrokerConfig(data=data, properties=QUICK_GROUPS)) as broker:
        bootstrap, port = broker.bootstrap, int(broker.bootstrap.rpartition(":")[2])
        await topics.apply(bootstrap, PREFIX, PARTITIONS)
        running = Running(bootstrap, PREFIX)
        await running.send(command(1), command(2), command(3))
        executor: Executor = running.start(act, tmp_path, kafka=quick)
        producer = await Producer(bootstrap, prefix=PREFIX, kafka=quick).__aenter__()
        await producer.send(**decision("before", "e-0"))
        await asyncio.wait_for(going.wait(), 60)
        while len(acted) < 3:
            await asyncio.sleep(0.01)
        broker.kill()
    go.set()  # their receipts meet no broker
    started_s = time.monotonic()
    sending = []
    number = 0
    while time.monotonic() < started_s + AWAY_S:
        sending.append(asyncio.create_task(producer.send(**decision(f"d-{number}", f"e-{number % ENTITIES}"))))
        number += 1
        await asyncio.sleep(0.05)
    with Broker(BrokerConfig(data=data, port=port, properties=QUICK_GROUPS)), caplog.at_level(logging.INFO):
        sent = await asyncio.wait_for(asyncio.gather(*sending), 60)
        await producer.send(**decision("after", "e-0"))
        await producer.__aexit__(None, None, None)
        found = await read(bootstrap, [PREFIX + "decisions"], number + 2)
        receipts = await running.receipts(3)
        await running.stop()
    assert len(sent) == number
    bodies = [one.json() for one in found]
    assert {one["id"] for one in bodies} == {"before", "after", *(f"d-{n}" for n in range(number))}
    for entity in range(ENTITIES):
        ids = first_seen([one["id"] for one in bodies if one["entity"] == f"e-{entity}" and one["id"][:2] == "d-"])
        assert ids == [f"d-{n}" for n in range(entity, number, ENTITIES)]
    assert {one["command_id"] for one in receipts} == {"c-1", "c-2", "c-3"} == set(acted)
    assert len(acted) == 3
    assert executor.counts["executed"] == 3


async def test_a_decision_waits_no_longer_than_its_time_and_the_producer_works_on(tmp_path: Path) -> None:
    data = tmp_path / "kafka"
    with Broker(BrokerConfig(data=data)) as broker:
        port = int(broker.bootstrap.rpartition(":")[2])
        await topics.apply(broker.bootstrap, PREFIX, 1)
        producer = Producer(
            broker.bootstrap, prefix=PREFIX, delivery_ms=1500, kafka={"request_timeout_ms": PATIENCE_MS}
        )
        await producer.__aenter__()
        broker.kill()
    with pytest.raises(BrokerUnreachable, match=r"the decision 'd-1' was not acknowledged within 1500 ms .*same id"):
        await asyncio.wait_for(producer.send(**decision("d-1")), 5)
    with Broker(BrokerConfig(data=data, port=port)):
        until = time.monotonic() + 60
        while True:
            try:
                await producer.send(**decision("d-1"))
                break
            except BrokerUnreachable:
                assert time.monotonic() < until
        await producer.__aexit__(None, None, None)


def test_whole_programs_wait_for_the_broker_and_say_so_in_a_few_lines(tmp_path: Path) -> None:
    data = tmp_path / "kafka"
    with Broker(BrokerConfig(data=data, properties=QUICK_GROUPS)) as broker:
        bootstrap, port = broker.bootstrap, int(broker.bootstrap.rpartition(":")[2])
        asyncio.run(topics.apply(bootstrap, PREFIX, PARTITIONS))
        environment = {"SLUICEGATE_BOOTSTRAP": bootstrap, "SLUICEGATE_PREFIX": PREFIX}
        environment["PYTHONPATH"] = f"{KIT}{os.pathsep}{KIT.parents[2]}"
        acting = [sys.executable, "-m", "tests.faults.executing"]
        acting += [PREFIX, f"sqlite:///{tmp_path}/acted.db", str(tmp_path / "acted.txt")]
        producer = Child([sys.executable, "-c", PRODUCE], tmp_path / "produce.log", environment)
        executor = Child(acting, tmp_path / "executor.log", environment)
        with producer, executor:
            asyncio.run(executor.said("acting as"))
            asyncio.run(read(bootstrap, [PREFIX + "decisions"], 20))
            broker.kill()
            before = len(executor.log.splitlines())
            asyncio.run(producer.said("has acknowledged nothing for"))
            asyncio.run(executor.said("cannot be read, trying again until the broker answers"))
            with Broker(BrokerConfig(data=data, port=port, properties=QUICK_GROUPS)):
                asyncio.run(producer.said("takes records again"))
                asyncio.run(executor.said("is read again"))
                assert len(executor.log.splitlines()) - before < LINES_MAX, executor.log
                producer.process.send_signal(signal.SIGINT)
                assert asyncio.run(producer.ended()) == 0, producer.log
                assert asyncio.run(executor.stop()) == 0, executor.log
                (count,) = [int(line[5:]) for line in producer.log.splitlines() if line.startswith("sent ")]
                found = asyncio.run(read(bootstrap, [PREFIX + "decisions"], count))
    ids = first_seen([one.json()["id"] for one in found])
    assert len(ids) == count
    assert set(ids) == {f"d-{n}" for n in range(count)}
