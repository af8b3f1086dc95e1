"""Leases of exposure limits, as a gate sees them: what was granted is followed, what is wanted is published.

Both are on the topic `workers`. Nothing on the path waits for either: a demand is sent by a task of its own, at most
ten times a second, and a gate that hears no grant goes on with what it has. Without a shared limit in a policy nothing
is read or sent, and no connection is opened.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.lease import LEASE, Demand, Lease, demand_key
from streams.encoding import readable
from streams.exposure import Held
from streams.exposure_terms import GRACE_MS
from streams.foreign import Reader, Unreadable
from streams.policy import Policy
from streams.runtime.settings import REQUEST_S, RETRY_S, Kafka
from streams.runtime.tail import Recent, Tail
from streams.runtime.tasks import closed

log = structlog.get_logger()

SEND_EVERY_S = 0.1
ASK_AGAIN_S = 1.0  # the same demand; an answer takes a tenth of it
DEMANDS_MAX = 10_000  # that wait to be sent; a partition asks again with its next decision
LEASES_MAX = 200_000  # known at once, over all partition numbers: some 200 bytes each
RECORDS_MAX = 100_000  # of `workers`, looked through at a start: leases that are not found are asked for again
FORGET_EVERY_S = 1.0
_lease = Reader(Lease)
_ERRORS = (KafkaError, TimeoutError, OSError, AssertionError)


class Leases:
    """All methods belong to the event loop of the lanes; `run` is a task of its own. `partitions`: of `decisions`."""

    def __init__(self, kafka: Kafka, partitions: int, clock_ms: Callable[[], int]) -> None:
        self.partitions = partitions
        self._kafka, self._clock_ms = kafka, clock_ms
        self._partition = TopicPartition(kafka.topic("workers"), 0)
        self._tail = Tail(kafka, self._take, clock_ms)
        self._held: list[dict[bytes, Held]] = [{} for _ in range(partitions)]
        self._ends_ms: dict[tuple[int, bytes], int] = {}  # of every lease in `_held`
        self._wanted: dict[tuple[int, bytes], Demand] = {}
        self._sent: dict[tuple[int, bytes], tuple[int, int, float]] = {}  # held, needed, and when
        self._some = asyncio.Event()
        self._producer: AIOKafkaProducer | None = None

    async def run(self) -> None:
        """Follows and asks until cancelled. Raises PromiseBroken when the topic was made again or lost its end."""
        tasks = [asyncio.create_task(one) for one in (self._tail.run(), self._send(), self._forget())]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await self._close()

    async def complete(self, policies: Iterable[Policy], progress: Callable[[], None] = lambda: None) -> None:
        """Returns when all leases are known that were granted until now, if these policies have a shared limit.

        Raises Failed.
        """
        shared = [terms.window_ms for one in policies for terms in one.exposure if not terms.of_entity]
        if shared and self.partitions > 1:
            self._tail.add(self._partition, Recent(max(shared) + GRACE_MS, RECORDS_MAX))
            await self._tail.reach(self._partition, progress, lambda end: None)

    def held(self, number: int) -> Mapping[bytes, Held]:
        """What partition `number` has been leased, by account; kept up."""
        return self._held[number]

    def want(self, number: int, demands: Mapping[bytes, Demand]) -> None:
        """Asks for leases, soon; the same again only after a second."""
        now_s = time.monotonic()
        for account, demand in demands.items():
            key = (number, account)
            held, needed, at_s = self._sent.get(key, (-1, -1, 0.0))
            if (held, needed) == (demand.held, demand.needed) and now_s - at_s < ASK_AGAIN_S:
                continue
            if len(self._wanted) < DEMANDS_MAX or key in self._wanted:
                self._wanted[key] = demand
        if self._wanted:
            # the first to be asked for may be younger than the hand-over: a policy has changed
            self._tail.add(self._partition, Recent(GRACE_MS, RECORDS_MAX))
            self._some.set()

    def _take(self, partition: TopicPartition, records: Sequence[Any]) -> None:
        for record in records:
            if record.key is None or record.value is None or not record.key.startswith(LEASE.encode()):
                continue
            lease = _lease(record.value)
            if isinstance(lease, Unreadable):
                log.warning("a lease cannot be read", offset=record.offset, why=lease.why)
            else:
                self._keep(lease)

    def _keep(self, lease: Lease) -> None:
        number, account = lease.partition, bytes.fromhex(lease.account.id)
        ends_ms = lease.account.window_start_ms + lease.account.window_ms
        known = number < self.partitions and account in self._held[number]
        if number >= self.partitions or ends_ms + GRACE_MS <= self._clock_ms():
            return
        if not known and len(self._ends_ms) >= LEASES_MAX:
            return
        if lease.total >= self._held[number].get(account, Held()).total:
            self._held[number][account] = Held(lease.total, lease.left, lease.at_most)
            self._ends_ms[number, account] = ends_ms

    async def _send(self) -> None:
        quiet = False
        while True:
            await self._some.wait()
            self._some.clear()
            sending = list(self._wanted.items())
            try:
                await self._publish([demand for _, demand in sending])
                quiet = False
            except _ERRORS as error:
                if not quiet:
                    log.warning("demands for leases wait", why=f"{type(error).__name__}: {error}")
                quiet = True
                self._some.set()
                await self._close()
                await asyncio.sleep(RETRY_S)
                continue
            for key, demand in sending:
                self._sent[key] = (demand.held, demand.needed, time.monotonic())
                if self._wanted.get(key) is demand:
                    del self._wanted[key]
            await asyncio.sleep(SEND_EVERY_S)

    async def _publish(self, demands: Sequence[Demand]) -> None:
        if self._producer is None:
            self._producer = AIOKafkaProducer(bootstrap_servers=self._kafka.bootstrap, request_timeout_ms=5_000)
            await asyncio.wait_for(self._producer.start(), REQUEST_S)
        async with asyncio.timeout(REQUEST_S):
            sent = [
                await self._producer.send(
                    self._partition.topic,
                    readable(one),
                    key=demand_key(one.partition, one.account.id).encode(),
                    partition=0,
                )
                for one in demands
            ]
            await asyncio.gather(*sent)

    async def _forget(self) -> None:
        while True:
            await asyncio.sleep(FORGET_EVERY_S)
            now_ms, now_s = self._clock_ms(), time.monotonic()
            for number, account in [key for key, ends_ms in self._ends_ms.items() if ends_ms + GRACE_MS <= now_ms]:
                del self._ends_ms[number, account], self._held[number][account]
            for key in [key for key, (_, _, at_s) in self._sent.items() if now_s - at_s >= ASK_AGAIN_S]:
                del self._sent[key]

    async def _close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await closed(producer.stop(), 1.0)
