"""Every codec that Kafka has, on every topic: read by all roles, after a new hand-over, and by every tool.

The topics' own `compression.type` changes under way, so the broker keeps whatever anybody sends in that codec, inputs
and outputs, policies, acknowledgements and changelogs alike. (The kit's side is in tests/clients/test_on_kafka.py.)
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from agents.audit.report import BROKEN
from schemas.topics import names
from streams.runtime.broker import Broker
from streams.runtime.topics import apply
from tests.kafka.appending import codecs_of
from tests.kafka.harness import (
    SLUICEGATE,
    WAIT_S,
    Child,
    Record,
    audited,
    decision,
    new_prefix,
    read,
    record,
    send,
    write_policies,
)
from tests.streams.runtime.batching import CODECS

POLICY = """\
workflow: billing
version: {version}
freshness:
  budget: 10m
  context: [rate_card]
  supersede: true
  allowance: {{initial: 250ms, at_most: 5s}}
boundary:
  rules:
    - {{name: small, then: autonomous, limits: {{value_minor_at_most: 5000, currency: USD}}}}
  exposure:
    - {{name: daily, window: 24h, count_at_most: 100000}}
evaluator: {{url: "http://127.0.0.1:9/never", timeout: 1s}}
"""
ROLES = 4


async def compress(bootstrap: str, prefix: str, codec: str) -> None:
    """From now on the broker keeps all topics in this codec."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        resources = []
        for topic, table in names(prefix).items():
            settings = {key: setting.value for key, setting in table.settings.items()} | {"compression.type": codec}
            resources.append(ConfigResource(ConfigResourceType.TOPIC, topic, configs=settings))
        answers = await admin.alter_configs(resources)
        assert {code for answer in answers for code, *_ in answer.resources} == {0}
    finally:
        await admin.close()


async def run(kafka: Broker, prefix: str, *arguments: str) -> tuple[int, str, str]:
    """The exit code of a command, what it printed, and what it wrote to stderr."""
    given = [*SLUICEGATE, *arguments, "--bootstrap", kafka.bootstrap, "--prefix", prefix]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*given, stdout=pipe, stderr=pipe)
    out, told = await asyncio.wait_for(process.communicate(), WAIT_S)
    return process.returncode or 0, out.decode(), told.decode()


class Life:
    """A worker with all roles, and what was sent so far."""

    def __init__(self, kafka: Broker, prefix: str, folder: Path) -> None:
        self.kafka, self.prefix, self.folder = kafka, prefix, folder
        self.sent = Counter[str]()

    def worker(self, name: str) -> Child:
        given = ["worker", "--bootstrap", self.kafka.bootstrap, "--prefix", self.prefix, "--metrics-port", "0"]
        policies = ["--policies", str(self.folder / "policies")] if name == "first" else []
        return Child([*SLUICEGATE, *given, *policies], self.folder / f"{name}.log")

    async def round(self, codec: str, version: int) -> None:
        """A record of every kind that a role answers, and its answer; a policy, and who has it in force."""
        topic = {kind.removeprefix(self.prefix): kind for kind in names(self.prefix)}
        entity, dear = f"acct-{codec}", f"dear-{codec}"
        state = {"version": 1, "at_ms": 1, "state": {"rate_card": "a"}}
        about = [json.dumps({"entity": one, **state}).encode() for one in (entity, dear)]
        await send(
            self.kafka.bootstrap,
            [
                Record(topic["context"], entity.encode(), about[0], 0),
                Record(topic["context"], dear.encode(), about[1], 0),
                Record(topic["context"], b"e", b"{", 0),
                Record(topic["receipts"], b"e", b"{}", 0),
                Record(topic["successors"], b"e", b"{", 0),
                Record(topic["reevaluations"], b"e", b"{", 0),
                Record(topic["reviews"], b"e", b"{", 0),
                Record(topic["verdicts"], b"e", b"{", 0),
                record(topic["decisions"], decision(dear, dear, value_minor=9000, context_version=1)),
            ],
        )
        self.sent += Counter(exceptions=2, reviews=2, rejections=3)
        await self.answered()
        await send(self.kafka.bootstrap, [record(topic["decisions"], decision(codec, entity, context_version=1))])
        self.sent += Counter(commands=1)
        await self.answered()
        write_policies(self.folder / "policies", POLICY.format(version=version))
        applied = await run(self.kafka, self.prefix, "policy", "apply", str(self.folder / "policies"), "--why", codec)
        assert applied[0] == 0, applied
        assert "in force on 1 exposure, 1 gate, 1 reevaluation, 1 reviews" in applied[1]

    async def answered(self) -> None:
        until = time.monotonic() + WAIT_S
        while True:
            found = {
                kind: len(await read(self.kafka.bootstrap, [self.prefix + kind], count))
                for kind, count in self.sent.items()
            }
            if found == dict(self.sent):
                return
            assert time.monotonic() < until, (found, self.sent)


