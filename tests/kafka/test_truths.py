"""How far a partition was read: whoever interferes with group, changelog or log is seen, on a real Kafka."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from schemas.topics import TOPICS
from streams.runtime.broker import Broker
from streams.runtime.topics import apply
from tests.kafka.harness import (
    OUTPUTS,
    SLUICEGATE,
    Child,
    audited,
    committed_is,
    decision,
    dispositions,
    read,
    record,
    remove_before,
    send,
    worker,
)

pytestmark = pytest.mark.kafka


class Admin:
    """Somebody who may do everything to the cluster."""

    def __init__(self, bootstrap: str) -> None:
        self._client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)

    async def __aenter__(self) -> AIOKafkaAdminClient:
        await self._client.start()
        return self._client

    async def __aexit__(self, *ignored: object) -> None:
        await self._client.close()


async def commit(bootstrap: str, group: str, offsets: Mapping[TopicPartition, int]) -> None:
    """A console consumer in the group."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign(list(offsets))
        await consumer.commit(dict(offsets))
    finally:
        await consumer.stop()


async def decide(bootstrap: str, prefix: str, names: str, count: int) -> None:
    """Sends so many decisions that the policy lets run."""
    await send(bootstrap, [record(f"{prefix}decisions", decision(f"{names}-{n}"), 0) for n in range(count)])


def sluicegate(folder: Path, bootstrap: str, prefix: str, *arguments: str) -> Child:
    """A command of the tool."""
    told = [*SLUICEGATE, *arguments, f"--bootstrap={bootstrap}", f"--prefix={prefix}"]
    return Child(told, folder / f"{'-'.join(arguments[:2])}.log")


async def lost_ranges(bootstrap: str, prefix: str, topic: str, count: int) -> list[dict[str, Any]]:
    found = [one.json() for one in await read(bootstrap, [f"{prefix}{topic}"], count)]
    return [one["source"] for one in found if one["reason"] == "lost.removed"]


async def test_what_was_removed_before_it_was_read_is_told_to_the_offset(
    kafka: Broker, prefix: str, tmp_path: Path
) -> None:
    """At a start, and while a worker is too slow for the retention: an exception for each range, and a red audit."""
    await apply(kafka.bootstrap, prefix, partitions=1)
    decisions = prefix + "decisions"
    with worker(kafka.bootstrap, prefix, tmp_path) as child:
        await child.said("partition ready")
        await decide(kafka.bootstrap, prefix, "read", 3)
        await dispositions(kafka.bootstrap, prefix, 3)
        assert await child.stop() == 0
    await decide(kafka.bootstrap, prefix, "while away", 20)
    await remove_before(kafka.bootstrap, decisions, 18)
    with worker(kafka.bootstrap, prefix, tmp_path, "second") as child:
        await child.said("partition ready")
        answers = await dispositions(kafka.bootstrap, prefix, 9)
        os.kill(child.process.pid, signal.SIGSTOP)
        await decide(kafka.bootstrap, prefix, "in flight", 1)
        await decide(kafka.bootstrap, prefix, "while slow", 10)
        await remove_before(kafka.bootstrap, decisions, 30)
        os.kill(child.process.pid, signal.SIGCONT)
        await dispositions(kafka.bootstrap, prefix, 12)
        said = await child.said("removed before they were read", 2)
        assert await child.stop() == 0
    assert (decisions, 0, 3) in answers
    first, second = await lost_ranges(kafka.bootstrap, prefix, "exceptions", 2)
    assert first == {"topic": decisions, "partition": 0, "offset": 3, "through": 17}
    assert second["offset"] > 23
    assert second["through"] == 29
    assert "offsets 3 to 17" in said
    found = await audited(kafka.bootstrap, prefix, prefix + "gate")
    assert found["lost"] == 15 + 30 - second["offset"]
    assert not found["ok"]
    assert f"{decisions}/0: 3 to 17" in str(found["examples"]["lost"])
    assert {name: found[name] for name in ("missing", "duplicates", "unexplained", "altered")} == dict.fromkeys(
        ("missing", "duplicates", "unexplained", "altered"), 0
    )


