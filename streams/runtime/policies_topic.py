"""Reading the topic `policies` to its end, and changing it.

Who changes it uses one transactional id, so there is one writer at a time: the next one fences the last, waits until
what that had in flight is committed or aborted, reads what stands, and decides on that. A tool that is killed in the
middle holds nobody up.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import InvalidProducerEpoch, KafkaError, ProducerFenced, TopicAuthorizationFailedError

from schemas.policy import PolicyDocument
from streams.errors import BrokerUnreachable, ConfigurationError
from streams.governing import Signed, Write, applied, digest_of, document_bytes
from streams.rulebook import Edition, Rulebook
from streams.runtime.clock import clock_ms
from streams.runtime.lookup import reader
from streams.runtime.records import Unreadable, telling
from streams.runtime.settings import Kafka
from streams.runtime.tasks import closed
from streams.runtime.transactions import LOG_APPEND_TIME

CONNECT_S = 8.0
READ_S = 20.0  # for all of it: some thousand records at most
TRIES = 10  # when others write at the same time
_ERRORS = (KafkaError, OSError, TimeoutError, AssertionError)  # the last is aiokafka's, of a node that just came up


class Written(NamedTuple):
    """What was written, and the offset behind it: whoever has read up to there has it in force.

    `at_ms`: the broker's time of it, None where nothing was written or the topic has no times of the broker.
    """

    writes: Sequence[Write]
    behind: int
    at_ms: int | None


def read_into(book: Rulebook, record: Any) -> None:
    """One record of the topic, or what stands for those that cannot be read."""
    if type(record) is Unreadable:
        where = f"{record.topic}/{record.partition}, offsets {record.offset} to {record.through}"
        book.take_unread(record.through, f"{where} cannot be read: {record.detail}")
    else:
        book.take(record.offset, record.key, record.value, record.headers)


async def read_edition(kafka: Kafka) -> Edition:
    """What the topic says now. Raises BrokerUnreachable, and ConfigurationError where there is no topic."""
    partition, book = TopicPartition(kafka.topic("policies"), 0), Rulebook()
    consumer = reader(kafka, "earliest", telling=telling)
    try:
        await asyncio.wait_for(consumer.start(), CONNECT_S)
        async with asyncio.timeout(READ_S):
            await consumer._client._wait_on_metadata(partition.topic)
            consumer.assign([partition])
            await consumer.seek_to_beginning(partition)
            end = (await consumer.end_offsets([partition]))[partition]
            while await consumer.position(partition) < end:
                for record in (await consumer.getmany(partition, timeout_ms=100)).get(partition, []):
                    read_into(book, record)
    except (ValueError, IndexError) as error:
        raise ConfigurationError(f"{kafka.bootstrap!r} is not HOST:PORT[,...]: {error}") from error
    except _ERRORS as error:
        raise _named(kafka, error) from error
    finally:
        await closed(consumer.stop(), 2.0)
    return book.edition()


async def change(kafka: Kafka, make: Callable[[Edition], Sequence[Write]]) -> tuple[Edition, Written]:
    """Writes what `make` wants on top of what stands, all of it or nothing; and what stood before.

    Raises what `make` raises, BrokerUnreachable and ConfigurationError.
    """
    _quiet_when_fenced(asyncio.get_running_loop())
    for _ in range(TRIES):
        with contextlib.suppress(ProducerFenced, InvalidProducerEpoch):
            return await _change(kafka, make)
        await asyncio.sleep(random.uniform(0.02, 0.3))  # noqa: S311  # not to meet the other one again
    raise BrokerUnreachable(f"{TRIES} times somebody else changed the policies meanwhile: look, and try again")


async def seeded(kafka: Kafka, documents: Sequence[PolicyDocument]) -> str | None:
    """Publishes the documents if no policy is in force; what to tell where others are, None where these are now.

    Raises what `change` raises.
    """
    signed = Signed("sluicegate worker", "the first policies, from the folder it was given", clock_ms())
    before, _ = await change(
        kafka, lambda edition: [] if edition.currents else applied(edition, documents, "keep", signed)
    )
    if not before.currents:
        return None
    there = {f"{one.workflow}@{one.version}" for one in before.currents.values()}
    given = {f"{one.workflow}@{one.version}" for one in documents}
    same = given <= there and all(
        before.versions[one.workflow, one.version].digest == digest_of(document_bytes(one)) for one in documents
    )
    if same:
        return None
    other = ", ".join(sorted(there)[:20])
    return f"the folder is not used: {kafka.topic('policies')} has policies ({other}); change them with `policy apply`"


async def _change(kafka: Kafka, make: Callable[[Edition], Sequence[Write]]) -> tuple[Edition, Written]:
    topic = kafka.topic("policies")
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap,
        client_id=f"{kafka.prefix}policies",
        transactional_id=f"{kafka.prefix}/policies",
        transaction_timeout_ms=10_000,
        retry_backoff_ms=10,
    )
    try:
        try:
            await asyncio.wait_for(producer.start(), CONNECT_S)
        except ValueError as error:
            raise ConfigurationError(f"{kafka.bootstrap!r} is not HOST:PORT[,...]: {error}") from error
        edition = await read_edition(kafka)
        writes = make(edition)
        if not writes:
            return edition, Written(writes, edition.next_offset, None)
        async with asyncio.timeout(CONNECT_S), producer.transaction():
            sent = [
                await producer.send(
                    topic, key=one.key.encode(), value=one.value, partition=0, headers=list(one.headers)
                )
                for one in writes
            ]
            acknowledged = [await one for one in sent]
        last = acknowledged[-1]
        at_ms = last.timestamp if last.timestamp_type == LOG_APPEND_TIME else None
        return edition, Written(writes, last.offset + 1, at_ms)
    except (ProducerFenced, InvalidProducerEpoch):
        raise
    except _ERRORS as error:
        if isinstance(error.__cause__, (ProducerFenced, InvalidProducerEpoch)):
            raise error.__cause__ from error
        raise _named(kafka, error) from error
    finally:
        await closed(producer.stop(), 2.0)


def _quiet_when_fenced(loop: asyncio.AbstractEventLoop) -> None:
    """Lets go of the futures in which a fenced client tells itself again what `change` has heard and answers by trying
    once more: nobody awaits them, and the loop would print a traceback for each.
    """
    before = loop.get_exception_handler()

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if isinstance(context.get("exception"), (ProducerFenced, InvalidProducerEpoch)) and "future" in context:
            return
        if before is None:
            loop.default_exception_handler(context)
        else:
            before(loop, context)

    loop.set_exception_handler(handle)


def _named(kafka: Kafka, error: BaseException) -> Exception:
    if isinstance(error, TopicAuthorizationFailedError):
        return ConfigurationError(
            f"the broker does not allow it: {error}; the ACLs of {kafka.topic('policies')} say who may"
        )
    return BrokerUnreachable(
        f"the Kafka at {kafka.bootstrap} does not answer for {kafka.topic('policies')} ({type(error).__name__}): start "
        "one with `sluicegate broker`, create the topics with `sluicegate topics apply`, or say where yours is with "
        "--bootstrap or SLUICEGATE_BOOTSTRAP"
    )
