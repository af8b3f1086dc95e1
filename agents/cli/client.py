"""Reaching a Kafka from a command: within a bounded time, and with one sentence when that fails.

The client library logs each failed attempt and then raises; for somebody at a terminal the sentence is enough.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from typing import Protocol, TypeVar

from aiokafka import AIOKafkaClient
from aiokafka.errors import KafkaError

from streams.errors import BrokerUnreachable, ConfigurationError

T = TypeVar("T")

CONNECT_S = 8  # commands promise an answer within 10 s, and interpreter and imports take some of it
STOP_S = 5  # what a client may take to say goodbye to a broker that may be gone


class Client(Protocol):
    async def start(self) -> None: ...
    async def stop(self) -> None: ...


def quiet_client_logs() -> None:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


async def partitions_of(bootstrap: str, topic: str) -> list[int]:
    """The topic's partitions; raises BrokerUnreachable, or ConfigurationError when there is no such topic."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    try:
        await _within_bounds(client.bootstrap(), bootstrap)
        cluster = await _within_bounds(client.fetch_all_metadata(), bootstrap)
    finally:
        await client.close()
    partitions = cluster.partitions_for_topic(topic)
    if not partitions:
        raise ConfigurationError(
            f"there is no topic {topic} at {bootstrap}: create the topics with `sluicegate topics apply`, "
            "or name the right prefix with --prefix"
        )
    return sorted(partitions)


@asynccontextmanager
async def started(client: Client, bootstrap: str) -> AsyncIterator[None]:
    """The client, started and in the end stopped; raises BrokerUnreachable when nobody answers in `CONNECT_S`."""
    try:
        await _within_bounds(client.start(), bootstrap)
        yield
    finally:
        with suppress(KafkaError, OSError, TimeoutError):
            async with asyncio.timeout(STOP_S):
                await client.stop()


async def _within_bounds(call: Awaitable[T], bootstrap: str) -> T:
    try:
        async with asyncio.timeout(CONNECT_S):
            return await call
    except ValueError as error:
        raise ConfigurationError(f"--bootstrap {bootstrap!r} is not HOST:PORT[,...]: {error}") from error
    except (KafkaError, OSError, TimeoutError) as error:
        raise BrokerUnreachable(
            f"no Kafka answers at {bootstrap} ({type(error).__name__}): start one with `sluicegate broker`, "
            "or say where yours is with --bootstrap or SLUICEGATE_BOOTSTRAP"
        ) from error