async def test_who_commits_for_the_group_is_found_out(kafka: Broker, prefix: str, tmp_path: Path) -> None:
    """The lane stops with a sentence, skips nothing, and goes on when an operator has said which truth holds."""
    await apply(kafka.bootstrap, prefix, partitions=1)
    group, place = prefix + "gate", (prefix + "decisions", 0)
    with worker(kafka.bootstrap, prefix, tmp_path) as child:
        await child.said("partition ready")
        await decide(kafka.bootstrap, prefix, "before", 5)
        await committed_is(kafka.bootstrap, group, {place: 5})
        assert await child.stop() == 0
    await decide(kafka.bootstrap, prefix, "while away", 100)
    await commit(kafka.bootstrap, group, {TopicPartition(*place): 105})
    with worker(kafka.bootstrap, prefix, tmp_path, "second") as child:
        said = await child.said("stopped")
        assert "has committed offset 105" in said
        assert "says 5" in said
        assert "sluicegate offsets accept" in said
        assert "partition ready" not in said
        with sluicegate(tmp_path, kafka.bootstrap, prefix, "offsets", "show") as show:
            assert await show.ended() == 1
            assert "differ" in show.log
        with sluicegate(tmp_path, kafka.bootstrap, prefix, "offsets", "accept", "changelog", "--role=gate") as accept:
            assert await accept.ended() == 0, accept.log
        await child.said("partition ready")
        assert len(await dispositions(kafka.bootstrap, prefix, 105)) == 105
        assert await child.stop() == 0
    assert (await audited(kafka.bootstrap, prefix, group))["ok"]


async def test_another_group_goes_on_where_the_last_one_ended_and_never_beside_it(
    kafka: Broker, prefix: str, tmp_path: Path
) -> None:
    """One owner by role, whatever the group is called: from a to b and back doubles nothing."""
    await apply(kafka.bootstrap, prefix, partitions=1)
    for turn, group in enumerate(("a", "b", "a")):
        with worker(kafka.bootstrap, prefix, tmp_path, f"turn-{turn}", prefix + group) as child:
            await child.said("partition ready")
            await decide(kafka.bootstrap, prefix, f"turn-{turn}", 4)
            assert len(await dispositions(kafka.bootstrap, prefix, 4 * turn + 4)) == 4 * turn + 4
            if turn == 0:
                with worker(kafka.bootstrap, prefix, tmp_path, "beside", prefix + "mistyped") as other:
                    assert await other.ended() == 2
                    assert f"the group {prefix}a" in other.log.splitlines()[-1]
            assert await child.stop() == 0
    found = await read(kafka.bootstrap, [prefix + output for output in OUTPUTS], 12)
    assert len(found) == 12
    assert (await audited(kafka.bootstrap, prefix, prefix + "a"))["ok"]


async def test_a_topic_made_again_is_not_entered_in_the_middle(kafka: Broker, prefix: str, tmp_path: Path) -> None:
    await apply(kafka.bootstrap, prefix, partitions=1)
    with worker(kafka.bootstrap, prefix, tmp_path) as child:
        await child.said("partition ready")
        await decide(kafka.bootstrap, prefix, "old", 10)
        await dispositions(kafka.bootstrap, prefix, 10)
        assert await child.stop() == 0
    async with Admin(kafka.bootstrap) as admin:
        await admin.delete_topics([prefix + "decisions"])
        while prefix + "decisions" in await admin.list_topics():
            await asyncio.sleep(0.05)
    await apply(kafka.bootstrap, prefix, partitions=1)
    await decide(kafka.bootstrap, prefix, "new", 14)
    with worker(kafka.bootstrap, prefix, tmp_path, "second") as child:
        said = await child.said("stopped")
        assert "was made again" in said
        assert "partition ready" not in said
    found = await audited(kafka.bootstrap, prefix)
    assert any("made again" in one["wrong"] for one in found["examples"]["altered"])


async def test_a_raised_count_of_partitions_is_refused(kafka: Broker, prefix: str, tmp_path: Path) -> None:
    """Keys move to other partitions, and with them what is remembered and counted per entity."""
    await apply(kafka.bootstrap, prefix, partitions=1)
    with worker(kafka.bootstrap, prefix, tmp_path) as child:
        await child.said("partition ready")
        await decide(kafka.bootstrap, prefix, "one", 1)
        await dispositions(kafka.bootstrap, prefix, 1)
        assert await child.stop() == 0
    data = [prefix + topic.kind for topic in TOPICS if topic.partitions is None]
    async with Admin(kafka.bootstrap) as admin:
        await admin.create_partitions({topic: NewPartitions(total_count=2) for topic in data})
    with worker(kafka.bootstrap, prefix, tmp_path, "second") as child:
        said = await child.said("stopped", 2)
        assert "had 1 partition and has 2" in said
        assert "partition ready" not in said
