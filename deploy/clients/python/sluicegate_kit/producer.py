"""A producer that cannot forget what the gate relies on: the key, Java's partitioner, the times, and no repeats."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner

from sluicegate_kit import kafka as broker
from sluicegate_kit.clock import now_ms
from sluicegate_kit.decision import Decision, encode
from sluicegate_kit.errors import BrokerUnreachable, KitError

DELIVERY_S = 120.0  # Kafka's own default for a delivery; then nobody knows whether it is there


class Sent(NamedTuple):
    """Where the broker put the record."""

    topic: str
    partition: int
    offset: int


class Producer:
    """Sends decisions: `async with Producer("host:9092") as producer: await producer.send(...)`.

    Idempotent and acknowledged by all in-sync copies. `kafka` is for aiokafka's other options (security_protocol,
    ssl_context, sasl_*, linger_ms). Raises BrokerUnreachable on entry if no broker answers, KitError if the topic
    `<prefix>decisions` is not there.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        prefix: str = "sluicegate.",
        kafka: Mapping[str, Any] | None = None,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._options = broker.checked(bootstrap, prefix, kafka)
        self._topic = prefix + "decisions"
        self._clock = clock
        self._client: AIOKafkaProducer | None = None

    async def __aenter__(self) -> Producer:
        shared = {name: value for name, value in self._options.items() if name != "linger_ms"}
        await broker.partitions(shared, [self._topic])
        self._client = await broker.start(
            lambda: AIOKafkaProducer(
                enable_idempotence=True, acks="all", partitioner=DefaultPartitioner(), **self._options
            ),
            str(self._options["bootstrap_servers"]),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            await self._client.stop()
            self._client = None

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
        acknowledged within 120 s: send it again with the same `id`, it may or may not be there.
        """
        return await (await self.post(decision, headers=headers, **fields))

    async def post(
        self, decision: Decision | None = None, /, *, headers: Sequence[tuple[str, bytes]] = (), **fields: Any
    ) -> asyncio.Task[Sent]:
        """As `send`, but returns as soon as the record is on its way; await what it returns for the rest."""
        if self._client is None:
            raise KitError("the producer is not started: use it in `async with Producer(...)`")
        if decision is None:
            try:
                decision = Decision(**fields)
            except TypeError as error:
                raise KitError(f"the decision cannot be sent: {str(error).partition(') ')[2] or error}") from error
        value = encode(decision, self._clock())
        entity = decision.entity
        try:
            sending = self._client.send(self._topic, value, key=entity.encode(), headers=list(headers))
            delivery = await asyncio.wait_for(sending, DELIVERY_S)
        except (KafkaError, TimeoutError) as error:
            raise self._not_sent(decision, error) from error
        return asyncio.create_task(self._delivered(decision, delivery))

    async def _delivered(self, decision: Decision, delivery: asyncio.Future[Any]) -> Sent:
        try:
            found = await asyncio.wait_for(asyncio.shield(delivery), DELIVERY_S)
        except (KafkaError, TimeoutError) as error:
            raise self._not_sent(decision, error) from error
        return Sent(found.topic, found.partition, found.offset)

    def _not_sent(self, decision: Decision, error: BaseException) -> BrokerUnreachable:
        why = f"was not acknowledged ({type(error).__name__}): send it again with the same id"
        return BrokerUnreachable(f"the decision {decision.id!r} {why}")
