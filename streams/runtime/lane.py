"""A lane: one task that owns one partition number of a role, from the hand-over to the moment it is taken away.

While one transaction is open, everything that arrives waits and goes into the next one together. After any failure
of a transaction stage and producer are thrown away and handed over again, so there is one way into a partition
(`hand_over.py`). Where what is known of how far it was read does not fit together, the lane stops: it takes no records,
says why, and looks again now and then; the other partition numbers go on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Literal

import structlog
from aiokafka import TopicPartition

from streams.errors import PromiseBroken
from streams.runtime.bisect import Again, Search, Undecided
from streams.runtime.delivered import Delivered
from streams.runtime.hand_over import HandOver, Seeker
from streams.runtime.lookup import Lookup
from streams.runtime.metrics import Meter
from streams.runtime.metrics_board import Board
from streams.runtime.pending import Pending
from streams.runtime.preparing import bounded
from streams.runtime.reading import Reading
from streams.runtime.settings import (
    CLOCK_LOOK_S,
    FAILURES_MAX,
    HAND_OVER_S,
    LOOK_AGAIN_S,
    RETRY_S,
    SETTLE_S,
    Worker,
)
from streams.runtime.stage import Stage
from streams.runtime.timers import arrives_or_due, is_due
from streams.runtime.transacting import Transacting
from streams.runtime.transactions import Denied, Failed, Fenced, Late, Transactions, Unsendable
from streams.truths import Apart, Identity

log = structlog.get_logger()

State = Literal["hand-over", "open", "closed"]


class Lane:
    """Partition `number` of every input of the role. All methods belong to the event loop of the agents."""

    def __init__(
        self,
        number: int,
        worker: Worker,
        lookup: Lookup,
        seeker: Seeker,
        clock_ms: Callable[[], int],
        changed: asyncio.Event,
        meter: Meter | None = None,
        doubtful: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.number = number
        self.state: State = "hand-over"
        self.waits_for: str | None = None  # a named dependency; None means that progress is due
        self.progress = 0  # goes up whenever something was achieved
        self._reading = Reading(worker, number)
        self.partitions = tuple(self._reading.inputs)
        self._worker = worker
        self._seeker = seeker
        self._clock_ms = clock_ms
        self._doubtful = doubtful  # what is waited for before the clock can be believed
        self._changed = changed  # tells the fetcher that this lane takes records again
        self._meter = meter or Meter(Board.private())
        self._closed_ms: int | None = clock_ms()  # since when it is not open
        self._taken_ms: int | None = None  # when the oldest record of the open transaction came
        self._transacting = Transacting(worker, number, self._meter, self._now_ms, clock_ms)
        self._pending = Pending(worker.role.batch_records_max)
        self._arrived = asyncio.Event()
        self._way_in = HandOver(worker, number, self.partitions, lookup, clock_ms, Transactions)
        self._doubts: Apart | None = None
        self._finishing = self._ends = False  # `_ends`: it is to stop reading, for this reason or in doubt
        self._told: tuple[str, str] | None = None  # what was logged last of what is waited for
        self._search = Search(number)
        self._failures = 0  # hand-overs in a row that opened the lane, and then nothing was committed

    # what the fetcher and the agent see

    def _goes_on(self) -> None:
        self.progress += 1

    @property
    def takes_records(self) -> bool:
        return self.state == "open" and not self._pending.full and not self._finishing

    @property
    def busy(self) -> bool:
        """Whether something should be happening here."""
        return self.state == "hand-over" or bool(self._pending)

    @property
    def deciding(self) -> bool:
        """From a decision until its transaction has ended."""
        return self._transacting.deciding

    @property
    def waits_since_ms(self) -> int | None:
        """When the oldest record that waits here came, or since when this lane is not open; None if nothing waits."""
        came = (self._closed_ms, self._taken_ms, self._pending.since_ms)
        return min((one for one in came if one is not None), default=None)

    def position(self, partition: TopicPartition) -> int | None:
        """The next offset that this lane wants of an input, once it is open."""
        return self._reading.next.get(partition) if self.state == "open" else None

    @property
    def identity(self) -> Identity | None:
        """What it reads, once it is open."""
        return self._reading.identity

    def offer(self, delivered: Delivered) -> None:
        """Takes a fetched batch, if it is the one that follows; one that is not makes the lane seek back."""
        if self.state != "open" or self._finishing:
            return
        self._expect(delivered)
        self._arrived.set()

    def _expect(self, delivered: Delivered) -> None:
        if self._reading.follows(delivered) and len(delivered.fetched):  # else it was only passed over
            self._pending.put(delivered)

    def doubt(self, why: Apart) -> None:
        """Stops it: what it reads is not what it read before, or not all of it."""
        self._doubts, self._ends = why, True
        self._arrived.set()

    def finish(self) -> None:
        """Takes nothing more, and ends after the transaction that is under way."""
        self._finishing = self._ends = True
        self._arrived.set()

    # the task

    async def run(self) -> None:
        """Works until `finish`, or until cancelled. Raises PromiseBroken when going on is wrong."""
        kafka, role, compression = self._worker.kafka, self._worker.role, self._worker.compression
        mine = role.transactional_id(kafka, self.number)
        while not self._finishing:
            transactions = Transactions(kafka.bootstrap, mine, self.number, role.group, compression)
            try:
                await self._now_ms()
                stage = await self._bounded_hand_over(transactions)
                await self._work(transactions, stage)
            except Again:
                self._goes_on()  # it said why
            except Late:
                log.warning("decided again", partition=self.number, why="a deadline passed before the commit")
            except Apart as error:
                await self._stopped(str(error))
            except Fenced:
                await self._pause("another owner", "another worker has taken this partition over")
            except Failed as error:
                self._give_up_in_the_end(error)
                await self._pause(f"the broker at {self._worker.kafka.bootstrap}", str(error))
            except Denied as error:
                raise PromiseBroken(f"partition {self.number}: the broker refuses the transaction ({error})") from error
            finally:
                self._forget()
                await transactions.stop()
        self.state = "closed"

    def _forget(self) -> None:
        self._closed_ms = self._clock_ms() if self.waits_since_ms is None else self.waits_since_ms
        self._taken_ms = None
        self.state = "hand-over"
        self._pending.clear()
        self._reading.forget()
        self._doubts, self._ends = None, self._finishing

    def _give_up_in_the_end(self, error: Failed) -> None:
        # a broker that is away fails the hand-over already, and is waited for; this one answers, and takes nothing
        if self.state != "open":
            return
        self._failures += 1
        if self._failures >= FAILURES_MAX:
            raise PromiseBroken(
                f"partition {self.number}: the broker answers, but {self._failures} transactions in a row have failed "
                f"and committed nothing; look at the settings of the output topics ({error})"
            ) from error

    async def _pause(self, dependency: str, why: str) -> None:
        # long enough for the group to tell us if the partition is not ours any more: then this task is cancelled
        self._forget()
        told = (dependency, why.partition(":")[0])  # the rest names addresses, in changing order
        if told != self._told:
            log.warning("waiting", partition=self.number, waits_for=dependency, why=why)
        self.waits_for, self._told = dependency, told
        await asyncio.sleep(RETRY_S)

    async def _stopped(self, why: str) -> None:
        self._forget()
        if self.waits_for != why:
            log.error("stopped", partition=self.number, why=why)
        self.waits_for, self._told = why, None
        self._goes_on()  # it looks again, and is not stuck
        await asyncio.sleep(LOOK_AGAIN_S)

    async def _bounded_hand_over(self, transactions: Transactions) -> Stage:
        try:
            return await bounded(partial(self._hand_over, transactions), HAND_OVER_S, self._goes_on)
        except TimeoutError as error:
            raise Failed(f"the hand-over did nothing for {HAND_OVER_S:.0f} s") from error

    async def _hand_over(self, transactions: Transactions, goes_on: Callable[[], None]) -> Stage:
        opened = await self._way_in.take(transactions, self._seeker, goes_on)
        self._reading.opens(opened)
        for delivered in opened.before:
            self._expect(delivered)
        self.state, self.waits_for, self._told, self._closed_ms = "open", None, None, None
        self._meter.handed_over()
        self._goes_on()
        self._changed.set()
        log.debug("partition ready", partition=self.number, offsets=list(self._reading.next.values()))
        return opened.stage

    async def _work(self, transactions: Transactions, stage: Stage) -> None:
        settle_s = time.monotonic() + SETTLE_S
        while True:
            while not (self._pending or self._reading.astray or self._ends or is_due(stage, self._clock_ms())):
                self._arrived.clear()
                if (wait_s := settle_s - time.monotonic()) <= 0:
                    settle_s = time.monotonic() + SETTLE_S
                    await self._reading.settle(transactions)
                    continue
                await arrives_or_due(self._arrived, stage, self._clock_ms, wait_s)
            if self._doubts is not None:
                raise self._doubts
            if self._finishing:
                return None if self._pending else await self._reading.settle(transactions)
            await self._reading.find_back(self._seeker)
            if self._pending or is_due(stage, self._clock_ms()):
                await self._answer(transactions, stage)
                self._goes_on()
                self._failures = 0

    async def _now_ms(self) -> int:
        """The clock, once it can be believed: nothing is decided, or forgotten, on a reading that may be wrong."""
        now_ms, told = self._clock_ms(), None
        while (why := self._doubtful()) is not None:
            if self.waits_for != why and told is None:
                log.warning("waiting", partition=self.number, waits_for=why)
            self.waits_for = told = why
            await asyncio.sleep(CLOCK_LOOK_S)
            now_ms = self._clock_ms()
        if told is not None:
            self.waits_for = None
        return now_ms

    async def _answer(self, transactions: Transactions, stage: Stage) -> None:
        """The next batch; of one that fails a smaller piece next time, until what fails it is set aside."""
        search = self._search
        taken = [] if search.idle_first else self._take()
        asked = search.taking(taken)
        self._taken_ms = min((one.came_ms for one in asked), default=self._clock_ms())
        try:
            self._reading.settled |= await self._transacting.answer(transactions, stage, asked, self._goes_on)
        except (Undecided, Unsendable) as error:
            search.failed(taken, error)
            if isinstance(error, Unsendable) or not stage.intact:
                raise Again from error
            self._pending.put_back(taken)
            return
        self._taken_ms = None
        self._pending.took(sum(len(one.fetched) for one in asked), self._transacting.decide_s)
        if (poison := search.committed(taken)) is not None:
            self._meter.poison(*poison)
        search.ends(self._worker.role.batch_records_max)

    def _take(self) -> list[Delivered]:
        was_full = self._pending.full
        taken = self._pending.take(self._search.limit)
        if was_full and not self._pending.full:
            self._changed.set()
        return taken