@pytest.mark.faults
@pytest.mark.timeout(300)
async def test_every_codec_is_read_on_every_topic(kafka: Broker, tmp_path: Path) -> None:
    prefix = new_prefix()
    await apply(kafka.bootstrap, prefix, partitions=1)
    write_policies(tmp_path / "policies", POLICY.format(version=1))
    life = Life(kafka, prefix, tmp_path)
    version = itertools.count(2)
    with life.worker("first") as worker:
        await worker.said("partition ready", ROLES)
        for codec in ("gzip", "snappy", "lz4", "zstd"):
            await compress(kafka.bootstrap, prefix, codec)
            await life.round(codec, next(version))
        assert await worker.stop() == 0, worker.log
        first = worker.log
    outputs = ("commands", "reviews", "exceptions", "rejections")
    for kind in ("decisions", "context", "policies", "workers", "state", *outputs):
        assert codecs_of(kafka, prefix + kind) >= set(CODECS.values()) - {0}, kind
    with life.worker("second") as worker:
        await worker.said("partition ready", ROLES)
        again = [record(prefix + "decisions", decision(codec, f"acct-{codec}", context_version=1)) for codec in CODECS]
        await send(kafka.bootstrap, again[1:])
        life.sent += Counter(exceptions=4)  # they are remembered
        await life.answered()
        await tools(kafka, prefix, tmp_path)
        assert await worker.stop() == 0, worker.log
        assert "cannot be read" not in first + worker.log
    judged = await audited(kafka.bootstrap, prefix, prefix + "gate")
    # what was put on outputs by hand is unexplained, and nothing else
    assert {name for name in BROKEN if judged[name]} == {"unexplained"}, judged


async def tools(kafka: Broker, prefix: str, folder: Path) -> None:
    policies = str(folder / "policies")
    commands: Sequence[Sequence[str]] = [
        *(("tail", kind, "--from-beginning", "-n", "4") for kind in ("decisions", "commands", "policies", "workers")),
        *(("tail", kind, "--from-beginning", "-n", "8") for kind in ("exceptions", "reviews", "rejections", "state")),
        ("why", "zstd"),
        ("latency", "--once", "--window", "1h"),
        ("policy", "history", "billing"),
        ("policy", "diff", policies),
        ("policy", "backtest", policies, "--from", "1h"),
        ("budget", "simulate", "--workflow", "billing", "--policies", policies, "--from", "1h"),
        ("reviews", "list", "--store", f"sqlite:///{folder / 'reviews.db'}"),
        ("halt", "--workflow", "billing", "--why", "a test"),
    ]
    answers = await asyncio.gather(*(run(kafka, prefix, *arguments) for arguments in commands))
    for arguments, (code, out, told) in zip(commands, answers, strict=True):
        assert code == 0, (arguments, out, told)
        assert "cannot be read" not in told, (arguments, told)
