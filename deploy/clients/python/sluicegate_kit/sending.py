"""Sends records through a client that is replaced when it can send no more, so that an outage loses nothing.

An idempotent client numbers its batches. When one is given up (aiokafka does so with a batch that has waited too long
for a partition's leader), its numbers are used up, and the broker refuses whatever that client sends there for the rest
of its life. So after any failure the client sends nothing further, a new one takes its place, and everything that is
not acknowledged is sent again by it, in its order. What had arrived although nobody said so stands twice then: the same
bytes, which whoever reads them takes for a repetition.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka_errors
from aiokafka.errors import KafkaTimeoutError, UnknownTopicOrPartitionError

from sluicegate_kit import kafka as broker
from sluicegate_kit.errors import BrokerUnreachable, KitError

log = logging.getLogger("sluicegate_kit")

RETRY_S, RETRY_S_MAX = 0.2, 5.0
DROP_S = 2.0  # for what a client has on its way when it is dropped
STOP_S = 10.0  # for a client that has nothing on its way
SILENT_S = 5.0  # without an acknowledgement for so long, one line says that we wait
# the record itself is refused: another client would fare no better
_REFUSED = (
    kafka_errors.MessageSizeTooLargeError,
    kafka_errors.RecordListTooLargeError,
    kafka_errors.TopicAuthorizationFailedError,
    kafka_errors.InvalidTopicError,
    kafka_errors.InvalidTimestampError,
    kafka_errors.PolicyViolationError,
)
# there is no room yet, or no topic: the client is well
_NOT_YET = (KafkaTimeoutError, UnknownTopicOrPartitionError)


class Outgoing(NamedTuple):
    """One record to send."""

    topic: str
    value: bytes
    key: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    partition: int | None = None


@dataclass(eq=False)
class _Open:
    """A record that is not acknowledged."""

    record: Outgoing
    answer: asyncio.Future[Any] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    since_s: float = field(default_factory=time.monotonic)
    expiry: asyncio.TimerHandle | None = None


class Sending:
    """`delivery_s`: after how long without an acknowledgement a record is given up, all waiting included."""

    def __init__(self, make: Callable[[], AIOKafkaProducer], bootstrap: str, delivery_s: float) -> None:
        self._make, self._bootstrap, self._delivery_s = make, bootstrap, delivery_s
        self._client: AIOKafkaProducer | None = None
        self._open: dict[_Open, None] = {}  # in the order in which they were posted
        self._whole = asyncio.Event()  # unset while the client is replaced
        self._broken: asyncio.Future[None] | None = None  # done when this client sends no more
        self._mending: asyncio.Task[None] | None = None
        self._looking: asyncio.TimerHandle | None = None
        self._silent_since_s: float | None = None
        self._error: BaseException | None = None

    async def start(self) -> None:
        """Raises BrokerUnreachable or KitError."""
        self._client = await broker.start(self._make, self._bootstrap)
        self._broken = asyncio.get_running_loop().create_future()
        self._whole.set()

    async def post(self, record: Outgoing) -> asyncio.Future[Any]:
        """Returns when the record is on its way; what it returns ends with its place, or raises.

        Both raise KitError for a record that is refused, and BrokerUnreachable when its time is up.
        """
        try:
            async with asyncio.timeout(self._delivery_s):
                await self._whole.wait()
                one = _Open(record)
                loop = asyncio.get_running_loop()
                one.expiry = loop.call_later(self._delivery_s, self._expired, one)
                self._open[one] = None
                if self._looking is None:
                    self._looking = loop.call_later(SILENT_S, self._look)
                try:
                    await self._hand_over(one)
                except BaseException:
                    self._settle(one)
                    if not one.answer.cancelled():
                        one.answer.exception()  # nobody will ask for it
                    raise
        except TimeoutError as error:
            raise self._not_in_time() from error
        return one.answer

    async def stop(self, within_s: float) -> int:
        """Waits so long for what is not acknowledged, and returns how many still are not."""
        if self._open:
            await asyncio.wait([one.answer for one in self._open], timeout=within_s)
        left = list(self._open)
        for one in left:
            if not one.answer.done():
                one.answer.set_exception(BrokerUnreachable("was not acknowledged before the end"))
            self._settle(one)
        if self._looking is not None:
            self._looking.cancel()
        if self._mending is not None:
            self._mending.cancel()
            await asyncio.gather(self._mending, return_exceptions=True)
        client, self._client = self._client, None
        if client is not None:
            if left or self._broken is None or self._broken.done():
                await _drop(client)
            else:
                await broker.within(client.stop(), STOP_S)
        return len(left)

    async def _hand_over(self, one: _Open) -> None:
        """Returns when the client has it, when the client broke (what mends it sends it), or when it is settled."""
        client, broken, record = self._client, self._broken, one.record
        while not one.answer.done():
            if client is None or broken is None or broken.done():
                return
            sending = asyncio.ensure_future(
                client.send(
                    record.topic,
                    record.value,
                    key=record.key,
                    partition=record.partition,
                    headers=list(record.headers),
                )
            )
            try:
                await asyncio.wait({sending, broken, one.answer}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not sending.done():
                    sending.cancel()
            if not sending.done():
                return
            try:
                delivery = sending.result()
            except _NOT_YET as error:
                self._error = error
                continue
            except _REFUSED as error:
                raise _refused(error) from error
            except Exception as error:  # whatever it is, this client is of no use
                self._break(client, error)
                return
            delivery.add_done_callback(partial(self._answered, one, client))
            return

    def _answered(self, one: _Open, client: AIOKafkaProducer, delivery: asyncio.Future[Any]) -> None:
        error = asyncio.CancelledError() if delivery.cancelled() else delivery.exception()
        if error is None:
            self._error = None
            if self._silent_since_s is not None:
                silent_s = time.monotonic() - self._silent_since_s
                log.info("the broker at %s takes records again, after %.0f s", self._bootstrap, silent_s)
                self._silent_since_s = None
            if not one.answer.done():
                one.answer.set_result(delivery.result())
            self._settle(one)
            return
        if isinstance(error, _REFUSED) and not one.answer.done():
            one.answer.set_exception(_refused(error))
            self._settle(one)
        self._break(client, error)

    def _break(self, client: AIOKafkaProducer, error: BaseException) -> None:
        """The client takes nothing further, at once: what it holds would arrive before what it has given up."""
        task = client._sender.sender_task
        if client is not self._client or self._broken is None or self._broken.done():
            return
        self._error = error
        self._whole.clear()
        self._broken.set_result(None)
        if task is not None:
            task.cancel()
        if self._mending is None or self._mending.done():
            self._mending = asyncio.create_task(self._mend())

    async def _mend(self) -> None:
        log.warning(
            "the client can send no more (%s): it is replaced, and the %d records without an acknowledgement are sent "
            "again",
            *(type(self._error).__name__, len(self._open)),
        )
        delay_s = RETRY_S
        while True:
            if self._client is not None:
                await _drop(self._client)
            try:
                self._client = await broker.start(self._make, self._bootstrap)
            except KitError as error:
                self._client, self._error = None, error.__cause__ or error
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, RETRY_S_MAX)
                continue
            broken = self._broken = asyncio.get_running_loop().create_future()
            for one in list(self._open):
                try:
                    await self._hand_over(one)
                except KitError as error:
                    if not one.answer.done():
                        one.answer.set_exception(error)
                    self._settle(one)
            if not broken.done():
                self._whole.set()
                return
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, RETRY_S_MAX)

    def _look(self) -> None:
        self._looking = None
        if not self._open:
            return
        self._looking = asyncio.get_running_loop().call_later(SILENT_S, self._look)
        since_s = next(iter(self._open)).since_s
        if self._silent_since_s is None and time.monotonic() - since_s >= SILENT_S:
            self._silent_since_s = since_s
            log.warning(
                "the broker at %s has acknowledged nothing for %.0f s: %d records wait",
                *(self._bootstrap, time.monotonic() - since_s, len(self._open)),
            )

    def _expired(self, one: _Open) -> None:
        if not one.answer.done():
            one.answer.set_exception(self._not_in_time())
        self._settle(one)

    def _settle(self, one: _Open) -> None:
        self._open.pop(one, None)
        if one.expiry is not None:
            one.expiry.cancel()
        one.answer.cancel()  # does nothing to one that has its result

    def _not_in_time(self) -> BrokerUnreachable:
        why = "no answer" if self._error is None else type(self._error).__name__
        return BrokerUnreachable(f"was not acknowledged within {self._delivery_s * 1000:.0f} ms ({why})")


def _refused(error: BaseException) -> KitError:
    return KitError(f"is refused by the broker: {type(error).__name__}: {error}"[:500])


async def _drop(client: AIOKafkaProducer) -> None:
    """Ends a client without what it still holds: `stop` would send that."""
    task = client._sender.sender_task
    if task is not None:
        task.cancel()
        await asyncio.wait({task}, timeout=DROP_S)
        if task.done() and not task.cancelled():
            task.exception()
    client._closed = True
    await broker.within(client.client.close(), DROP_S)
