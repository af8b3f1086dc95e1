"""How far a lane has read its inputs, what of it is committed, and what it is that it reads."""

from __future__ import annotations

import structlog
from aiokafka import TopicPartition

from streams.runtime.delivered import Delivered
from streams.runtime.hand_over import Opened, Seeker
from streams.runtime.outgoing import claim
from streams.runtime.settings import Worker
from streams.runtime.transactions import Transactions
from streams.truths import Identity

log = structlog.get_logger()


class Reading:
    """Partition `number` of every input of a role."""

    def __init__(self, worker: Worker, number: int) -> None:
        self.inputs = {TopicPartition(worker.kafka.topic(name), number): name for name in worker.role.inputs}
        self.identity: Identity | None = None  # what it reads, once it is open
        self.next: dict[TopicPartition, int] = {}
        self.astray: set[TopicPartition] = set()  # where something else was fetched than what follows
        self.settled: dict[TopicPartition, int] = {}  # the offsets that are committed
        self._worker = worker
        self._number = number

    def opens(self, opened: Opened) -> None:
        self.identity, self.next, self.settled = opened.identity, dict(opened.positions), dict(opened.positions)

    def forget(self) -> None:
        self.identity = None
        self.next.clear()
        self.astray.clear()

    def follows(self, delivered: Delivered) -> bool:
        """Whether it is what follows; then it is read. What is not makes `find_back` seek."""
        partition = TopicPartition(delivered.fetched.topic, delivered.fetched.partition)
        if delivered.base != self.next[partition]:
            self.astray.add(partition)
            return False
        self.next[partition] = delivered.next
        for offset, unread in (delivered.fetched.unread or {}).items():
            log.warning(unread.detail, topic=partition.topic, partition=self._number, offset=offset)
        return True

    async def find_back(self, seeker: Seeker) -> None:
        """Reads on where it should. Raises Failed."""
        while self.astray:
            partition = self.astray.pop()
            log.warning("seeking back", topic=partition.topic, partition=self._number, to=self.next[partition])
            await seeker.seek_to(partition, self.next[partition])

    async def settle(self, transactions: Transactions) -> None:
        """Commits how far was read where that is past the last record; only where nothing waits to be decided.

        Else the marker behind the last record of a quiet topic would look unread on the day retention takes it.
        """
        ahead = {at: to for at, to in self.next.items() if to > self.settled[at]}
        if ahead and self.identity is not None:
            named: dict[str, int] = {self.inputs[at]: to for at, to in ahead.items()}
            kafka, role = self._worker.kafka, self._worker.role.name
            await transactions.claim(claim(kafka, role, self._number, self.identity, named), ahead)
            self.settled |= ahead
