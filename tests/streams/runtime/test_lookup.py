"""Questions to a real broker: what is readable, what is committed, and the changelog that a hand-over rebuilds from."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import TopicPartition

from streams.runtime.broker import Broker
from streams.runtime.broker.sockets import free_port
from streams.runtime.lookup import Lookup
from streams.runtime.settings import Kafka
from streams.runtime.topics import apply
from streams.runtime.transactions import Failed
from tests.kafka.harness import Record, producer, send


@pytest.fixture
async def lookup(kafka: Broker, prefix: str) -> AsyncIterator[Lookup]:
    await apply(kafka.bootstrap, prefix, partitions=1)
    made = Lookup(Kafka(kafka.bootstrap, prefix))
    yield made
    await made.stop()


async def test_markers_and_what_is_not_committed_are_not_readable(kafka: Broker, prefix: str, lookup: Lookup) -> None:
    """They are before the end of the partition all the same: the end alone does not say that a record waits."""
    place = TopicPartition(prefix + "decisions", 0)
    async with producer(kafka.bootstrap, transactional_id=prefix) as client:
        await client.begin_transaction()
        await client.send_and_wait(place.topic, b"aborted", partition=0)
        await client.abort_transaction()
        assert not await lookup.readable(place, 0)
        await client.begin_transaction()
        await client.send_and_wait(place.topic, b"open", partition=0)
        assert not await lookup.readable(place, 0)
        assert (await lookup.ends([place]))[place] == 3
        await client.commit_transaction()
        assert await lookup.readable(place, 0)
        assert not await lookup.readable(place, 3)


async def test_the_changelog_is_the_newest_committed_value_of_each_slot(
    kafka: Broker, prefix: str, lookup: Lookup
) -> None:
    state = prefix + "state"
    written = {b"gate/0/w/1": b"old", b"gate/0/w/2": b"kept", b"reviews/0/w/1": b"not ours", b"gate/1/w/1": b"neither"}
    await send(kafka.bootstrap, [Record(state, key, value, 0) for key, value in written.items()])
    more = {b"gate/0/w/1": b"new", b"gate/0/w/3": b"gone"}
    await send(kafka.bootstrap, [Record(state, key, value, 0) for key, value in more.items()])
    await send(kafka.bootstrap, [Record(state, b"gate/0/w/3", None, 0)])
    async with producer(kafka.bootstrap, transactional_id=prefix) as client:
        await client.begin_transaction()
        await client.send_and_wait(state, b"aborted", key=b"gate/0/w/2", partition=0)
        await client.abort_transaction()
    assert await lookup.changelog("gate", 0) == {"w/1": b"new", "w/2": b"kept"}


async def test_a_group_without_offsets_has_none_and_the_beginning_is_told(lookup: Lookup, prefix: str) -> None:
    place = TopicPartition(prefix + "decisions", 0)
    for _ in range(100):  # a fresh broker makes its topic of offsets when it is first asked
        with contextlib.suppress(Failed):
            assert await lookup.committed(prefix + "nobody", [place]) == {}
            break
        await asyncio.sleep(0.1)
    else:
        raise AssertionError("the group's coordinator never answered")
    assert await lookup.beginnings([place]) == {place: 0}


async def test_a_broker_that_is_not_there_is_a_failure_within_a_bound(tmp_path: Path) -> None:
    lookup = Lookup(Kafka(f"127.0.0.1:{free_port()}", "t."))
    place = TopicPartition("t.decisions", 0)
    with pytest.raises(Failed):
        await lookup.ends([place])
    with pytest.raises(Failed):
        await lookup.committed("g", [place])
    with pytest.raises(Failed):
        await lookup.readable(place, 0)


class SilentAdmin:
    """A coordinator that is still loading, as aiokafka 0.14 passes its answer on: no error, and no partitions."""

    async def list_consumer_group_offsets(self, group: str, partitions: object = None) -> dict[TopicPartition, object]:
        return {}

    async def close(self) -> None:
        pass


async def test_an_answer_without_the_partition_is_not_taken_for_nothing_committed() -> None:
    """Else a hand-over right after a restart of the broker would begin from the beginning."""
    lookup = Lookup(Kafka("127.0.0.1:1", "t."))
    lookup._admin = SilentAdmin()
    with pytest.raises(Failed, match="does not say what is committed"):
        await lookup.committed("group", [TopicPartition("t.decisions", 0)])


async def test_a_group_that_never_committed_has_nothing_committed(lookup: Lookup, prefix: str) -> None:
    """Asked for by name, a partition without an offset is in the answer."""
    assert await lookup.committed(prefix + "new", [TopicPartition(prefix + "decisions", 0)]) == {}
