"""What the tests of the running gate share: a worker child, producers by hand, and reading what came out."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from agents.audit.run import Scope
from agents.audit.run import audit as run_audit
from streams.runtime.logs import LEVEL_VARIABLE
from streams.runtime.policies import load
from streams.runtime.policies_topic import seeded
from streams.runtime.records import telling
from streams.runtime.settings import Kafka

POLICY = """\
workflow: billing
version: 3
freshness: {budget: 10m, total: 20m}
boundary:
  rules:
    - {name: small, then: autonomous, limits: {value_minor_at_most: 5000, currency: USD}}
"""
OUTPUTS = ("commands", "reviews", "exceptions")
WAIT_S = 60.0  # for what takes a second on a quiet machine
SLUICEGATE = (sys.executable, "-c", "from agents.cli.main import main; main()")


def new_prefix() -> str:
    """Topic names of one module's own."""
    return f"t{secrets.token_hex(4)}."


def write_policies(folder: Path, text: str = POLICY) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "billing.yaml").write_text(text)
    return folder


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def decision(identifier: str, entity: str = "acct-1", **more: Any) -> dict[str, Any]:
    """One that the policy lets run."""
    fields = {"id": identifier, "workflow": "billing", "entity": entity, "action": {"type": "invoice.post"}}
    return {**fields, "observed_at_ms": now_ms(), "value_minor": 100, "currency": "USD", **more}


def successor(root: str, attempt: int, entity: str = "acct-1", **more: Any) -> dict[str, Any]:
    """A further attempt at `root`, as Sluicegate writes it."""
    lineage = {"root_id": root, "attempt": attempt, "cause": "stale.age"}
    times = {"first_observed_at_ms": now_ms() - 1000, "final_deadline_ms": now_ms() + 300_000}
    return {**decision(f"{root}~{attempt}", entity), **lineage, **times, **more}


class Record(NamedTuple):
    """One record to send, or one that was read."""

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int | None = None
    headers: tuple[tuple[str, bytes], ...] = ()

    def json(self) -> dict[str, Any]:
        assert self.value is not None
        parsed: dict[str, Any] = orjson.loads(self.value)
        return parsed


def record(topic: str, body: dict[str, Any], partition: int | None = None) -> Record:
    """A decision with its entity as the key."""
    return Record(topic, str(body["entity"]).encode(), orjson.dumps(body), partition)


