"""Any bytes as key, value and headers, in any codec, on every topic that a role reads: what must be answered is, and no
role ends or even notices. One life of each role, the same records each time.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streams.foreign import object_of
from streams.runtime.broker import Broker
from streams.runtime.topics import apply
from tests.kafka.harness import WAIT_S, Child, Record, decision, now_ms, record, worker
from tests.streams.test_foreign_records import NASTIES, WRITTEN

pytestmark = pytest.mark.kafka

Place = tuple[str, int, int]
PARTITIONS = 2
OF_EACH = 40
CODECS = (None, "gzip", "snappy", "lz4", "zstd")
POLICY = """\
workflow: billing
version: 3
freshness:
  budget: 10m
  total: 30m
  on_stale: reevaluate
  context: [rate_card]
  supersede: true
  allowance: {initial: 1ms, at_most: 5s}
evaluator: {function: "tests.kafka.rating:evaluate", timeout: 5s}
boundary:
  rules: [{name: small, then: autonomous, limits: {value_minor_at_most: 5000, currency: USD}}]
  exposure: [{name: hourly, window: 1h, count_at_most: 1000000}]
"""
FAMILIES = {
    "decisions": "decision",
    "successors": "successor",
    "reevaluations": "reevaluation",
    "reviews": "review",
    "verdicts": "verdict",
    "context": "context",
    "receipts": "receipt",
    "commands": "command",
    "policies": "published_policy",
    "workers": "heartbeat",
}
KEYS = {
    "policies": ["policy/billing@3", "policy/billing@9", "current/billing", "current/x", "recall/c-1", "preapproval/p"],
    "workers": ["demand/0/" + "0" * 32, "lease/" + "0" * 32 + "/0", "lease/", "demand/", "gate/host/1/ab"],
}
ANSWERED = ("decisions", "successors", "reevaluations", "verdicts")  # each record of these has an answer that names it
OUTPUTS = ("commands", "reviews", "exceptions", "reevaluations", "successors", "rejections")
HEADERS = (
    "content-type",
    "ce_specversion",
    "ce_time",
    "traceparent",
    "__dlq.errors.topic",
    "sluicegate-signature",
    "x",
)


def strange(rnd: random.Random, kind: str) -> Iterator[Record]:
    """What nobody should write there: nonsense, the nasties, and real records with a piece changed."""
    written = [WRITTEN[FAMILIES[kind]], *((WRITTEN["demand"], WRITTEN["lease"]) if kind == "workers" else ())]
    for number in range(OF_EACH):
        value: bytes | None = rnd.choice(written)
        assert value is not None
        at, how = rnd.randrange(len(value)), rnd.random()
        if number < len(NASTIES):
            value = NASTIES[number]
        elif how < 0.1:
            value = None
        elif how < 0.4:
            value = rnd.randbytes(rnd.randrange(2_000))
        elif how < 0.7:
            value = value[:at] + rnd.randbytes(rnd.randrange(4)) + value[at + rnd.randrange(6) :]
        keys = [b"acct-17", b"", rnd.randbytes(20), *(one.encode() for one in KEYS.get(kind, ()))]
        key = b"k" * 900_000 if number == OF_EACH - 1 else rnd.choice(keys)
        headers = tuple((rnd.choice(HEADERS), rnd.randbytes(rnd.randrange(40))) for _ in range(rnd.randrange(3)))
        partition = 0 if kind in ("policies", "workers") else rnd.randrange(PARTITIONS)
        if key and len(value or b"") > 400_000:
            key = key[:20]
        yield Record(kind, key, value, partition, headers)


def good(prefix: str, first: int) -> Iterator[Record]:
    """Decisions that become commands, on contexts that come before them."""
    for number in range(first, first + 20):
        entity = f"good-{number}"
        state = {"entity": entity, "version": 1, "at_ms": now_ms(), "state": {"rate_card": "a"}}
        yield Record(prefix + "context", entity.encode(), orjson.dumps(state))
    for number in range(first, first + 20):
        yield record(prefix + "decisions", decision(f"good-{number}", f"good-{number}", context_version=1))


async def sent(clients: list[AIOKafkaProducer], rnd: random.Random, records: list[Record]) -> list[Place]:
    places = []
    for one in records:
        client = rnd.choice(clients)
        answer = await client.send_and_wait(
            one.topic, one.value, key=one.key, partition=one.partition, headers=list(one.headers)
        )
        places.append((answer.topic, answer.partition, answer.offset))
    return places


def place(told: Any) -> Place | None:
    return (told["topic"], told["partition"], told["offset"]) if isinstance(told, dict) else None


async def answered(bootstrap: str, prefix: str, wanted: set[Place]) -> dict[Place, dict[str, Any]]:
    """The answers by the records that they name; waits until all that is wanted has one."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        consumer.assign([TopicPartition(prefix + kind, number) for kind in OUTPUTS for number in range(PARTITIONS)])
        found: dict[Place, dict[str, Any]] = {}
        until = time.monotonic() + WAIT_S
        while wanted - found.keys():
            assert time.monotonic() < until, f"without an answer: {sorted(wanted - found.keys())[:9]}"
            for partition, records in (await consumer.getmany(timeout_ms=200)).items():
                for one in records:
                    body = object_of(one.value)
                    if body is None or not one.headers or ("ce_source", b"sluicegate/gate") not in one.headers:
                        continue  # a stranger's
                    kind = partition.topic.removeprefix(prefix)
                    names = ("caused_by",) if kind == "successors" or body.get("kind") == "followup" else ("source",)
                    for name in names:
                        if (named := place(body.get(name))) is not None and body.get("kind") != "audit_sample":
                            assert named not in found, f"{named} is answered twice"
                            found[named] = {"output": kind, **body}
        return found
    finally:
        await consumer.stop()


