"""What others wrote, and what the broker removed: good commands are acted on, and what cannot be is named by place."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from sluicegate_kit import KitError, Limits, Lost, Producer
from sluicegate_kit.halts import Scope

from streams.runtime import topics
from streams.runtime.broker import Broker
from tests.clients.test_halts import halt
from tests.clients.test_on_kafka import PARTITIONS, Running, command
from tests.kafka.appending import append
from tests.kafka.harness import Record, committed_is, decision, producer, read, remove_before
from tests.streams.runtime.batching import LZ4, NONE, ZSTD, bomb, head, record, sealed, varint


@pytest.fixture
async def running(kafka: Broker, prefix: str) -> AsyncIterator[Running]:
    await topics.apply(kafka.bootstrap, prefix, PARTITIONS)
    one = Running(kafka.bootstrap, prefix)
    yield one
    await one.stop()


async def sent(running: Running, codec: str | None, *records: Record) -> None:
    async with producer(running.bootstrap, compression_type=codec) as client:
        for one in records:
            topic = running.prefix + one.topic
            await client.send_and_wait(
                topic, one.value, key=one.key, partition=one.partition, headers=list(one.headers)
            )


async def wrote(running: Running, topic: str, data: bytes) -> None:
    """A batch as it is, to partition 0."""
    async with producer(running.bootstrap) as client:
        await append(client, running.prefix + topic, data)


async def test_each_codec_on_what_the_kit_reads(running: Running, tmp_path: Path) -> None:
    """`policies` and `commands`; what it writes with each is read, too."""
    codecs = ["gzip", "snappy", "lz4", "zstd"]
    for number, codec in enumerate(codecs):
        await sent(running, codec, Record("policies", Scope(f"halted-{codec}").key.encode(), halt(), 0))
        await sent(running, codec, command(number), command(number + 10, workflow=f"halted-{codec}"))
    seen: list[int] = []
    running.start(lambda one: seen.append(one.action["n"]), tmp_path)
    by_id = {one["command_id"]: one["status"] for one in await running.receipts(8)}
    assert by_id == {f"c-{n}": "executed" for n in range(4)} | {f"c-{n + 10}": "refused" for n in range(4)}
    assert sorted(seen) == [0, 1, 2, 3]
    for codec in codecs:
        async with Producer(running.bootstrap, prefix=running.prefix, compression=codec) as kit:
            await kit.send(**decision(f"d-{codec}", action="x" * 50_000))
            client: Any = None if kit._sending is None else kit._sending._client
            assert client._compression_type == codec
    found = await read(running.bootstrap, [running.prefix + "decisions"], 4)
    assert [one.json()["id"] for one in found] == [f"d-{codec}" for codec in codecs]


async def test_any_bytes_on_what_it_reads_leave_the_good_commands_alone(running: Running, tmp_path: Path) -> None:
    """Between good ones: keys, values and names of headers of any kind, and a batch that would fill the memory."""
    rnd = random.Random(11)
    lost: list[Lost] = []
    for number in range(0, 40, 4):
        key, value = rnd.randbytes(rnd.randrange(40)), rnd.choice([rnd.randbytes(60), b"[" * 100_000, b'{"a":1e999}'])
        await sent(running, rnd.choice([None, "zstd", "lz4"]), Record("commands", key, value, 0))
        await sent(running, None, Record("policies", b"x" + rnd.randbytes(20), value, 0))
        good = command(number)
        await sent(running, None, good._replace(headers=(("traceparent", b"00-1"), ("tracestate", rnd.randbytes(20)))))
    large = command(44)._replace(key=b"k" * 900_000)
    huge = command(48)._replace(headers=(("traceparent", b"t" * 900_000),))
    long = command(52, workflow="w" * 900_000)
    await sent(running, None, large, huge, long)
    odd = command(56)
    headers = varint(1) + varint(2) + b"\xff\xfe" + varint(0)
    await wrote(running, "commands", sealed(head(1), record(odd.key, odd.value, 0, headers), 0, NONE))
    await wrote(running, "commands", bomb(0, ZSTD, 100))
    await sent(running, None, command(60))
    seen: list[int] = []
    executor = running.start(lambda one: seen.append(one.action["n"]), tmp_path, on_lost=lost.append)
    receipts = await running.receipts(14)
    assert sorted(seen) == [*range(0, 40, 4), 44, 48, 56, 60]
    assert {one["status"] for one in receipts} == {"executed"}
    ends = {(running.prefix + "commands", 0): 26}
    await committed_is(running.bootstrap, running.prefix + "acting", ends)
    await running.stop()
    assert executor.counts == {"poison": 11, "executed": 14, "lost": 1}
    (one,) = lost
    assert (one.partition, one.offset, one.through, one.count) == (0, 24, 24, 1)
    assert str(one).startswith(f"{running.prefix}commands/0, offsets 24 to 24: up to 1 commands were not acted on and")
    assert one.why.endswith("bytes of zstd hold more than 64 MiB")
    beats = [each.json() for each in await read(running.bootstrap, [running.prefix + "workers"], 1)]
    assert beats[-1]["troubles"] == [str(one)]
    keys = [each.key for each in await read(running.bootstrap, [running.prefix + "receipts"], 14)]
    assert b"e-44" in keys


async def test_a_batch_of_policies_that_cannot_be_read_may_have_been_a_halt(running: Running, tmp_path: Path) -> None:
    await wrote(running, "policies", bomb(0, LZ4, 100))
    await running.send(command(0))
    running.start(pytest.fail, tmp_path)
    (receipt,) = await running.receipts(1)
    assert receipt["status"] == "refused"
    assert receipt["detail"].startswith(
        f"everything is halted by nobody known: {running.prefix}policies/0, offsets 0 to 0 cannot be read: "
    )
    await running.stop()
    await running.send(Record("policies", Scope().key.encode(), halt(False), 0), command(4))
    running.start(lambda _: "done", tmp_path)
    assert {one["status"] for one in await running.receipts(2)} == {"refused", "executed"}


async def test_commands_that_were_removed_before_they_were_read_are_told(
    running: Running, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    topic = running.prefix + "commands"
    lost: list[Lost] = []
    await running.send(*(command(n * PARTITIONS) for n in range(3)))
    running.start(lambda _: None, tmp_path)
    await running.receipts(3)
    await running.stop()
    await running.send(*(command(n * PARTITIONS) for n in range(3, 23)))
    await remove_before(running.bootstrap, topic, 18)
    executor = running.start(lambda _: None, tmp_path, on_lost=lost.append)
    await running.receipts(8)
    await committed_is(running.bootstrap, running.prefix + "acting", {(topic, 0): 23})
    assert lost == [
        Lost(
            topic,
            0,
            3,
            17,
            "the broker removed them before they were read (its retention, or somebody who deleted records)",
        )
    ]
    assert executor.counts["lost"] == 15
    assert f"{topic}/0, offsets 3 to 17: up to 15 commands were not acted on and get no receipt" in caplog.text
    await running.stop()
    beats = [each.json() for each in await read(running.bootstrap, [running.prefix + "workers"], 1)]
    assert beats[-1]["troubles"] == [str(lost[0])]
    # told once: the next life begins behind it
    await running.send(command(92))
    again = running.start(lambda _: None, tmp_path, on_lost=lost.append)
    await running.receipts(9)
    await running.stop()
    assert again.counts == {"executed": 1}
    assert len(lost) == 1


async def test_commands_that_are_removed_while_it_runs_are_told(running: Running, tmp_path: Path) -> None:
    """One command at a time, and no room for more: what waits at the broker is removed there."""
    topic = running.prefix + "commands"
    lost: list[Lost] = []
    going, go = asyncio.Event(), asyncio.Event()

    async def act(_: Any) -> None:
        going.set()
        await go.wait()

    wide = {"pad": "x" * 300_000}
    await running.send(*(command(n * PARTITIONS, action={"n": n, **wide}) for n in range(12)))
    executor = running.start(act, tmp_path, on_lost=lost.append, limits=Limits(concurrency=1, backlog=1))
    await asyncio.wait_for(going.wait(), 60)
    await remove_before(running.bootstrap, topic, 11)
    go.set()
    await committed_is(running.bootstrap, running.prefix + "acting", {(topic, 0): 12})
    (one,) = lost
    assert one.through == 10
    assert executor.counts["executed"] + executor.counts["lost"] == 12


async def test_what_a_callback_raises_ends_it(running: Running, tmp_path: Path) -> None:
    await running.send(command(0))
    running.start(lambda _: None, tmp_path)
    await running.receipts(1)
    await running.stop()
    await running.send(command(4))
    await remove_before(running.bootstrap, running.prefix + "commands", 2)

    def stop(one: Lost) -> None:
        raise KitError(f"somebody has to look: {one.count}")

    running.start(pytest.fail, tmp_path, on_lost=stop)
    assert running.task is not None
    with pytest.raises(KitError, match="somebody has to look: 1"):
        await asyncio.wait_for(running.task, 60)
    running.task = None


async def test_an_offset_beyond_the_end_is_a_sentence_and_not_another_place(running: Running, tmp_path: Path) -> None:
    await running.send(command(0))
    consumer_group = running.prefix + "acting"
    async with producer(running.bootstrap, transactional_id=running.prefix + "tool") as client, client.transaction():
        await client.send_offsets_to_transaction({TopicPartition(running.prefix + "commands", 0): 17}, consumer_group)
    running.start(pytest.fail, tmp_path)
    assert running.task is not None
    with pytest.raises(
        KitError, match=r"has read \S+commands/0 up to 17, which ends at 1: the topic was made anew"
    ) as no:
        await asyncio.wait_for(running.task, 60)
    assert no.value.exit_code == 2
    running.task = None
