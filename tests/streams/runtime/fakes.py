"""What a lane sees of the world, made of plain lists: the order of its calls is the point of most tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from aiokafka import TopicPartition

from streams.batch import Fetched, Input, Sent, Unread
from streams.runtime.delivered import Delivered
from streams.runtime.lane import Lane
from streams.runtime.lookup import Lookup
from streams.runtime.settings import Kafka, Role, Worker
from streams.runtime.stage import Batch
from streams.runtime.transactions import Outgoing, Unsendable
from streams.truths import IDENTITY, OFFSETS, Identity, TopicIdentity, written

DECISIONS, SUCCESSORS = TopicPartition("t.decisions", 0), TopicPartition("t.successors", 0)


def delivered(base: int, *values: bytes, input_: Input = "decisions", partition: int = 0) -> Delivered:
    """A fetched batch that begins at `base`."""
    count = len(values)
    offsets = list(range(base, base + count))
    keys: list[bytes | None] = [b"k"] * count
    columns = Fetched(f"t.{input_}", input_, partition, offsets, [0] * count, keys, list(values), True, 0)
    return Delivered(columns, base, base + count, size_bytes=sum(len(value) + 1 for value in values))


class EchoStage:
    """Answers each record with an exception that holds its value; remembers how often it decided."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.intact = world.intact

    async def learn(self, goes_on: Callable[[], None]) -> None:
        """Nothing to know."""

    async def prepare(self, fetched: Sequence[Fetched]) -> None:
        """Nothing to wait for."""

    def restore(self, changelog: Mapping[str, bytes], now_ms: int) -> None:
        self._world.did("restore", dict(changelog))

    def due_ms(self) -> int | None:
        return self._world.due_ms

    def committed(self) -> None:
        self._world.kept += 1

    def undone(self) -> bool:
        return self._world.forgets

    def decide(self, fetched: Sequence[Fetched], now_ms: int, commit_ms: int = 0) -> Batch:
        self._world.unread += [one for batch in fetched for one in (batch.unread or {}).items()]
        values = [
            (value or b"") if (unread := batch.why_unread(index)) is None else unread.reason.encode()
            for batch in fetched
            for index, value in enumerate(batch.values)
        ]
        self._world.did("decide", values, now_ms)
        if b"raise" in values:
            raise KeyError("a mistake of ours")
        return Batch([Sent("exceptions", b"k", value) for value in values], {"memory": b"m"}, self._world.deadline_ms)


class World:
    """The fakes and what was done to them, in order."""

    def __init__(self) -> None:
        self.done: list[tuple[Any, ...]] = []
        self.now_ms = 1_000
        self.deadline_ms: int | None = None
        self.appended_ms = self.kept = 0
        self.doubts: str | None = None  # of the clock
        self.forgets = True  # whether a stage can take back what it has decided
        self.intact = True  # whether a stage that raised may decide again
        self.due_ms: int | None = None
        self.committed = {DECISIONS: 5, SUCCESSORS: 2}
        self.beginnings = {DECISIONS: 0, SUCCESSORS: 2}
        self.ends = {DECISIONS: 1_000_000, SUCCESSORS: 1_000_000}
        self.identity = Identity(
            "c", "g", {name: TopicIdentity(f"id-{name}", 1) for name in ("decisions", "successors")}
        )
        at = {"decisions": 5, "successors": 2}
        self.changelog: dict[str, bytes] = {"window/1": b"w", **written(self.identity, at)}
        self.ids: list[str] = []  # the transactional ids that were made, in order
        self.unread: list[tuple[int, Unread]] = []  # what was decided, by offset
        self.raising: dict[str, list[BaseException]] = {}  # by what is done: the next of them is raised
        self.hold: asyncio.Event | None = None  # a commit waits for it
        self.changed = asyncio.Event()
        role = Role("gate", "g", ("decisions", "successors"), lambda number: EchoStage(self))
        self.worker = Worker(Kafka("b:1", "t."), role, 1)

    def did(self, *what: Any) -> None:
        self.done.append(what)
        if self.raising.get(what[0]):
            raise self.raising[what[0]].pop(0)

    def names(self) -> list[str]:
        return [what[0] for what in self.done]

    def lane(self, number: int = 0) -> Lane:
        lookup = cast(Lookup, FakeLookup(self))
        return Lane(number, self.worker, lookup, self, lambda: self.now_ms, self.changed, doubtful=lambda: self.doubts)

    async def seek_to(self, partition: TopicPartition, offset: int) -> None:
        self.did("seek", partition, offset)

    def transactions(
        self, bootstrap: str, transactional_id: str, number: int, group: str, compression: str = "none"
    ) -> FakeTransactions:
        self.ids.append(transactional_id)
        return FakeTransactions(self)


class FakeLookup:
    def __init__(self, world: World) -> None:
        self._world = world

    async def committed(self, group: str, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        self._world.did("committed", group)
        return dict(self._world.committed)

    async def beginnings(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        self._world.did("beginnings", list(partitions))
        return dict(self._world.beginnings)

    async def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return dict(self._world.ends)

    async def identities(self, topics: Iterable[str]) -> tuple[str, dict[str, TopicIdentity]]:
        now = self._world.identity
        return now.cluster, {f"t.{name}": topic for name, topic in now.topics.items()}

    async def changelog(self, role: str, number: int) -> dict[str, bytes]:
        self._world.did("changelog", role, number)
        return self._world.changelog if number == 0 else {}


class FakeTransactions:
    def __init__(self, world: World) -> None:
        self._world = world

    async def start(self) -> None:
        self._world.did("start")

    async def commit(
        self, records: Iterable[Outgoing], offsets: Mapping[TopicPartition, int], is_late: Callable[[int], bool]
    ) -> None:
        if self._world.hold is not None:
            await self._world.hold.wait()
        made = list(records)
        if any(one.value == b"large" for one in made):
            raise Unsendable("MessageSizeTooLargeError")
        self._world.did("commit", made, dict(offsets), is_late(self._world.appended_ms))
        self._committed(made, offsets)

    def _committed(self, records: list[Outgoing], offsets: Mapping[TopicPartition, int]) -> None:
        self._world.committed.update(offsets)
        for one in records:
            slot = (one.key or b"").decode().removeprefix("gate/0/")
            if one.topic == "t.state" and slot.startswith((OFFSETS, IDENTITY)) and one.value is not None:
                self._world.changelog[slot] = one.value

    async def claim(self, records: Iterable[Outgoing], offsets: Mapping[TopicPartition, int]) -> None:
        self._world.did("claim", list(records), dict(offsets))
        self._committed(list(records), offsets)

    async def stop(self) -> None:
        self._world.did("stop")


async def until(true: Callable[[], bool], turns: int = 2_000) -> None:
    """Lets the loop run until it is so; a bounded number of turns, no clock."""
    for _ in range(turns):
        if true():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came about")
