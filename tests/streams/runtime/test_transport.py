"""The transport without a broker: what of Faust is taken out, and that no assignment splits a partition number."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import faust
import pytest
from aiokafka import TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from aiokafka.errors import IllegalStateError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.batch import Unread
from streams.runtime.app import make_app
from streams.runtime.lanes import Lanes
from streams.runtime.lookup import Lookup
from streams.runtime.records import Unreadable
from streams.runtime.transactions import Failed
from streams.runtime.transport import ConsumerThread, PassThrough, Transport
from tests.streams.runtime.fakes import DECISIONS, SUCCESSORS, World

PARTITION = TP("t.decisions", 0)


def never(error: BaseException) -> None:
    raise AssertionError("nothing here ends the process") from error


@pytest.fixture
async def app() -> faust.App:
    world = World()
    lanes = Lanes(world.worker, cast(Lookup, None), lambda: 0, never)
    return make_app(world.worker, lanes)


@pytest.fixture
def consumer(app: faust.App) -> Iterator[Any]:
    made = app._new_consumer()
    assert isinstance(made, Transport.Consumer)
    assert isinstance(made._thread, ConsumerThread)
    yield made
    made._thread.thread_loop.close()  # the thread would; it is never started here


class FakeCluster:
    """As much of a cluster as an assignor asks."""

    def __init__(self, count: int) -> None:
        self._count = count

    def partitions_for_topic(self, topic: str) -> set[int]:
        return set(range(self._count))


@pytest.mark.parametrize("members", range(1, 7))
@pytest.mark.parametrize("partitions", range(1, 13))
def test_range_never_splits_a_partition_number(members: int, partitions: int) -> None:
    """Both inputs have equal counts and all members read both: then partition n of each goes to one member."""
    subscription = ["t.decisions", "t.successors"]
    metadata = {f"m{n}": ConsumerProtocolMemberMetadata(0, subscription, b"") for n in range(members)}
    assigned = RangePartitionAssignor.assign(FakeCluster(partitions), metadata)
    seen: list[int] = []
    for one in assigned.values():
        topics = {topic: set(numbers) for topic, numbers in one.assignment}
        assert topics.get("t.decisions", set()) == topics.get("t.successors", set())
        seen += topics.get("t.decisions", set())
    assert sorted(seen) == list(range(partitions))


async def test_the_consumer_reads_committed_commits_nothing_and_is_assigned_by_range(app: Any, consumer: Any) -> None:
    client = consumer._thread._create_worker_consumer(app.transport)
    assert client._isolation_level == "read_committed"
    assert client._enable_auto_commit is False
    assert list(client._partition_assignment_strategy) == [RangePartitionAssignor]
    assert client._auto_offset_reset == "none", "what retention took is told, not passed over"
    await client.stop()


async def test_the_app_has_no_web_no_leader_and_declares_no_topic(app: Any) -> None:
    conf = app.conf
    assert not conf.web_enabled
    assert conf.topic_disable_leader
    assert not conf.topic_allow_declare
    assert not conf.stream_wait_empty
    assert str(conf.processing_guarantee.value) == "at_least_once", "the transactions are ours, not Faust's"


async def test_commit_is_a_no_op_that_reports_success(consumer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(driver.Consumer, "_commit", lambda *given: asked.append(given))
    monkeypatch.setattr(ConsumerThread, "commit", lambda *given: asked.append(given))
    consumer._acked[PARTITION] = [1, 2, 3]
    assert await consumer.commit() is True
    assert await consumer.commit({PARTITION}) is True
    await consumer.wait_empty()
    await consumer.perform_seek()
    assert asked == []
    assert consumer._committed_offset == {}


class FakeRecord:
    """As much of a record as the thread reads."""

    def __init__(self, offset: int, timestamp_type: int = 1) -> None:
        self.offset, self.key, self.value = offset, b"k", b"v%d" % offset
        self.timestamp, self.timestamp_type = 7, timestamp_type
        self.headers: list[tuple[str, bytes]] = []


@pytest.fixture
def thread(consumer: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The consumer's thread, not started: what it fetches is scripted, what it calls runs here."""
    made = consumer._thread
    script: list[dict[TopicPartition, list[FakeRecord]]] = []

    async def fetch(*given: Any) -> Any:
        made.read_to = {at: records[-1].offset + 1 for at, records in script[0].items()}
        return script.pop(0)

    async def call(method: Any, *arguments: Any) -> Any:
        return await method(*arguments)

    async def getmany(partitions: set[TP], wait_s: float) -> Any:
        return await made._fetch_records(Client(), partitions, wait_s)

    class Client:
        """Seeks on `decisions`, and is not assigned anything else."""

        async def position(self, partition: TopicPartition) -> int:
            return cast(int, made.read_to.get(partition, 0))

        def seek(self, partition: TopicPartition, offset: int) -> None:
            if partition != DECISIONS:
                raise IllegalStateError("not assigned")

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "_fetch_records", fetch)
    monkeypatch.setattr(made, "call_thread", call)
    monkeypatch.setattr(made, "getmany", getmany)
    monkeypatch.setattr(made, "_ensure_consumer", Client)
    made.script = script
    return made


