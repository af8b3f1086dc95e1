"""The hand-over of a partition number, in the order that must not be changed.

Initialise the producer (fences the last owner and waits for what it has in flight), then read the committed offsets,
then rebuild the stage up to them, then seek, then take records. Read the offsets first and the old owner may still
commit in between: its batch would be decided twice.

Group, changelog and log are held against each other on the way (`streams/truths.py`). What is not said yet is said
before records are taken: so from then on every difference is somebody's interference, and what retention removes
before it is read is known to the offset, even if nothing was ever read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog
from aiokafka import TopicPartition

from streams.errors import ConfigurationError
from streams.runtime.delivered import Delivered, passed, removed
from streams.runtime.failpoints import reach
from streams.runtime.living import other_group
from streams.runtime.lookup import Lookup
from streams.runtime.outgoing import claim
from streams.runtime.settings import Worker
from streams.runtime.stage import Stage
from streams.runtime.transactions import Transactions
from streams.truths import IDENTITY, Apart, Identity, Place, Told, identity_in, kept_in, must_be_same, position

log = structlog.get_logger()


class Seeker(Protocol):
    """The consumer, as far as a lane moves it."""

    async def seek_to(self, partition: TopicPartition, offset: int) -> None:
        """Reads on at `offset`. Raises Failed when the partition is not assigned (any more)."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A partition number that may take records: what judges them, and the next offset of each input.

    `before`: what comes before the first record. `identity`: what the offsets are offsets of.
    """

    stage: Stage
    positions: Mapping[TopicPartition, int]
    before: list[Delivered]
    identity: Identity


@dataclass(frozen=True, slots=True)
class HandOver:
    """Takes over partition `number`; `partitions` are its inputs, in the role's order."""

    worker: Worker
    number: int
    partitions: tuple[TopicPartition, ...]
    lookup: Lookup
    clock_ms: Callable[[], int]
    make: Callable[[str, str, int, str], Transactions]

    async def take(self, transactions: Transactions, seeker: Seeker, goes_on: Callable[[], None]) -> Opened:
        """The whole of it. Raises Apart, also for a changelog that cannot be read, Fenced, Failed, Denied.

        Raises ConfigurationError where a worker of another group lives and does this role.
        """
        role = self.worker.role
        await transactions.start()
        await reach("hand_over_with_producer")
        committed = await self.lookup.committed(role.group, self.partitions)
        changelog = await self.lookup.changelog(role.name, self.number)
        if committed and IDENTITY not in changelog:
            await self._fence_the_former()
            committed = await self.lookup.committed(role.group, self.partitions)
            changelog = await self.lookup.changelog(role.name, self.number)
        identity = await self.identified(role.group)
        stage = role.new_stage(self.number)
        try:
            then = await self._compared(identity, changelog, goes_on)
            positions, starts = await self._positions(committed, changelog, then is None or then.group == role.group)
            stage.restore(changelog, self.clock_ms())
        except ValueError as error:
            raise Apart(
                f"partition {self.number} of {self.worker.kafka.topic('state')} cannot be read: {error}"
            ) from error
        await stage.learn(goes_on)
        if then != identity or any(
            committed.get(at) != positions[at] or kept_in(changelog, name) is None for name, at in self._named()
        ):
            named = {name: positions[at] for name, at in self._named()}
            records = claim(self.worker.kafka, role.name, self.number, identity, named)
            await transactions.claim(records, positions)
        for at in self.partitions:
            await seeker.seek_to(at, max(positions[at], starts[at]))
        return Opened(stage, positions, self._lost(positions, starts), identity)

    def _named(self) -> list[tuple[str, TopicPartition]]:
        return list(zip(self.worker.role.inputs, self.partitions, strict=True))

    async def identified(self, group: str) -> Identity:
        """What the inputs are now. Raises Failed."""
        topic = self.worker.kafka.topic
        cluster, found = await self.lookup.identities([at.topic for at in self.partitions])
        return Identity(cluster, group, {name: found[topic(name)] for name in self.worker.role.inputs})

    async def _fence_the_former(self) -> None:
        """Ends what a worker has open that fenced by group, as all did before the changelog said who they were."""
        kafka, role = self.worker.kafka, self.worker.role
        former = self.make(kafka.bootstrap, role.former_transactional_id(kafka, self.number), self.number, role.group)
        try:
            await former.start()
        finally:
            await former.stop()

    async def _compared(
        self, now: Identity, changelog: Mapping[str, bytes], goes_on: Callable[[], None]
    ) -> Identity | None:
        """What the changelog's offsets are of; refuses what is not that any more, and a role that is done already."""
        worker, role = self.worker, self.worker.role
        then = identity_in(changelog)
        # a partition number that is new with a raised count has no changelog; number 0 has always been there
        known = then if then is not None or self.number == 0 else identity_in(await self.lookup.changelog(role.name, 0))
        must_be_same(now, known, self._place(role.inputs[0]))
        if known is not None and known.group != role.group:
            goes_on()
            if (told := await other_group(worker.kafka, role.name, role.group)) is not None:
                raise ConfigurationError(told)
            log.info("goes on where another group ended", partition=self.number, group=known.group)
        return then

    async def _positions(
        self, committed: Mapping[TopicPartition, int], changelog: Mapping[str, bytes], same_group: bool
    ) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
        starts = await self.lookup.beginnings(self.partitions)
        ends = await self.lookup.ends(self.partitions)
        positions = {}
        for name, at in self._named():
            told = Told(committed.get(at), kept_in(changelog, name), starts[at], ends[at])
            positions[at] = position(self._place(name), told, same_group)
        return positions, starts

    def _place(self, name: str) -> Place:
        return Place(self.worker.role.name, self.worker.role.group, self.worker.kafka.prefix, name, self.number)

    def _lost(self, positions: Mapping[TopicPartition, int], starts: Mapping[TopicPartition, int]) -> list[Delivered]:
        made = passed if self.worker.role.loses_quietly else removed
        return [
            made(at.topic, name, self.number, positions[at], starts[at], self.clock_ms())
            for name, at in zip(self.worker.role.inputs, self.partitions, strict=True)
            if positions[at] < starts[at]
        ]
