"""Transactions on a real broker: outputs and offset become visible together, or neither does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import TopicPartition

from streams.runtime.broker import Broker
from streams.runtime.settings import Kafka
from streams.runtime.topics import apply
from streams.runtime.transactions import Fenced, Late, Outgoing, Transactions, Unsendable
from tests.kafka.harness import committed, committed_is, read

pytestmark = pytest.mark.kafka


class Place:
    """Topics of the test's own, with one partition."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.kafka, self.group = Kafka(bootstrap, prefix), f"{prefix}g"
        self.input = TopicPartition(prefix + "decisions", 0)

    @asynccontextmanager
    async def owner(self) -> AsyncIterator[Transactions]:
        made = Transactions(self.kafka.bootstrap, f"{self.group}-0", 0, self.group)
        await made.start()
        try:
            yield made
        finally:
            await made.stop()

    def out(self, *values: bytes) -> list[Outgoing]:
        return [Outgoing(self.kafka.topic("commands"), b"k", value) for value in values]

    async def values(self, count: int) -> list[bytes | None]:
        return [one.value for one in await read(self.kafka.bootstrap, [self.kafka.topic("commands")], count)]

    async def offset(self) -> int | None:
        return (await committed(self.kafka.bootstrap, self.group)).get((self.input.topic, 0))

    async def offset_becomes(self, expected: int) -> None:
        """A commit is answered before its markers are written; until then the offset that is told is the last one."""
        await committed_is(self.kafka.bootstrap, self.group, {(self.input.topic, 0): expected})


@pytest.fixture
async def place(kafka: Broker, prefix: str) -> Place:
    await apply(kafka.bootstrap, prefix, partitions=1)
    return Place(kafka.bootstrap, prefix)


def in_time(appended_ms: int) -> bool:
    return False


async def test_outputs_and_offset_are_one_commit(place: Place) -> None:
    async with place.owner() as owner:
        await owner.commit(place.out(b"a", b"b"), {place.input: 5}, in_time)
        await place.offset_becomes(5)
        await owner.commit(place.out(), {place.input: 6}, in_time)
        await owner.commit(place.out(*(b"%d" % n * 300_000 for n in range(8))), {place.input: 7}, in_time)
    assert [value[:1] for value in await place.values(10) if value] == [b"a", b"b", *(b"%d" % n for n in range(8))]
    await place.offset_becomes(7)


async def test_a_late_batch_leaves_neither(place: Place) -> None:
    async with place.owner() as owner:
        with pytest.raises(Late):
            await owner.commit(place.out(b"late"), {place.input: 5}, lambda appended_ms: True)
        assert await place.offset() is None
    async with place.owner() as owner:
        await owner.commit(place.out(b"again"), {place.input: 5}, in_time)
    assert await place.values(1) == [b"again"]


async def test_a_send_that_fails_leaves_neither_and_raises(place: Place) -> None:
    """aiokafka itself would commit: a failed send reaches nobody but its future."""
    async with place.owner() as owner:
        with pytest.raises(Unsendable, match="MessageSizeTooLarge"):
            await owner.commit(place.out(b"a", b"x" * (3 << 20)), {place.input: 5}, in_time)
        assert await place.offset() is None
    async with place.owner() as owner:
        await owner.commit(place.out(b"again"), {place.input: 5}, in_time)
    assert await place.values(1) == [b"again"]


async def test_a_record_that_may_not_stand_in_its_topic_is_told_from_a_broker_that_fails(place: Place) -> None:
    """A compacted topic takes no record without a key; trying again is of no use."""
    async with place.owner() as owner:
        with pytest.raises(Unsendable, match="InvalidRecord"):
            await owner.commit([Outgoing(place.kafka.topic("state"), None, b"x")], {place.input: 5}, in_time)
        assert await place.offset() is None


async def test_the_next_owner_fences_the_last_one(place: Place) -> None:
    async with place.owner() as old, place.owner() as new:
        with pytest.raises(Fenced):
            await old.commit(place.out(b"old"), {place.input: 5}, in_time)
        assert await place.offset() is None
        await new.commit(place.out(b"new"), {place.input: 5}, in_time)
    assert await place.values(1) == [b"new"]


async def test_the_next_owner_ends_what_the_last_one_left_open(place: Place) -> None:
    """An owner that dies between its sends and its commit: nothing of it is seen, and nobody waits for it."""
    sent = asyncio.Event()

    def held(appended_ms: int) -> bool:
        sent.set()
        raise KeyError("it dies here")

    async with place.owner() as old:
        with pytest.raises(KeyError):
            await old.commit(place.out(b"open"), {place.input: 5}, held)
        assert sent.is_set()
        async with place.owner() as new:
            assert await place.offset() is None
            await new.commit(place.out(b"new"), {place.input: 6}, in_time)
        assert await place.values(1) == [b"new"]
        await place.offset_becomes(6)
