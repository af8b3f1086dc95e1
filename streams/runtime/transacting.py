"""A batch decided and committed, by one lane: decided again, at a new time, where a deadline passed in between.

What a transaction is expected to take is kept back of what is left to each decision (`streams.commits`), so few come to
that. One that does is undone in an orderly way: producer and stage stay what they are, the stage forgets that it has
decided, and nobody beside it waits for more than one transaction. A stage that cannot forget is thrown away.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence

from aiokafka import TopicPartition

from streams.batch import Fetched
from streams.commits import Commits
from streams.runtime.bisect import NO_RECORDS_FAULT, Undecided
from streams.runtime.delivered import Delivered
from streams.runtime.metrics import Meter
from streams.runtime.outgoing import outgoing
from streams.runtime.preparing import prepared
from streams.runtime.settings import Worker
from streams.runtime.stage import Batch, Stage
from streams.runtime.transactions import Denied, Failed, Fenced, Late, Transactions, Unsendable


class Transacting:
    """`now_ms` reads the clock, and waits until it can be believed; `clock_ms` only reads it."""

    def __init__(
        self,
        worker: Worker,
        number: int,
        meter: Meter,
        now_ms: Callable[[], Awaitable[int]],
        clock_ms: Callable[[], int],
    ) -> None:
        self.deciding = False  # from a decision until its transaction has ended
        self.decide_s = 0.0  # what the last decision took
        self._worker, self._number, self._meter = worker, number, meter
        self._now_ms, self._clock_ms = now_ms, clock_ms
        self._commits = Commits()

    async def answer(
        self, transactions: Transactions, stage: Stage, taken: Sequence[Delivered], goes_on: Callable[[], None]
    ) -> dict[TopicPartition, int]:
        """Decides and commits; the offsets that were committed, empty where nothing happened.

        Raises Undecided, and what `Transactions.commit` raises: Late only where the stage cannot decide again.
        """
        for one in taken:
            one.must_follow()
        fetched = [one.fetched for one in taken]
        try:
            await prepared(stage, fetched, goes_on)
        except NO_RECORDS_FAULT:
            raise
        except Exception as error:
            raise Undecided from error
        while True:
            now_ms, began_s = await self._now_ms(), time.perf_counter()
            try:
                return await self._once(transactions, stage, taken, fetched, now_ms)
            except Late:
                self._commits.was_late((time.perf_counter() - began_s) * 1000)
                if not stage.undone():
                    raise
                goes_on()

    async def _once(
        self,
        transactions: Transactions,
        stage: Stage,
        taken: Sequence[Delivered],
        fetched: Sequence[Fetched],
        now_ms: int,
    ) -> dict[TopicPartition, int]:
        began_s = time.perf_counter()
        self.deciding = True
        try:
            batch = self._decided(stage, fetched, now_ms)
            self.decide_s = time.perf_counter() - began_s
            records = outgoing(self._worker, self._number, batch, {one.fetched.input: one.next for one in taken})
            offsets = {TopicPartition(one.fetched.topic, one.fetched.partition): one.next for one in taken}
            deadline_ms = batch.earliest_deadline_ms
            if records:
                await transactions.commit(
                    records,
                    offsets,
                    lambda appended_ms: deadline_ms is not None and max(self._clock_ms(), appended_ms) >= deadline_ms,
                )
            stage.committed()
        except (Late, Fenced, Failed, Denied, Unsendable) as error:
            self._meter.ended("failed" if isinstance(error, Unsendable) else type(error).__name__.lower())
            raise
        finally:
            self.deciding = False
        if not records:
            return {}
        spent_s = time.perf_counter() - began_s
        self._commits.took(spent_s * 1000)
        spans_s = (self.decide_s, spent_s - self.decide_s)
        self._meter.committed(fetched, batch, *spans_s, now_s=self._clock_ms() / 1000, number=self._number)
        return offsets

    def _decided(self, stage: Stage, fetched: Sequence[Fetched], now_ms: int) -> Batch:
        try:
            return stage.decide(fetched, now_ms, self._commits.kept_back_ms)
        except NO_RECORDS_FAULT:
            raise
        except Exception as error:
            raise Undecided from error
