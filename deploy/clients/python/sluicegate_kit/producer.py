"""A producer that cannot forget what the gate relies on: the key, Java's partitioner, the times, and no repeats."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import DefaultPartitioner

from sluicegate_kit import kafka as broker
from sluicegate_kit.clock import now_ms
from sluicegate_kit.decision import Decision, encode
from sluicegate_kit.errors import BrokerUnreachable, KitError
from sluicegate_kit.limits import MS_MAX
from sluicegate_kit.sending import Outgoing, Sending
from sluicegate_kit.settings import codec, record_headers, shown, steady_clock, whole_number

DELIVERY_MS = 120_000  # Kafka's own default for a delivery; then nobody knows whether it is there


class Sent(NamedTuple):
    """Where the broker put the record."""

    topic: str
    partition: int
    offset: int


class Producer:
    """Sends decisions: `async with Producer("host:9092") as producer: await producer.send(...)`.

    Idempotent and acknowledged by all in-sync copies. While the broker is away decisions wait, each for at most
    `delivery_ms`; when it is back they are sent in their order. `compression` is None, gzip, snappy, lz4 or zstd.
    `kafka` is for aiokafka's other options (security_protocol, ssl_context, sasl_*, linger_ms). Raises KitError for a
    bad option; on entry BrokerUnreachable if no broker answers, KitError if the topic `<prefix>decisions` is not there.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        prefix: str = "sluicegate.",
        compression: str | None = None,
        delivery_ms: int = DELIVERY_MS,
        kafka: Mapping[str, Any] | None = None,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._options = broker.checked(bootstrap, prefix, kafka)
        self._compression = codec(compression)
        self._delivery_s = whole_number("delivery_ms", delivery_ms, 1, MS_MAX) / 1000
        steady_clock(clock)
        self._topic = prefix + "decisions"
        self._clock = clock
        self._sending: Sending | None = None

    async def __aenter__(self) -> Producer:
        await broker.partitions(self._options, [self._topic])
        options = broker.options_of(AIOKafkaProducer, self._options)

        def make() -> AIOKafkaProducer:
            return AIOKafkaProducer(
                enable_idempotence=True,
                acks="all",
                partitioner=DefaultPartitioner(),
                compression_type=self._compression,
                **options,
            )

        sending = Sending(make, str(options["bootstrap_servers"]), self._delivery_s)
        await sending.start()
        self._sending = sending
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Waits for what is under way, but not when it ends with an error."""
        await self.close(self._delivery_s if kind is None else 0)

    async def close(self, within_s: float) -> None:
        """Waits so long for what is under way; what is not acknowledged then raises BrokerUnreachable."""
        if self._sending is not None:
            sending, self._sending = self._sending, None
            await sending.stop(within_s)

    async def send(
        self,
        decision: Decision | None = None,
        /,
        *,
        headers: Sequence[tuple[str, bytes]] = (),
        **fields: Any,
    ) -> Sent:
        """Sends one decision, given whole or by the fields of `Decision`, and waits until it is acknowledged.

        Raises KitError for what the contract refuses (nothing is sent then), BrokerUnreachable if it was not
        acknowledged within `delivery_ms`: send it again with the same `id`, it may or may not be there.
        """
        return await (await self.post(decision, headers=headers, **fields))

    async def post(
        self, decision: Decision | None = None, /, *, headers: Sequence[tuple[str, bytes]] = (), **fields: Any
    ) -> asyncio.Task[Sent]:
        """As `send`, but returns as soon as the record is on its way; await what it returns for the rest."""
        if self._sending is None:
            raise KitError("the producer is not started: use it in `async with Producer(...)`")
        if decision is None:
            try:
                decision = Decision(**fields)
            except TypeError as error:
                raise KitError(f"the decision cannot be sent: {str(error).partition(') ')[2] or error}") from error
        elif fields:
            raise KitError(f"send takes a Decision or its fields, got both: {shown(sorted(fields))}")
        value = encode(decision, self._clock())
        record = Outgoing(self._topic, value, decision.entity.encode(), record_headers(headers))
        try:
            answer = await self._sending.post(record)
        except KitError as error:
            raise _not_sent(decision, error) from error
        return asyncio.create_task(_delivered(decision, answer))


async def _delivered(decision: Decision, answer: asyncio.Future[Any]) -> Sent:
    try:
        found = await answer
    except KitError as error:
        raise _not_sent(decision, error) from error
    return Sent(found.topic, found.partition, found.offset)


def _not_sent(decision: Decision, error: KitError) -> KitError:
    what = f"the decision {shown(decision.id)} {error}"
    if isinstance(error, BrokerUnreachable):
        return BrokerUnreachable(f"{what}: send it again with the same id")
    return KitError(what)
