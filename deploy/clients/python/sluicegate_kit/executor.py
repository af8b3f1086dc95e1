"""The executor: commands in, your function called at most once for each, receipts out, offsets last."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from sluicegate_kit import kafka as broker
from sluicegate_kit.acting import Act, Acting
from sluicegate_kit.clock import now_ms
from sluicegate_kit.deliveries import Deliveries, Delivery
from sluicegate_kit.errors import BrokerUnreachable, KitError
from sluicegate_kit.following import Following
from sluicegate_kit.handling import Handling, MayAct, Means
from sluicegate_kit.heartbeats import Heartbeats
from sluicegate_kit.journal import Journal, Keeping
from sluicegate_kit.records import read_receipt
from sluicegate_kit.store import Store, open_store
from sluicegate_kit.turns import Turns

log = logging.getLogger("sluicegate_kit")

RECEIPT_S = 120.0  # Kafka's own default for a delivery; a restart sends the same receipt again, from the store
LAST_RECEIPTS_S = 10.0  # what a stop grants to receipts after the actions have ended
CARRIED_HEADERS = ("traceparent", "tracestate")


@dataclass(frozen=True)
class Limits:
    """Every bound of an executor; times in milliseconds.

    `concurrency`: how many commands are acted on at once, each of another entity; after a crash at most so many are
    `unknown`. `time_limit_ms`: when a function that has not returned is given up as `unknown`. `stop_within_ms`: what a
    stop grants to running actions. `lease_ms`: how long an instance may be silent before others take it for crashed.
    `margin_ms`: how long before its deadline a command counts as too late, for actions that take effect later.
    `store_patience_ms`: how long the store may fail before the executor ends. `keep_ms`: how long after its deadline a
    command is remembered. `session_ms`: after how long without a sign of life Kafka gives the partitions to others.
    `halts_patience_ms`: how long `policies` may not be readable before commands are refused, for it cannot be told
    whether a halt applies.
    """

    concurrency: int = 32
    backlog: int = 1000
    time_limit_ms: int = 60_000
    stop_within_ms: int = 20_000
    lease_ms: int = 15_000
    margin_ms: int = 0
    store_patience_ms: int = 30_000
    keep_ms: int = 30 * 24 * 3_600_000
    session_ms: int = 10_000
    halts_patience_ms: int = 30_000

    def check(self) -> None:
        """Raises KitError for a bound that cannot be."""
        least = {
            "concurrency": 1,
            "backlog": 1,
            "time_limit_ms": 1,
            "lease_ms": 100,
            "session_ms": 100,
            "halts_patience_ms": 1000,
        }
        for name, value in vars(self).items():
            if not isinstance(value, int) or isinstance(value, bool) or value < least.get(name, 0):
                raise KitError(
                    f"the limit {name} is {value!r}: an integer of at least {least.get(name, 0)} is expected"
                )


class Executor:
    """`await Executor("host:9092", act, group="payments").run()`; `act(command)` is yours, plain or async.

    It returns when it is done (a text becomes the receipt's detail), raises Refuse to refuse by a rule of yours, and
    anything else to say that it failed. A plain function runs in a thread, several at once. All instances of a group
    share one `store` (an URL, or a Store). `workflows`: act on these alone, and leave the others to other executors;
    empty means all. Halts and recalls on `policies` are followed; `may_act` is asked after them, immediately before
    acting, and refuses with a sentence. `kafka`: aiokafka's other options (security_protocol, ssl_context, sasl_*).
    Raises KitError for a bad option.
    """

    def __init__(
        self,
        bootstrap: str,
        act: Act,
        *,
        group: str,
        store: str | Store = "sqlite:///acted.db",
        prefix: str = "sluicegate.",
        workflows: Collection[str] = (),
        name: str | None = None,
        limits: Limits = Limits(),
        may_act: MayAct = lambda _: None,
        kafka: Mapping[str, Any] | None = None,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        if not callable(act):
            raise KitError(f"act must be a function of one command, got {act!r}")
        limits.check()
        if not group:
            raise KitError("group is empty: name the consumer group that the instances of this executor share")
        if isinstance(workflows, str):
            raise KitError(f"workflows is the text {workflows!r}: give a list of names")
        self._options = broker.checked(bootstrap, prefix, kafka)
        self._bootstrap, self._prefix, self._group, self._limits = bootstrap, prefix, group, limits
        self._act, self._may_act, self._clock = act, may_act, clock
        self._workflows = frozenset(workflows)
        self._store = open_store(store) if isinstance(store, str) else store
        self._name = (name or f"{group}@{socket.gethostname()}")[:200]
        self._stop, self._room = asyncio.Event(), asyncio.Event()
        self._grace_ms = limits.stop_within_ms
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed: asyncio.Future[None] | None = None
        self._handling: Handling | None = None
        self.counts: Counter[str] = Counter()  # receipts by status; `poison`, `skipped`, and `unreadable` batches

    def stop(self, now: bool = False) -> None:
        """Ends `run` in order: nothing new is started, what runs has `stop_within_ms`; or no time, if `now`."""
        if now and self._handling is not None:
            self._handling.cut()
        self._stop.set()

    async def run(self) -> None:
        """Acts until it is stopped. Raises KitError (start refused), BrokerUnreachable or StoreTrouble."""
        topics = [self._prefix + kind for kind in ("commands", "receipts", "policies")]
        owner = f"{socket.gethostname()[:150]}/{secrets.token_hex(8)}"
        keeping = Keeping(self._limits.lease_ms, self._limits.store_patience_ms, self._limits.keep_ms)
        journal = Journal(self._store, owner, keeping)
        following = Following(self._options, self._prefix, self._limits.halts_patience_ms)
        acting = Acting(self._act, self._clock, self._limits.margin_ms, following.refuses)
        heartbeats = Heartbeats(self._options, self._prefix, f"executor/{owner}", following, self._clock)
        try:
            await journal.open()
            commands, receipts, _ = await broker.partitions(self._options, topics)
            if commands != receipts:
                raise KitError(f"{topics[0]} has {commands} partitions and {topics[1]} {receipts}: make them equal")
            await following.start()
            producer = await broker.start(
                lambda: AIOKafkaProducer(enable_idempotence=True, acks="all", **self._options), self._bootstrap
            )
            try:
                await self._serve(journal, acting, producer, following, heartbeats)
            finally:
                await producer.stop()
        finally:
            acting.close()
            await following.stop()
            await journal.close()
            log.info("ended: %s", dict(sorted(self.counts.items())))

    async def _serve(
        self,
        journal: Journal,
        acting: Acting,
        producer: AIOKafkaProducer,
        following: Following,
        heartbeats: Heartbeats,
    ) -> None:
        self._failed = asyncio.get_running_loop().create_future()
        turns = Turns(self._limits.concurrency)
        limits = (self._limits.time_limit_ms, self._limits.margin_ms)
        rules = (following.refuses, self._may_act)
        means = Means(journal, acting, turns, *rules, self._clock, self._name, *limits)
        handling = self._handling = Handling(means)
        deliveries = Deliveries(self._prefix + "commands", self._workflows, self.counts)
        await deliveries.start(self._bootstrap, self._group, self._limits.session_ms, self._options)
        fetching = asyncio.create_task(self._fetch(deliveries, handling, producer))
        others = (deliveries.keep_committing(), following.run(), heartbeats.run())
        loops = [fetching, *map(asyncio.create_task, others)]
        stopping = asyncio.create_task(self._stop.wait())
        log.info("acting as %s in the group %s", self._name, self._group)
        try:
            running: set[asyncio.Future[Any]] = {*loops, *journal.tasks, stopping, self._failed}
            ended, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for one in ended:
                one.result()  # raises why, unless it is the stop
            fetching.cancel()
            await self._drain(deliveries, handling)
            if self._failed.done():
                self._failed.result()
        finally:
            self._failed.cancel()
            for task in (*loops, stopping, *self._tasks):
                task.cancel()
            await asyncio.gather(*loops, stopping, *self._tasks, return_exceptions=True)
            await deliveries.stop()

    async def _fetch(self, deliveries: Deliveries, handling: Handling, producer: AIOKafkaProducer) -> None:
        while True:
            room = self._limits.backlog - len(self._tasks)
            if room <= 0:
                self._room.clear()
                await self._room.wait()
                continue
            for one in await deliveries.fetch(room):
                task = asyncio.create_task(self._handle(one, handling, producer))
                self._tasks.add(task)
                one.handled_by(task)
                task.add_done_callback(self._handled)

    def _handled(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if len(self._tasks) <= self._limits.backlog * 3 // 4:  # not one by one: a fetch costs more than a command
            self._room.set()
        error = None if task.cancelled() else task.exception()
        if error is not None and self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)

    async def _handle(self, one: Delivery, handling: Handling, producer: AIOKafkaProducer) -> None:
        receipt = await handling.settle(one.command, one.hold)
        one.hold(True)
        try:
            delivery = await asyncio.wait_for(
                producer.send(
                    self._prefix + "receipts",
                    receipt,
                    key=one.key,
                    partition=one.partition,
                    headers=[header for header in one.headers if header[0] in CARRIED_HEADERS],
                ),
                RECEIPT_S,
            )
            await asyncio.wait_for(delivery, RECEIPT_S)
        except (KafkaError, TimeoutError) as error:
            raise BrokerUnreachable(
                f"the receipt of {one.command.command_id} was not acknowledged ({type(error).__name__}): start again, "
                "it is in the store and will be sent again"
            ) from error
        self.counts[read_receipt(receipt).status] += 1
        one.done()

    async def _drain(self, deliveries: Deliveries, handling: Handling) -> None:
        deliveries.drop_waiting()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._grace_ms / 1000)
        handling.cut()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LAST_RECEIPTS_S)
        await deliveries.commit()