async def test_no_bytes_end_a_role(kafka: Broker, prefix: str, tmp_path: Path) -> None:
    await apply(kafka.bootstrap, prefix, partitions=PARTITIONS)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "billing.yaml").write_text(POLICY)
    rnd = random.Random(11)
    strangers = [replaced(prefix, one) for kind in FAMILIES for one in strange(rnd, kind)]
    rnd.shuffle(strangers)
    async with AsyncExitStack() as stack, AsyncExitStack() as ending:
        clients = []
        for codec in CODECS:
            client = AIOKafkaProducer(
                bootstrap_servers=kafka.bootstrap, compression_type=codec, max_request_size=4 << 20
            )
            await client.start()
            stack.push_async_callback(client.stop)
            clients.append(client)
        first = await sent(clients, rnd, list(good(prefix, 0)))
        roles = _started(kafka.bootstrap, prefix, tmp_path, ending)
        for child in roles.values():
            await child.said("partition ready")
        middle = await sent(clients, rnd, strangers)
        last = await sent(clients, rnd, list(good(prefix, 20)))
        inputs = {prefix + kind for kind in ANSWERED}
        wanted = {one for one in (*first, *middle, *last) if one[0] in inputs}
        answers = await answered(kafka.bootstrap, prefix, wanted)
        for role, child in roles.items():
            assert child.process.poll() is None, f"{role} has ended: {child.log}"
            assert await child.stop() == 0, f"{role}: {child.log}"
            odd = [at for word in ("Traceback", " poison ") if (at := child.log.find(word)) >= 0]
            assert not odd, f"{role}: {child.log[odd[0] - 500 :][:4_000]}"
            assert child.log.count("started bootstrap") == 1
    outputs = {answers[one]["output"] for one in (*first, *last) if one[0] == prefix + "decisions"}
    assert outputs == {"commands"}, outputs


def replaced(prefix: str, one: Record) -> Record:
    return one._replace(topic=prefix + one.topic)


def _started(bootstrap: str, prefix: str, folder: Path, ending: AsyncExitStack) -> dict[str, Child]:
    children = ExitStack()
    ending.callback(children.close)
    return {
        role: children.enter_context(worker(bootstrap, prefix, folder, role, role=role))
        for role in ("gate", "reviews", "reevaluation", "exposure")
    }