async def test_a_fetch_says_where_it_began_so_that_a_hole_is_seen(thread: Any) -> None:
    """Offsets have holes of their own (markers): only where the reader stood tells which batch follows."""
    await thread.seek_to(DECISIONS, 5)
    thread.script += [
        {DECISIONS: [FakeRecord(5), FakeRecord(8)]},
        {DECISIONS: [FakeRecord(11)]},
        {SUCCESSORS: [FakeRecord(3, timestamp_type=0)]},
    ]
    asked = ([DECISIONS], [DECISIONS], [SUCCESSORS])
    (first,), (second,), (other,) = [await thread.fetch(places, 0.0) for places in asked]
    assert (first.base, first.next, first.fetched.offsets) == (5, 9, [5, 8])
    assert (second.base, second.next) == (9, 12)
    assert (other.base, other.fetched.input, other.fetched.broker_time) == (-1, "successors", False)
    await thread.seek_to(DECISIONS, 9)
    thread.script.append({DECISIONS: [FakeRecord(11)]})
    ((again),) = await thread.fetch([DECISIONS], 0.0)
    assert again.base == 9


async def test_a_seek_on_what_is_not_assigned_any_more_is_a_failure_not_a_crash(thread: Any) -> None:
    with pytest.raises(Failed, match=r"t.successors/0 is not assigned"):
        await thread.seek_to(SUCCESSORS, 1)


async def test_a_fetch_is_one_undecoded_message_a_partition(consumer: Any, thread: Any) -> None:
    """Poison is not looked at before it is in the stage: there is nothing that could ack it earlier."""
    await thread.seek_to(DECISIONS, 5)
    thread.script.append({DECISIONS: [FakeRecord(5), FakeRecord(6)]})
    (delivered,) = await thread.fetch([DECISIONS], 0.0)
    message = consumer._as_message(PARTITION, delivered)
    assert message.offset == 6
    assert PassThrough().loads_value(None, message) is delivered
    assert PassThrough().loads_key(None, message) is None


async def test_the_start_waits_for_no_tables_and_makes_no_folders(
    app: faust.App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faust waits a second for tables, and makes folders for them; we have none."""
    began: list[str] = []

    async def noted(*_: Any) -> None:
        began.append("recovery")

    monkeypatch.chdir(tmp_path)
    tables = cast(Any, app.tables)
    monkeypatch.setattr(tables.recovery, "start", noted)
    monkeypatch.setattr(type(app), "consumer", SimpleNamespace(assignment=set, pause_partitions=lambda _: None))
    async with asyncio.timeout(0.5):
        await tables.on_start()
    assert began == ["recovery"]
    await app.on_first_start()
    assert list(tmp_path.iterdir()) == []


async def test_what_cannot_be_read_is_a_row_of_its_own_that_the_next_one_follows(thread: Any) -> None:
    """Its time is that of its batch, or when it was read; and the next fetch begins behind the whole range."""
    await thread.seek_to(DECISIONS, 5)
    torn = Unreadable("t.decisions", 0, 6, 9, "torn")
    bomb = Unreadable("t.decisions", 0, 10, 14, "too large", 8, 1)
    thread.script += [{DECISIONS: [FakeRecord(5), torn, bomb]}, {DECISIONS: [FakeRecord(15)]}]
    (first,), (second,) = [await thread.fetch([DECISIONS], 0.0) for _ in range(2)]
    found = first.fetched
    assert (first.base, first.next, second.base) == (5, 15, 15)
    assert found.unread == {6: Unread("invalid.batch", 9, "torn"), 10: Unread("invalid.batch", 14, "too large")}
    assert (found.offsets, found.keys) == ([5, 6, 10], [b"k", None, None])
    assert found.timestamps_ms == [7, found.read_ms, 8]
    assert found.broker_time
