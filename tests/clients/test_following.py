"""Halts on a real broker: read before the first command, followed while commands wait, acknowledged on `workers`."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from sluicegate_kit import BrokerUnreachable, Command, KitError, Limits
from sluicegate_kit.following import Following
from sluicegate_kit.halts import Scope

from streams.runtime import topics
from streams.runtime.broker import Broker, BrokerConfig
from tests.clients.test_halts import command as one_command
from tests.clients.test_halts import halt
from tests.clients.test_on_kafka import PARTITIONS, Running, command
from tests.kafka.harness import WAIT_S, Record, producer, read, send

POLICIES, WORKERS = "policies", "workers"


@pytest.fixture
async def running(kafka: Broker, prefix: str) -> AsyncIterator[Running]:
    await topics.apply(kafka.bootstrap, prefix, PARTITIONS)
    one = Running(kafka.bootstrap, prefix)
    yield one
    await one.stop()


async def written(running: Running, *records: tuple[str, bytes | None]) -> int:
    """Writes to `policies`, and returns the offset behind it."""
    topic = running.prefix + POLICIES
    return (await send(running.bootstrap, [Record(topic, key.encode(), value, 0) for key, value in records]))[-1][2] + 1


async def beats(running: Running, count: int) -> list[dict[str, Any]]:
    return [one.json() for one in await read(running.bootstrap, [running.prefix + WORKERS], count)]


async def acknowledged(running: Running, offset: int) -> dict[str, Any]:
    """The first heartbeat that says so."""
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        for beat in await beats(running, 1):
            if beat["policies_offset"] >= offset:
                return beat
    raise AssertionError(f"nobody acknowledged {offset}")


async def test_a_halt_that_is_there_at_start_is_known_before_the_first_command(
    running: Running, tmp_path: Path
) -> None:
    """Behind records of other kinds, and before an aborted resumption that nobody may follow."""
    many = [(f"policy/w@{n}", b'{"document":"' + b"x" * 2000 + b'"}') for n in range(1, 1500)]
    await written(running, *many, (Scope("payout").key, halt()), ("current/w", b"{}"))
    async with producer(running.bootstrap, transactional_id=running.prefix + "tool") as tool:
        await tool.begin_transaction()
        await tool.send_and_wait(running.prefix + POLICIES, halt(False), key=Scope("payout").key.encode(), partition=0)
        await tool.abort_transaction()
        async with tool.transaction():
            await tool.send(running.prefix + POLICIES, b"{}", key=b"current/v", partition=0)
    following = Following({"bootstrap_servers": running.bootstrap}, running.prefix, 30_000)
    await following.start()
    assert (
        following.refuses(one_command(workflow="payout")) == "workflow 'payout' is halted by ana: the rates are wrong"
    )
    assert following.refuses(one_command(workflow="other")) is None
    await following.stop()
    await running.send(*(command(n) for n in range(20)), command(20, workflow="other"))
    seen: list[int] = []
    executor = running.start(lambda one: seen.append(one.action["n"]), tmp_path)
    receipts = await running.receipts(21)
    refused = [one for one in receipts if one["status"] == "refused"]
    assert {one["detail"] for one in refused} == {"workflow 'payout' is halted by ana: the rates are wrong"}
    assert len(refused) == 20
    assert seen == [20]
    await running.stop()
    assert executor.counts == {"refused": 20, "executed": 1}


@pytest.mark.parametrize("is_async", [True, False])
async def test_after_the_acknowledgement_nothing_in_the_scope_starts(
    running: Running, tmp_path: Path, is_async: bool
) -> None:
    """Commands wait by the hundred; a halt, a resumption and a recall are acknowledged in turn."""
    started: list[str] = []

    async def act_async(one: Command) -> None:
        started.append(one.command_id)
        await asyncio.sleep(0.01)

    def act(one: Command) -> None:
        started.append(one.command_id)
        time.sleep(0.01)

    await running.send(*(command(n) for n in range(600)))
    running.start(act_async if is_async else act, tmp_path, limits=Limits(concurrency=4))
    while len(started) < 20:
        await asyncio.sleep(0.01)
    beat = await acknowledged(running, await written(running, (Scope(action_type="pay").key, halt())))
    assert (beat["role"], beat["every_ms"]) == ("executor", 5_000)
    before = len(started)
    while len(started) <= before + 20:  # it is about other actions: these go on
        await asyncio.sleep(0.01)
    await acknowledged(running, await written(running, (Scope("payout").key, halt())))
    before = len(started)
    receipts = await running.receipts(600)
    assert before == len(started) < 600
    assert sum(one["status"] == "refused" for one in receipts) == 600 - before

    offset = await written(
        running,
        ("recall/c-1001", json.dumps({"why": "wrong account", "by": "ben", "at_ms": 1}).encode()),
        (Scope("payout").key, halt(False, why="mended")),
    )
    await acknowledged(running, offset)
    await running.send(command(1000), command(1001))
    told = {one["command_id"]: (one["status"], one.get("detail")) for one in (await running.receipts(602))[600:]}
    told |= {one["command_id"]: (one["status"], one.get("detail")) for one in await running.receipts(602)}
    assert told["c-1000"][0] == "executed"
    assert told["c-1001"] == ("refused", "recalled by ben: wrong account")
    await running.stop()
    last = (await beats(running, 1))[-1]
    assert (last["ended"], last["policies_offset"]) == (True, offset)


async def test_a_halt_that_cannot_be_read_is_told_in_the_heartbeat(running: Running, tmp_path: Path) -> None:
    running.start(pytest.fail, tmp_path)
    beat = await acknowledged(running, await written(running, ("halt/x", b"garbage")))
    (trouble,) = beat["troubles"]
    assert trouble.startswith("the record 'halt/x' cannot be read: ")
    await running.send(command(0))
    (receipt,) = await running.receipts(1)
    assert receipt["detail"].startswith("everything is halted by nobody known")


async def test_without_the_topic_it_does_not_start(kafka: Broker, prefix: str) -> None:
    following = Following({"bootstrap_servers": kafka.bootstrap, "request_timeout_ms": 300}, prefix, 30_000)
    with pytest.raises(BrokerUnreachable, match="policies could not be read to its end"):
        await following.start()


async def test_an_executor_without_the_topic_is_told_what_to_do(kafka: Broker, prefix: str, tmp_path: Path) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(prefix + kind, 1, 1) for kind in ("commands", "receipts")])
    await admin.close()
    one = Running(kafka.bootstrap, prefix)
    one.start(pytest.fail, tmp_path)
    assert one.task is not None
    with pytest.raises(KitError, match=r"the topic \S+\.policies does not exist at .*: run `sluicegate topics apply`"):
        await one.task


async def test_it_goes_on_with_what_it_knows_until_its_patience_ends_and_reads_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The broker goes away and comes back with a halt that was written by others meanwhile."""
    config = BrokerConfig(data=tmp_path / "kafka")
    with Broker(config) as broker:
        port = int(broker.bootstrap.rpartition(":")[2])
        await topics.apply(broker.bootstrap, "t.", 1)
        following = Following({"bootstrap_servers": broker.bootstrap, "request_timeout_ms": 500}, "t.", 3_000)
        await following.start()
        task = asyncio.create_task(following.run())
        broker.kill()  # at once: an orderly stop may take longer than its patience
    one = one_command(workflow="payout")
    assert following.refuses(one) is None, "it goes on with what it knows"
    while (told := following.refuses(one)) is None:
        await asyncio.sleep(0.05)
    assert told.endswith("cannot tell whether a halt applies")
    with Broker(BrokerConfig(data=tmp_path / "kafka", port=port)) as broker, caplog.at_level(logging.INFO):
        assert broker.bootstrap.endswith(f":{port}")
        while following.refuses(one) is not None:
            await asyncio.sleep(0.05)
        await send(broker.bootstrap, [Record("t.policies", Scope("payout").key.encode(), halt(), 0)])
        while following.refuses(one) is None:
            await asyncio.sleep(0.05)
        assert following.refuses(one) == "workflow 'payout' is halted by ana: the rates are wrong"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await following.stop()
    assert sum("is read again" in one.message for one in caplog.records) == 1