@asynccontextmanager
async def producer(bootstrap: str, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    client = AIOKafkaProducer(bootstrap_servers=bootstrap, max_request_size=2 << 20, **options)
    await client.start()
    try:
        yield client
    finally:
        await client.stop()


async def send(bootstrap: str, records: Iterable[Record]) -> list[tuple[str, int, int]]:
    """Topic, partition and offset of each, in order."""
    async with producer(bootstrap) as client:
        sent = [await _sent(client, one) for one in records]
        answers = [await one for one in sent]
    return [(answer.topic, answer.partition, answer.offset) for answer in answers]


async def _sent(client: AIOKafkaProducer, one: Record) -> asyncio.Future[Any]:
    answer: asyncio.Future[Any]
    if one.key is None and one.value is None:  # other clients send such a thing; aiokafka only when asked in this way
        batch = client.create_batch()
        batch.append(key=None, value=None, timestamp=None)
        answer = await client.send_batch(batch, one.topic, partition=one.partition or 0)
    else:
        headers = list(one.headers)
        answer = await client.send(one.topic, one.value, key=one.key, partition=one.partition, headers=headers)
    return answer


async def read(bootstrap: str, topics: Sequence[str], count: int, level: str = "read_committed") -> list[Record]:
    """At least `count` records of the topics, from the start; fewer of them after `WAIT_S` is an assertion."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level=level, auto_offset_reset="earliest")
    await consumer.start()
    try:
        places = [TopicPartition(topic, n) for topic in topics for n in consumer.partitions_for_topic(topic) or ()]
        if not places:
            await consumer._client.force_metadata_update()
            places = await _places(consumer, topics)
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        found: list[Record] = []
        until = time.monotonic() + WAIT_S
        while len(found) < count:
            assert time.monotonic() < until, f"{len(found)} of {count} records in {topics} after {WAIT_S} s"
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += [Record(one.topic, one.key, one.value, one.partition, tuple(one.headers)) for one in records]
        return found
    finally:
        await consumer.stop()


async def _places(consumer: AIOKafkaConsumer, topics: Sequence[str]) -> list[TopicPartition]:
    for topic in topics:
        await consumer._client._wait_on_metadata(topic)
    return [TopicPartition(topic, n) for topic in topics for n in consumer.partitions_for_topic(topic) or ()]


async def dispositions(bootstrap: str, prefix: str, count: int) -> dict[tuple[str, int, int], tuple[str, Any]]:
    """The answers by the source that they name: (output, record); waits until there are `count`."""
    found = await read(bootstrap, [prefix + output for output in OUTPUTS], count)
    answers: dict[tuple[str, int, int], tuple[str, Any]] = {}
    for one in found:
        body = one.json()
        source = body["source"]
        place = (source["topic"], source["partition"], source["offset"])
        assert place not in answers, f"two answers to {place}"
        assert one.partition == source["partition"]
        answers[place] = (one.topic.removeprefix(prefix), body)
    return answers


async def remove_before(bootstrap: str, topic: str, offset: int, partition: int = 0) -> None:
    """What retention does, or somebody who deletes records."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(before_offset=offset)})
    finally:
        await admin.close()


async def committed(bootstrap: str, group: str) -> dict[tuple[str, int], int]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        found = await admin.list_consumer_group_offsets(group)
    finally:
        await admin.close()
    return {(place.topic, place.partition): at.offset for place, at in found.items()}


async def committed_is(bootstrap: str, group: str, expected: dict[tuple[str, int], int]) -> None:
    """Waits until the group's offsets of these places are those: their markers may be written after the outputs'."""
    until = time.monotonic() + WAIT_S
    while {place: at for place, at in (await committed(bootstrap, group)).items() if place in expected} != expected:
        assert time.monotonic() < until, f"{await committed(bootstrap, group)}, not {expected}"
        await asyncio.sleep(0.05)


async def audited(bootstrap: str, prefix: str, group: str | None = None) -> dict[str, Any]:
    """The audit's verdict, as `sluicegate audit --output json` prints it."""
    return (await run_audit(Scope(bootstrap, prefix, group, telling=telling))).as_dict()


class Child:
    """A process in a session of its own, its output in a file; ended in the end, by its id."""

    def __init__(self, arguments: Sequence[str], log: Path, environment: dict[str, str] | None = None) -> None:
        self.log_path = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, LEVEL_VARIABLE: "debug", **(environment or {})},  # tests look at how it starts
                start_new_session=True,
            )

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    async def said(self, text: str, count: int = 1) -> str:
        """Waits until the log holds `text` so often; returns the log."""
        until = time.monotonic() + WAIT_S
        while (log := self.log).count(text) < count:
            assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{log}"
            assert time.monotonic() < until, f"no {count} x {text!r} after {WAIT_S} s:\n{log}"
            await asyncio.sleep(0.05)
        return log

    async def ended(self) -> int:
        """Waits for its end; returns the exit code."""
        until = time.monotonic() + WAIT_S
        while (code := self.process.poll()) is None:
            assert time.monotonic() < until, f"it still runs:\n{self.log}"
            await asyncio.sleep(0.05)
        return code

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return await self.ended()


def seed(bootstrap: str, prefix: str, policies: Path) -> None:
    """Publishes the folder's policies, if none is in force. Also called from a running loop: it has one of its own."""
    documents = [policy.document for policy in load(policies).by_index]
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(seeded(Kafka(bootstrap, prefix), documents))).result()


def worker(
    bootstrap: str,
    prefix: str,
    folder: Path,
    name: str = "worker",
    group: str | None = None,
    module: str = "agents.worker",
    role: str = "gate",
    more: Sequence[str] = (),
) -> Child:
    """One worker process without a supervisor; `folder` takes its policies and its log."""
    policies = folder / "policies"
    if not policies.exists():
        write_policies(policies)
    seed(bootstrap, prefix, policies)
    arguments = [role, f"--bootstrap={bootstrap}", f"--prefix={prefix}", f"--group={group or prefix + role}"]
    return Child([sys.executable, "-m", module, *arguments, *more], folder / f"{name}.log")
