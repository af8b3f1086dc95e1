"""The executor: commands in, your function called at most once for each, receipts out, offsets last."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any

from aiokafka import AIOKafkaProducer

from sluicegate_kit import kafka as broker
from sluicegate_kit.acting import Act, Acting
from sluicegate_kit.clock import now_ms
from sluicegate_kit.deliveries import Deliveries, Delivery
from sluicegate_kit.errors import BrokerUnreachable, KitError
from sluicegate_kit.following import Following
from sluicegate_kit.handling import Handling, MayAct, Means
from sluicegate_kit.heartbeats import Heartbeats
from sluicegate_kit.journal import Journal, Keeping
from sluicegate_kit.limits import Limits
from sluicegate_kit.losses import Lost, OnLost
from sluicegate_kit.records import read_receipt
from sluicegate_kit.sending import Outgoing, Sending
from sluicegate_kit.settings import function, shown, steady_clock, text
from sluicegate_kit.store import Store, open_store
from sluicegate_kit.turns import Turns

log = logging.getLogger("sluicegate_kit")

DEFAULTS = Limits()
LOST_MAX = 5  # ranges that the heartbeats name, the latest
STORE_METHODS = ("open", "beat", "exchange", "look", "abandon", "prune", "close")
STORE_CHARS_MAX = 2000  # of a store's URL
LAST_RECEIPTS_S = 10.0  # what a stop grants to receipts after the actions have ended


class Executor:
    """`await Executor("host:9092", act, group="payments").run()`; `act(command)` is yours, plain or async.

    It returns when it is done (a text becomes the receipt's detail), raises Refuse to refuse by a rule of yours, and
    anything else to say that it failed. A plain function runs in a thread, several at once. All instances of a group
    share one `store` (an URL, or a Store). `workflows`: act on these alone, and leave the others to other executors;
    empty means all. Halts and recalls on `policies` are followed; `may_act` is asked after them, immediately before
    acting, and refuses with a sentence. `on_lost` is told of commands that nobody can read any more; what it raises
    ends the executor. `kafka`: aiokafka's other options (security_protocol, ssl_context, sasl_*). Raises KitError for a
    bad option.
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
        limits: Limits = DEFAULTS,
        may_act: MayAct = lambda _: None,
        on_lost: OnLost = lambda _: None,
        kafka: Mapping[str, Any] | None = None,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        function("act", act, "of one command")
        function("may_act", may_act, "of one command")
        function("on_lost", on_lost, "of what was lost")
        steady_clock(clock)
        if not isinstance(limits, Limits):
            raise KitError(f"limits is {shown(limits)}: Limits(concurrency=32, ...) is expected")
        limits.check()
        if not group:
            raise KitError("group is empty: name the consumer group that the instances of this executor share")
        text("group", group)
        if isinstance(workflows, str) or not isinstance(workflows, Collection):
            raise KitError(f"workflows is {shown(workflows)}: a list of names is expected")
        for each in workflows:
            text("a name in workflows", each)
        if name is not None:
            text("name", name)
        if isinstance(store, str):
            text("store", store, STORE_CHARS_MAX)
        elif not all(
            hasattr(store, name) for name in ("open", "beat", "exchange", "look", "abandon", "prune", "close")
        ):
            raise KitError(f"store is {shown(store)}: a URL, for example sqlite:///acted.db, or a Store is expected")
        self._options = broker.checked(bootstrap, prefix, kafka)
        self._bootstrap, self._prefix, self._group, self._limits = bootstrap, prefix, group, limits
        self._act, self._may_act, self._on_lost, self._clock = act, may_act, on_lost, clock
        self._workflows = frozenset(workflows)
        self._store = open_store(store) if isinstance(store, str) else store
        self._host = ascii(socket.gethostname())[1:-1][:150]
        self._name = name or f"{group}@{self._host}"[:200]
        self._stop, self._room = asyncio.Event(), asyncio.Event()
        self._grace_ms = limits.stop_within_ms
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed: asyncio.Future[None] | None = None
        self._handling: Handling | None = None
        self._lost: list[str] = []  # for the heartbeats
        # receipts by status; `poison` and `skipped` commands; offsets that were `lost`
        self.counts: Counter[str] = Counter()

    @property
    def is_acting(self) -> bool:
        """Whether it has got as far as to act; before, it waits for the store and the broker."""
        return self._handling is not None

    def stop(self, now: bool = False) -> None:
        """Ends `run` in order: nothing new is started, what runs has `stop_within_ms`; or no time, if `now`."""
        if now and self._handling is not None:
            self._handling.cut()
        self._stop.set()

    async def run(self) -> None:
        """Acts until it is stopped. Raises KitError (start refused), BrokerUnreachable or StoreTrouble."""
        topics = [self._prefix + kind for kind in ("commands", "receipts", "policies")]
        owner = f"{self._host}/{secrets.token_hex(8)}"
        keeping = Keeping(self._limits.lease_ms, self._limits.store_patience_ms, self._limits.keep_ms)
        journal = Journal(self._store, owner, keeping)
        following = Following(self._options, self._prefix, self._limits.halts_patience_ms)
        acting = Acting(self._act, self._clock, self._limits.margin_ms, following.refuses)
        heartbeats = Heartbeats(self._options, self._prefix, f"executor/{owner}", following, self._lost, self._clock)
        try:
            await journal.open()
            commands, receipts, _ = await broker.partitions(self._options, topics)
            if commands != receipts:
                raise KitError(f"{topics[0]} has {commands} partitions and {topics[1]} {receipts}: make them equal")
            await following.start()
            options = broker.options_of(AIOKafkaProducer, self._options)

            def make() -> AIOKafkaProducer:
                return AIOKafkaProducer(enable_idempotence=True, acks="all", **options)

            sending = Sending(make, self._bootstrap, self._limits.receipt_ms / 1000)
            await sending.start()
            try:
                await self._serve(journal, acting, sending, following, heartbeats)
            finally:
                await sending.stop(0)  # what could arrive has arrived
        finally:
            acting.close()
            await following.stop()
            await journal.close()
            log.info("ended: %s", dict(sorted(self.counts.items())))

    async def _serve(
        self,
        journal: Journal,
        acting: Acting,
        sending: Sending,
        following: Following,
        heartbeats: Heartbeats,
    ) -> None:
        self._failed = asyncio.get_running_loop().create_future()
        turns = Turns(self._limits.concurrency)
        limits = (self._limits.time_limit_ms, self._limits.margin_ms)
        rules = (following.refuses, self._may_act)
        means = Means(journal, acting, turns, *rules, self._clock, self._name, *limits)
        handling = self._handling = Handling(means)
        deliveries = Deliveries(self._prefix + "commands", self._workflows, self.counts, self._is_lost)
        await deliveries.start(self._bootstrap, self._group, self._limits.session_ms, self._options)
        fetching = asyncio.create_task(self._fetch(deliveries, handling, sending))
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

    async def _fetch(self, deliveries: Deliveries, handling: Handling, sending: Sending) -> None:
        while True:
            room = self._limits.backlog - len(self._tasks)
            if room <= 0:
                self._room.clear()
                await self._room.wait()
                continue
            for one in await deliveries.fetch(room):
                task = asyncio.create_task(self._handle(one, handling, sending))
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

    async def _handle(self, one: Delivery, handling: Handling, sending: Sending) -> None:
        receipt = await handling.settle(one.command, one.hold)
        one.hold(True)
        record = Outgoing(self._prefix + "receipts", receipt, one.key, one.headers, one.partition)
        try:
            await (await sending.post(record))
        except BrokerUnreachable as error:
            raise BrokerUnreachable(
                f"the receipt of {one.command.command_id} {error}: start again, it is in the store and will be sent "
                "again"
            ) from error
        except KitError as error:
            raise KitError(f"the receipt of {one.command.command_id} {error}") from error
        self.counts[read_receipt(receipt).status] += 1
        one.done()

    def _is_lost(self, lost: Lost) -> None:
        self._lost[:] = [*self._lost[1 - LOST_MAX :], str(lost)]
        self._on_lost(lost)

    async def _drain(self, deliveries: Deliveries, handling: Handling) -> None:
        deliveries.drop_waiting()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._grace_ms / 1000)
        handling.cut()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LAST_RECEIPTS_S)
        await deliveries.commit()
