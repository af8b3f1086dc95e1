"""The world, as far as one worker process looks at it: the context of its entities, and the receipts of its commands.

Partition n of `context` and `receipts` belongs to the lane of n. A lane awaits `complete` before its partition opens,
so while a view is not complete its decisions wait; afterwards the view follows what is written, within about 100 ms.
Only what a policy needs is read; without such a policy nothing is, and no connection is opened.

A rebalance takes all partitions away and gives most of them back: what is known of one is followed on for a minute, so
that it need not be read again.

Context that is refused is counted and logged. What is refused while a view is first read has been refused before: only
what comes after the end as it was then is told on `rejections`, with the partition's next transaction.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from aiokafka import TopicPartition

from schemas.common import Source
from schemas.topics import RETENTION_MS
from streams.allowance import RECEIPTS_MAX, WINDOW_MS, Allowances
from streams.batch import Sent
from streams.context import ENTITIES_MAX, ContextView, watched
from streams.headers import DEFAULTS, HeaderSettings
from streams.policy import Policy
from streams.rejections import rejection
from streams.review_later import NOTHING_COMMANDED, Commanded
from streams.runtime.metrics import Meter
from streams.runtime.metrics_board import Board
from streams.runtime.settings import Kafka
from streams.runtime.tail import Recent, Tail

log = structlog.get_logger()

REJECTIONS_MAX = 100  # that wait for a transaction, per partition number; beyond it they are only counted
REJECTIONS_TAKEN_MAX = 20  # by one transaction: each may have 64 KiB of the refused record
SHOW_S = 1.0  # between two looks of the metrics at what is known
TELL_EVERY = 60  # of these, one at most is told in the log about what was refused
RELEASED_S = 60.0  # twice as long as a rebalance may take
ISSUED = Recent(RETENTION_MS, 200_000)  # commands, as long as a review may wait; so many are read in a few seconds
RECENT = Recent(WINDOW_MS, 5 * RECEIPTS_MAX)  # several workflows share a partition


@dataclass(frozen=True, slots=True)
class Needs:
    """What a role needs to know. `fields` are watched; None: context is not read. `measured`: by receipts.

    `superseding`: the workflows whose commands retire open reviews.
    """

    fields: frozenset[str] | None
    measured: tuple[Policy, ...] = ()
    keep_state: bool = False
    superseding: frozenset[str] = frozenset()

    @classmethod
    def of_gate(cls, policies: Iterable[Policy]) -> Needs:
        """Versions of contexts, and receipts, where a policy looks at them."""
        found = tuple(policies)
        return cls(watched(found), tuple(one for one in found if one.freshness.reserve.measured))

    @classmethod
    def of_reevaluation(cls, policies: Iterable[Policy]) -> Needs:
        """States of contexts, which every evaluator is shown."""
        asked = any(one.evaluator is not None for one in policies)
        return cls(frozenset() if asked else None, keep_state=True)

    @classmethod
    def of_reviews(cls, policies: Iterable[Policy]) -> Needs:
        """What an approval is checked against again, versions of contexts; and commands, where they supersede."""
        found = tuple(policies)
        return cls(watched(found), superseding=frozenset(one.workflow for one in found if one.freshness.supersede))


class _Known:
    """What is known of one partition number."""

    def __init__(self, needs: Needs, entities_max: int) -> None:
        self.view = ContextView(needs.fields or frozenset(), needs.keep_state, entities_max)
        self.allowances = Allowances(needs.measured)
        self.commanded = Commanded(needs.superseding)
        self.rebuilt_to: int | None = None  # the end of `context` when it was first asked for
        self.rejections: deque[Sent] = deque()
        self.taken: list[Sent] = []  # by a transaction whose end is not known yet


class World:
    """All methods belong to the event loop of the lanes; `run` is a task of its own."""

    def __init__(
        self,
        kafka: Kafka,
        needs: Needs,
        clock_ms: Callable[[], int],
        meter: Meter | None = None,
        headers: HeaderSettings = DEFAULTS,
        entities_max: int = ENTITIES_MAX,
    ) -> None:
        self._headers = headers
        self._needs = needs
        self._clock_ms = clock_ms
        self._board = (meter or Meter(Board.private())).board
        self._entities_max = entities_max
        self._tail = Tail(kafka, self._take, clock_ms)
        self._context, self._receipts = kafka.topic("context"), kafka.topic("receipts")
        self._commands = kafka.topic("commands")
        self._known: dict[int, _Known] = {}
        self._released: dict[int, float] = {}  # numbers that were taken away, and when
        self._refused: Counter[str] = Counter()  # since the log was last told
        self._empty = ContextView()

    async def run(self) -> None:
        """Reads until cancelled. Raises PromiseBroken when a topic was made again or lost its end."""
        showing = asyncio.create_task(self._show())
        try:
            await self._tail.run()
        finally:
            showing.cancel()

    async def complete(self, number: int, progress: Callable[[], None] = lambda: None) -> None:
        """Returns when all that is in partition `number` now is known. Called at each hand-over.

        `progress` is called at least once a second while records come: a million take longer than one bound for all.
        Raises Failed when for 20 s none has.
        """
        self._released.pop(number, None)
        known = self._known.get(number)
        if known is None:
            known = self._known[number] = _Known(self._needs, self._entities_max)
        self.give_back(number)
        context, receipts = TopicPartition(self._context, number), TopicPartition(self._receipts, number)
        if self._needs.fields is not None:
            self._tail.add(context)
        if self._needs.measured:
            self._tail.add(receipts, RECENT)
        commands = TopicPartition(self._commands, number)
        if self._needs.superseding:
            self._tail.add(commands, ISSUED)

        def at_end(end: int) -> None:
            if known.rebuilt_to is None:
                known.rebuilt_to = end

        if self._needs.fields is not None:
            await self._tail.reach(context, progress, at_end)
        if self._needs.measured:
            await self._tail.reach(receipts, progress, lambda end: None)
        if self._needs.superseding:
            await self._tail.reach(commands, progress, lambda end: None)

    def drop(self, number: int) -> None:
        """Forgets a partition number that was taken away, unless it comes back within a minute."""
        if number in self._known:
            self._released[number] = time.monotonic()

    def _forget(self, number: int) -> None:
        del self._known[number], self._released[number]
        self._tail.drop(TopicPartition(self._context, number))
        self._tail.drop(TopicPartition(self._receipts, number))
        self._tail.drop(TopicPartition(self._commands, number))
        if self._needs.fields is not None:
            self._board.numbers("context_entities", (str(number),))[0] = float("nan")

    def contexts(self, number: int) -> ContextView:
        """The view that follows `context`; an empty one before `complete` was called and where nobody needs it."""
        known = self._known.get(number)
        return self._empty if known is None else known.view

    def commanded(self, number: int) -> Commanded:
        """The commands that followed; empty where nobody needs them."""
        known = self._known.get(number)
        return NOTHING_COMMANDED if known is None else known.commanded

    def allowances_ms(self, number: int) -> dict[int, int]:
        """For `Memory.allowances_ms`, before each batch: milliseconds by policy index."""
        known = self._known.get(number)
        return {} if known is None else known.allowances.present_ms(self._clock_ms())

    def take_rejections(self, number: int) -> list[Sent]:
        """Records for the next transaction of the partition number, at most 20.

        They count as sent when the next ones are taken; `complete`, which a hand-over calls after any failure, has them
        taken again. So one may be sent twice, with the same id.
        """
        known = self._known.get(number)
        if known is None or not (known.rejections or known.taken):
            return []
        known.taken = [known.rejections.popleft() for _ in range(min(len(known.rejections), REJECTIONS_TAKEN_MAX))]
        return list(known.taken)

    def give_back(self, number: int) -> None:
        """What was taken last was not sent: it is taken again with the next transaction."""
        if (known := self._known.get(number)) is not None:
            known.rejections.extendleft(reversed(known.taken))
            known.taken.clear()

    def succeed(self, other: World) -> None:
        """Takes over what the other one, whose place this one takes, had still to tell."""
        for number, known in other._known.items():
            if (mine := self._known.get(number)) is not None:
                mine.rejections.extend(known.rejections)
                mine.taken = known.taken

    # what the tail brings

    def _take(self, partition: TopicPartition, records: Sequence[Any]) -> None:
        known = self._known.get(partition.partition)
        if known is None:
            return
        if partition.topic == self._context:
            self._take_context(partition, known, records)
        elif partition.topic == self._commands:
            for record in records:
                known.commanded.take(Source(partition.topic, partition.partition, record.offset), record.value)
        else:
            for record in records:
                heard = known.allowances.add(record.value, record.timestamp)
                self._board.numbers("measured_receipts", (heard,))[0] += 1

    def _take_context(self, partition: TopicPartition, known: _Known, records: Sequence[Any]) -> None:
        view, not_kept = known.view, known.view.not_kept
        for record in records:
            rejected = view.apply(record.key, record.value)
            if rejected is None:
                continue
            self._board.numbers("context_refused", (rejected.reason,))[0] += 1
            self._refused[rejected.reason] += 1
            if known.rebuilt_to is None or record.offset < known.rebuilt_to:
                continue  # told before
            if self._needs.keep_state or partition.partition in self._released:
                continue  # told by the gate, by the number's owner
            if len(known.rejections) < REJECTIONS_MAX:
                place = Source(partition.topic, partition.partition, record.offset)
                known.rejections.append(rejection(place, record.key, record.value, *rejected, self._headers))
        if view.not_kept > not_kept:
            if not not_kept:
                log.warning("the context view is full", partition=partition.partition, entities=len(view))
            self._board.numbers("context_not_kept")[0] += view.not_kept - not_kept

    async def _show(self) -> None:
        shown = 0
        while True:
            await asyncio.sleep(SHOW_S)
            shown += 1
            for number in [one for one, at_s in self._released.items() if time.monotonic() - at_s >= RELEASED_S]:
                self._forget(number)
            if self._needs.fields is not None:
                for number, known in self._known.items():
                    self._board.numbers("context_entities", (str(number),))[0] = len(known.view)
            allowances_ms = [self.allowances_ms(number) for number in self._known]
            for policy in self._needs.measured if allowances_ms else ():
                longest_ms = max(one[policy.index] for one in allowances_ms)
                self._board.numbers("actuation_allowance_seconds", (policy.workflow,))[0] = longest_ms / 1000
            if self._refused and shown >= TELL_EVERY:
                log.warning("context refused", count=self._refused.total(), **self._refused)
                self._refused.clear()
                shown = 0
