"""Batches that a broker keeps and nobody can read: bombs, and bytes that a disk has changed. Each is answered once."""

from __future__ import annotations

import asyncio
from pathlib import Path

from streams.runtime.broker import Broker
from streams.runtime.topics import apply
from tests.kafka.appending import append, codecs_of
from tests.kafka.harness import (
    SLUICEGATE,
    WAIT_S,
    Child,
    audited,
    decision,
    dispositions,
    producer,
    record,
    send,
    worker,
)
from tests.streams.runtime.batching import GZIP, ZSTD, bomb, many_headers

MIB_MAX = 420  # of a gate that has met them: it takes 130 by itself, and a bomb at most 64, read and read once more


def tear(kafka: Broker, topic: str, text: bytes) -> None:
    """Changes one byte of the text where the broker keeps it."""
    (segment,) = (kafka.data / "log" / f"{topic}-0").glob("*.log")
    data = segment.read_bytes()
    with segment.open("r+b") as file:
        file.seek(data.index(text) + 1)
        file.write(b"#")


def peak_mib(child: Child) -> int:
    status = Path(f"/proc/{child.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) >> 10


async def run(kafka: Broker, prefix: str, *arguments: str) -> tuple[int, str]:
    """The exit code of a command, and what it wrote to stderr."""
    given = [*SLUICEGATE, *arguments, "--bootstrap", kafka.bootstrap, "--prefix", prefix]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*given, stdout=asyncio.subprocess.DEVNULL, stderr=pipe)
    _, told = await asyncio.wait_for(process.communicate(), WAIT_S)
    return process.returncode or 0, told.decode()


async def test_each_is_answered_once_by_its_range_and_its_neighbours_as_ever(
    kafka: Broker, prefix: str, tmp_path: Path
) -> None:
    await apply(kafka.bootstrap, prefix, partitions=1)
    topic = prefix + "decisions"
    async with producer(kafka.bootstrap) as client:
        await send(kafka.bootstrap, [record(topic, decision("first"))])
        bombs = [await append(client, topic, bomb(0, codec, 100)) for codec in (GZIP, ZSTD)]
        bombs.append(await append(client, topic, many_headers(0, ZSTD, 3_000_000)))
        await send(kafka.bootstrap, [record(topic, decision("between"))])
        batch = client.create_batch()
        for one in ("torn-1", "torn-2", "torn-3"):
            told = record(topic, decision(one))
            batch.append(key=told.key, value=told.value, timestamp=None)
        torn = (await (await client.send_batch(batch, topic, partition=0))).offset
        await send(kafka.bootstrap, [record(topic, decision("last"))])
    tear(kafka, topic, b"torn-2")
    with worker(kafka.bootstrap, prefix, tmp_path, more=["--compression=zstd"]) as gate:
        found = await dispositions(kafka.bootstrap, prefix, 7)
        assert peak_mib(gate) < MIB_MAX
        assert await gate.stop() == 0, gate.log
    assert [output for output, _ in found.values()].count("commands") == 3
    assert [codecs_of(kafka, prefix + kind) for kind in ("commands", "exceptions", "state")] == [{ZSTD}] * 3
    refused = {body["source"]["offset"]: body for output, body in found.values() if output == "exceptions"}
    ranges = {at: (body["source"]["through"], body["reason"]) for at, body in refused.items()}
    expected = {at: (at, "invalid.batch") for at in bombs} | {torn: (torn + 2, "invalid.batch")}
    assert ranges == expected
    assert "hold more than 64 MiB" in refused[bombs[0]]["detail"]
    assert "its checksum does not fit its bytes" in refused[torn]["detail"]
    judged = await audited(kafka.bootstrap, prefix, prefix + "gate")
    assert judged["ok"], judged
    assert judged["inputs"] == 7  # a batch that cannot be read is one

    policies = str(tmp_path / "policies")
    commands = [
        ["tail", "decisions", "--from-beginning", "-n", "3", "--output", "json"],
        ["tail", "exceptions", "--from-beginning", "-n", "4"],
        ["why", "last"],
        ["audit", "--group", prefix + "gate"],
        ["policy", "backtest", policies, "--from", "1h"],
        ["budget", "simulate", "--workflow", "billing", "--policies", policies, "--from", "1h"],
    ]
    answers = await asyncio.gather(*(run(kafka, prefix, *arguments) for arguments in commands))
    assert [code for code, _ in answers] == [0] * len(commands), answers
    passed_over = [line for line in answers[0][1].splitlines() if "cannot be read and is passed over" in line]
    assert len(passed_over) == 4
    assert f"{topic}/0, offsets {torn} to {torn + 2}, cannot be read" in passed_over[-1]


async def test_the_audit_misses_an_answer_to_what_cannot_be_read(kafka: Broker, prefix: str) -> None:
    await apply(kafka.bootstrap, prefix, partitions=1)
    async with producer(kafka.bootstrap) as client:
        await append(client, prefix + "decisions", bomb(0, ZSTD, 100))
    judged = await audited(kafka.bootstrap, prefix)
    assert (judged["missing"], judged["ok"]) == (1, False)
