"""What stock Faust loses, proven to be kept: a send that fails, a stage that raises, a group that splits partitions."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.coordinator.assignors.range import RangePartitionAssignor

from streams.runtime.broker import Broker
from streams.runtime.topics import apply
from tests.kafka.harness import (
    Child,
    audited,
    committed,
    decision,
    dispositions,
    record,
    seed,
    send,
    worker,
    write_policies,
)

pytestmark = pytest.mark.kafka

# a worker whose stage raises at its first batch
BROKEN_STAGE = """
import sys
from agents import gate, worker

def broken(self, *given, **more):
    raise KeyError("a mistake of ours")

gate.GateStage.decide = broken
sys.exit(worker.main(sys.argv[1:]))
"""


async def create_tiny(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        created = await admin.create_topics([NewTopic(topic, 1, 1, topic_configs={"max.message.bytes": "200"})])
        assert created.topic_errors[0][1] == 0
    finally:
        await admin.close()


async def test_what_cannot_be_sent_is_a_dead_letter(kafka: Broker, prefix: str, tmp_path: Path) -> None:
    """In stock Faust the offset is committed and the record is gone."""
    await create_tiny(kafka.bootstrap, prefix + "commands")
    await apply(kafka.bootstrap, prefix, partitions=1)
    with worker(kafka.bootstrap, prefix, tmp_path) as child:
        await child.said("partition ready")
        review = decision("r", value_minor=10**6)
        await send(kafka.bootstrap, [record(prefix + "decisions", body) for body in (review, decision("c"))])
        answers = await dispositions(kafka.bootstrap, prefix, 2)
    (review_made, _), (output, ended) = answers.values()
    assert (review_made, output, ended["reason"]) == ("reviews", "exceptions", "invalid.poison")
    assert "MessageSizeTooLarge" in ended["detail"]
    found = await audited(kafka.bootstrap, prefix, prefix + "gate")
    assert (found["pending"], found["reviews"], found["commands"], found["ok"]) == (0, 1, 0, True)


async def test_an_exception_in_the_stage_does_not_ack(kafka: Broker, prefix: str, tmp_path: Path) -> None:
    """In stock Faust the event is acked; here the process ends, and its next life answers."""
    await apply(kafka.bootstrap, prefix, partitions=1)
    seed(kafka.bootstrap, prefix, write_policies(tmp_path / "policies"))
    await send(kafka.bootstrap, [record(prefix + "decisions", decision("one"))])
    arguments = [sys.executable, "-c", BROKEN_STAGE, "gate", f"--bootstrap={kafka.bootstrap}", f"--prefix={prefix}"]
    arguments += [f"--group={prefix}gate"]
    with Child(arguments, tmp_path / "broken.log") as child:
        assert await child.ended() == 4
        assert child.log.splitlines()[-1].endswith("what is due without any record cannot be answered (KeyError)")
    assert not any((await committed(kafka.bootstrap, prefix + "gate")).values())
    with worker(kafka.bootstrap, prefix, tmp_path):
        answers = await dispositions(kafka.bootstrap, prefix, 1)
    assert [output for output, _ in answers.values()] == ["commands"]
    assert (await audited(kafka.bootstrap, prefix))["ok"]


class Foreign(RangePartitionAssignor):  # type: ignore[misc] # aiokafka has no types
    """A member of the group that reads `decisions` alone."""


async def test_a_split_partition_number_ends_the_process(kafka: Broker, prefix: str, tmp_path: Path) -> None:
    await apply(kafka.bootstrap, prefix, partitions=2)
    options: dict[str, Any] = {"partition_assignment_strategy": [Foreign], "session_timeout_ms": 6000}
    stranger = AIOKafkaConsumer(
        prefix + "decisions", bootstrap_servers=kafka.bootstrap, group_id=prefix + "gate", **options
    )
    await stranger.start()
    try:
        with worker(kafka.bootstrap, prefix, tmp_path) as child:
            while (code := child.process.poll()) is None:
                await asyncio.sleep(0.05)
                await stranger.getmany(timeout_ms=50)
            assert code == 4
            assert "the group split partition number" in child.log.splitlines()[-1]
    finally:
        await stranger.stop()
