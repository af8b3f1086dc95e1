"""What is in force in this process: the policies of the topic `policies`, and the world as far as they look at it.

Policies are swapped while the worker works. A change is compiled beside the work; where the new policies look at more
of the world (other fields of contexts, receipts) a second view of it is read first. Then both are swapped at once,
between two batches, so that each batch is decided under one snapshot. Halts do not wait for any of that.

A hand-over awaits `complete`, which reads `policies` to its end: so the next owner of a partition knows at least what
the last one did, and in a partition the versions never go back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import structlog
from aiokafka import TopicPartition

from streams.errors import ConfigurationError
from streams.headers import DEFAULTS, HeaderSettings
from streams.path import Snapshot
from streams.policy import Policy
from streams.rulebook import Compiler, Rulebook
from streams.runtime.metrics import Meter
from streams.runtime.policies_topic import read_into
from streams.runtime.records import telling
from streams.runtime.settings import RETRY_S, Kafka
from streams.runtime.tail import Tail
from streams.runtime.tasks import failure
from streams.runtime.transactions import Failed
from streams.runtime.world import Needs, World

log = structlog.get_logger()

START_S = 30.0  # to read all policies when a process starts, and to take over what was read
LOOK_S = 0.005
DEAF_MAX_S = 30.0  # its end is asked for every 5 s; executors of the kit start nothing after as long

# what is still to be made ready before a snapshot may be used; what it returns is what went wrong, in words
Ready = Callable[[Snapshot], Awaitable[Sequence[str]]]


def _world(kafka: Kafka, clock_ms: Callable[[], int], meter: Meter, headers: HeaderSettings, needs: Needs) -> World:
    return World(kafka, needs, clock_ms, meter, headers)


async def _nothing(snapshot: Snapshot) -> Sequence[str]:
    return ()


class InForce:
    """All methods belong to the event loop of the lanes; `run` is a task of its own.

    `needs_of`: what the role looks at under some policies. `ready`: told of new policies before they are used.
    """

    def __init__(
        self,
        kafka: Kafka,
        needs_of: Callable[[Iterable[Policy]], Needs],
        clock_ms: Callable[[], int],
        meter: Meter,
        headers: HeaderSettings = DEFAULTS,
        ready: Ready = _nothing,
    ) -> None:
        self._needs_of, self._ready = needs_of, ready
        self._partition = TopicPartition(kafka.topic("policies"), 0)
        self._meter = meter
        self._make_world: Callable[[Needs], World] = partial(_world, kafka, clock_ms, meter, headers)
        self._tail = Tail(kafka, self._take, clock_ms, telling)
        self._book, self._compiler = Rulebook(), Compiler()
        self._told = asyncio.Event()
        self._numbers: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: asyncio.Future[None] | None = None
        self._worlds: dict[int, asyncio.Task[None]] = {}  # by id of the world
        self._needs = Needs(None)
        self.snapshot = Snapshot(())
        self.world = self._make_world(self._needs)
        self.offset = 0  # all records of `policies` before it are in force here
        self.troubles: Sequence[str] = ()
        self._unready: Sequence[str] = ()
        self.changed = asyncio.Event()  # set when `offset` or `troubles` may be others than before

    async def start(self) -> None:
        """Reads all policies. Raises ConfigurationError where none is in force, Failed where no broker answers.

        Call it once, in the loop that then runs `run`.
        """
        self._ended = asyncio.get_running_loop().create_future()
        self._tail.add(self._partition)
        self._begin(self._tail.run())
        try:
            await self._start()
        except BaseException:
            await self._end()
            raise

    async def _start(self) -> None:
        try:
            async with asyncio.timeout(START_S):
                await self._tail.reach(self._partition, lambda: None, lambda end: None)
        except TimeoutError as error:
            raise Failed(f"{self._partition.topic} was not read to its end within {START_S:.0f} s") from error
        await self._follow_once()
        if not self.snapshot.by_index:
            told = "".join(f"\n  {one}" for one in self.troubles)
            raise ConfigurationError(
                f"no policy is in force on {self._partition.topic}: publish some with `sluicegate policy apply FOLDER "
                f"--why ...`, or give the worker a folder with --policies, which fills an empty topic{told}"
            )

    async def run(self) -> None:
        """Follows what is published until cancelled. Raises what its readers raise (PromiseBroken)."""
        assert self._ended is not None, "start comes first"
        self._begin(self._follow())
        try:
            await self._ended
        finally:
            await self._end()

    async def _end(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._one_ended)
        return task

    def _one_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if (error := failure(task)) is not None and self._ended is not None and not self._ended.done():
            self._ended.set_exception(error)

    # what health and the lanes ask

    @property
    def deaf(self) -> str | None:
        """What is wrong where a halt would not be heard, since `policies` cannot be read."""
        silent_s = self._tail.unanswered_s
        if silent_s <= DEAF_MAX_S:
            return None
        return f"the topic {self._partition.topic}, which cannot be read for {silent_s:.0f} s: no halt would be heard"

    async def complete(self, number: int, goes_on: Callable[[], None] = lambda: None) -> None:
        """Returns when all that is published and all of the world of `number` is known as it is now. Raises Failed."""
        self._numbers.add(number)
        await self._tail.reach(self._partition, goes_on, lambda end: None)
        wanted = self._book.next_offset
        until_s = time.monotonic() + START_S
        while self.offset < wanted:
            if time.monotonic() > until_s:
                raise Failed(f"what {self._partition.topic} says is not in force after {START_S:.0f} s")
            await asyncio.sleep(LOOK_S)
        while True:
            world = self.world
            await world.complete(number, goes_on)
            if world is self.world:
                return

    def drop(self, number: int) -> None:
        """A partition number was taken away."""
        self._numbers.discard(number)
        self.world.drop(number)

    # what the tail brings

    def _take(self, partition: TopicPartition, records: Sequence[Any]) -> None:
        before = self._book.halts.by_scope
        for record in records:
            read_into(self._book, record)
        halts = self._book.halts
        if halts.by_scope != before:
            self.snapshot = self.snapshot.under(halts)
            for scope in halts.by_scope.keys() ^ before.keys():
                log.warning("halted" if scope in halts.by_scope else "resumed", scope=str(scope))
        self._told.set()

    async def _follow(self) -> None:
        while True:
            await self._told.wait()
            try:
                await self._follow_once()
            except Failed as error:  # the policies that are in force stay
                log.warning("waiting", waits_for="what new policies look at", why=str(error))
                await asyncio.sleep(RETRY_S)
                self._told.set()

    async def _follow_once(self) -> None:
        self._told.clear()
        edition = self._book.edition()
        # in a thread: a large policy takes longer to compile than a batch may wait
        snapshot, troubles = await asyncio.to_thread(self._compiler.snapshot, edition)
        if snapshot.by_index != self.snapshot.by_index:
            self._unready = await self._ready(snapshot)
            await self._look(snapshot)
            self._meter.budgets(snapshot)
            self._say(snapshot)
        self.snapshot = snapshot.under(self._book.halts)  # a halt may have come meanwhile
        self.offset = edition.next_offset
        troubles += self._unready
        told = set(self.troubles)
        for trouble in troubles:
            if trouble not in told:
                log.warning("a policy cannot be used", why=trouble)
        self.troubles = troubles
        self.changed.set()

    async def _look(self, snapshot: Snapshot) -> None:
        """Looks at the world as these policies need it; returns without an await between it and the swap."""
        needs = self._needs_of(snapshot.by_index)
        if needs == self._needs:
            return
        world = self._make_world(needs)
        task = self._begin(world.run())
        known: set[int] = set()
        while missing := self._numbers - known:
            for number in missing:
                await world.complete(number)
            known |= missing
        world.succeed(self.world)
        if (last := self._worlds.pop(id(self.world), None)) is not None:
            last.cancel()
        self._worlds[id(world)] = task
        self._needs, self.world = needs, world

    def _say(self, snapshot: Snapshot) -> None:
        names: Mapping[str, str] = {policy.workflow: policy.name for policy in self.snapshot.by_index}
        new = [policy.name for policy in snapshot.by_index if names.get(policy.workflow) != policy.name]
        # the first ones belong to the start
        (log.info if names else log.debug)("policies in force", count=len(snapshot.by_index), new=new[:50])
