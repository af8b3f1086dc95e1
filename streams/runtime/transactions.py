"""One transaction per batch: outputs, changelog and offsets become visible together or not at all.

Two things about aiokafka shape this file. A send that failed for good does not fail the commit after it, so every
acknowledgement is awaited before the commit is asked for. And two of its waits are made for brokers far away: 20 ms
when the markers of the last transaction are still being written (`BACKOFF_OVERRIDE`, a constant of its module) and
`retry_backoff_ms`, hit while the broker verifies a partition for clients of the first transaction protocol; both are
shortened, since together they are most of the time of a small transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import aiokafka.producer.sender
import msgspec
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    BrokerResponseError,
    IncompatibleBrokerVersion,
    InvalidProducerEpoch,
    KafkaError,
    MessageSizeTooLargeError,
    ProducerFenced,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    kafka_errors,
)

from streams.batch import Headers
from streams.runtime.failpoints import reach
from streams.runtime.settings import (
    COMMIT_S,
    PRODUCER_BATCH_BYTES,
    REQUEST_S,
    RETRY_BACKOFF_MS,
    TRANSACTION_S,
    Compression,
)
from streams.runtime.tasks import closed

aiokafka.producer.sender.BACKOFF_OVERRIDE = RETRY_BACKOFF_MS / 1000


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """A record to append, in the partition number of its input."""

    topic: str
    key: bytes | None
    value: bytes | None  # None takes the key away, in a compacted topic
    headers: Headers = ()


class Fenced(Exception):
    """Raised when another owner has initialised the same transactional id: this one may not write any more."""


class Failed(Exception):
    """Raised when a transaction was not committed, or may have been: the hand-over finds out which."""


class Late(Exception):
    """Raised when a deadline in the batch passed before the commit: nothing was committed; it may be decided again."""


class Unsendable(Exception):
    """Raised when a record will never be taken for what it is: nothing was committed, and the rest could be."""


class Denied(Exception):
    """Raised when the broker will never allow it: an ACL is missing, or the broker is too old."""


class InvalidRecordError(BrokerResponseError):  # type: ignore[misc]  # aiokafka has no types
    """Raised when the broker finds that a record may not stand in its topic. aiokafka has no name for it."""

    errno = 87
    message = "INVALID_RECORD"


kafka_errors.setdefault(InvalidRecordError.errno, InvalidRecordError)
_UNSENDABLE = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidRecordError)
LOG_APPEND_TIME = 1  # Kafka's timestamp type
_DENIED = (TopicAuthorizationFailedError, TransactionalIdAuthorizationFailed, IncompatibleBrokerVersion)


def _named(error: BaseException) -> Exception:
    if isinstance(error, (ProducerFenced, InvalidProducerEpoch)):
        return Fenced(str(error))
    if isinstance(error, _DENIED):
        return Denied(f"{type(error).__name__}: {error}")
    if isinstance(error, _UNSENDABLE):
        return Unsendable(f"{type(error).__name__}: {error}")
    cause = error.__cause__
    if isinstance(error, KafkaError) and isinstance(cause, (ProducerFenced, InvalidProducerEpoch)):
        return Fenced(str(cause))
    return Failed(f"{type(error).__name__}: {error}")


class Transactions:
    """The transactional producer of one partition number of one role."""

    def __init__(
        self, bootstrap: str, transactional_id: str, number: int, group: str, compression: Compression = "none"
    ) -> None:
        self.number = number
        self._group = group
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap,
            client_id=transactional_id,
            transactional_id=transactional_id,
            transaction_timeout_ms=int(TRANSACTION_S * 1000),
            request_timeout_ms=int(REQUEST_S * 1000),
            max_batch_size=PRODUCER_BATCH_BYTES,
            compression_type=None if compression == "none" else compression,
            linger_ms=0,
            retry_backoff_ms=RETRY_BACKOFF_MS,
        )

    async def start(self) -> None:
        """Fences the last owner, and waits until what it had in flight is either committed or aborted.

        Raises Failed or Denied.
        """
        try:
            await asyncio.wait_for(self._producer.start(), COMMIT_S)
        except AssertionError as error:
            # a node that has just come up may answer before it knows of any, itself included; aiokafka asserts it does
            raise Failed("the broker names no nodes yet") from error
        except (KafkaError, TimeoutError, OSError) as error:
            raise _named(error) from error

    async def commit(
        self, records: Iterable[Outgoing], offsets: Mapping[TopicPartition, int], is_late: Callable[[int], bool]
    ) -> None:
        """Commits the records and the offsets (of the next records to read) in one transaction.

        `is_late` is asked at the end, with the broker's latest time of the records; 0 where it is not told. Raises
        Late, after which all is as it was; Fenced, Failed, Unsendable or Denied, after which this is of no more use.
        """
        try:
            await asyncio.wait_for(self._commit(records, offsets, is_late), COMMIT_S)
        except (KafkaError, TimeoutError, OSError) as error:
            raise _named(error) from error

    async def _commit(
        self, records: Iterable[Outgoing], offsets: Mapping[TopicPartition, int], is_late: Callable[[int], bool]
    ) -> None:
        producer = self._producer
        await reach("before_transaction")
        await producer.begin_transaction()
        acknowledged = await self._send(records)
        if offsets:  # a timer read nothing
            await producer.send_offsets_to_transaction(dict(offsets), self._group)
        appended_ms = 0  # the broker's time of what it has, where it is the broker's
        for answer in await asyncio.gather(*acknowledged, return_exceptions=True):
            if isinstance(answer, BaseException):
                raise answer
            if answer.timestamp_type == LOG_APPEND_TIME:
                appended_ms = max(appended_ms, answer.timestamp)
        if is_late(appended_ms):
            await producer.abort_transaction()
            raise Late
        await reach("before_commit")
        await producer.commit_transaction()
        await reach("after_commit")

    async def claim(self, records: Iterable[Outgoing], offsets: Mapping[TopicPartition, int]) -> None:
        """Commits how far was read, and of what; no failpoint is on the way. Raises Fenced, Failed or Denied."""

        async def committed() -> None:
            producer = self._producer
            await producer.begin_transaction()
            sent = [
                await producer.send(one.topic, value=one.value, key=one.key, partition=self.number) for one in records
            ]
            await producer.send_offsets_to_transaction(dict(offsets), self._group)
            for answer in await asyncio.gather(*sent, return_exceptions=True):
                if isinstance(answer, BaseException):
                    raise answer
            await producer.commit_transaction()

        try:
            await asyncio.wait_for(committed(), COMMIT_S)
        except (KafkaError, TimeoutError, OSError) as error:
            raise _named(error) from error

    async def _send(self, records: Iterable[Outgoing]) -> list[asyncio.Future[Any]]:
        producer = self._producer
        batches: dict[str, Any] = {}
        acknowledged = []
        for one in records:
            topic = one.topic
            batch = batches.get(topic)
            if batch is None:
                batch = batches[topic] = producer.create_batch()
            if (
                batch.append(
                    key=one.key,
                    value=one.value,
                    timestamp=None,
                    headers=list(one.headers),
                )
                is None
            ):
                acknowledged.append(await producer.send_batch(batch, topic, partition=self.number))
                await reach("between_sends")
                batch = batches[topic] = producer.create_batch()
                if (
                    batch.append(
                        key=one.key,
                        value=one.value,
                        timestamp=None,
                        headers=list(one.headers),
                    )
                    is None
                ):
                    raise Unsendable(f"a record of {len(one.value or b'')} bytes does not fit into a batch for {topic}")
        for topic, batch in batches.items():
            acknowledged.append(await producer.send_batch(batch, topic, partition=self.number))
            await reach("between_sends")
        return acknowledged

    async def stop(self) -> None:
        """Closes the connections; a transaction that is still open is left to the next owner, or to its timeout."""
        await closed(self._producer.stop(), 1.0)
        with contextlib.suppress(KafkaError, OSError):
            await self._producer.client.close()
