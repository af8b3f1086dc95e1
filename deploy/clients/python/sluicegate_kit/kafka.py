"""The way to the broker: clients that are started or refused with a clear sentence, and the topics looked at first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from sluicegate_kit.errors import BrokerUnreachable, KitError

START_S = 30.0  # a broker that does not answer in this time is not there
# what the kit decides itself; anything else of aiokafka's options (security above all) may be given
RESERVED = frozenset(
    {"bootstrap_servers", "group_id", "isolation_level", "enable_auto_commit", "enable_idempotence", "acks"}
    | {"transactional_id", "partitioner", "key_serializer", "value_serializer", "max_poll_interval_ms"}
)


def checked(bootstrap: str, prefix: str, kafka: Mapping[str, Any] | None) -> dict[str, Any]:
    """The options for every client. Raises KitError for one that the kit decides itself, or for no address."""
    if not bootstrap.strip():
        raise KitError("bootstrap is empty: give the Kafka's address, HOST:PORT")
    if taken := sorted(RESERVED & (kafka or {}).keys()):
        raise KitError(f"the kafka option {taken[0]!r} is the kit's own: what it promises depends on it")
    if any(char.isspace() for char in prefix):
        raise KitError(f"the prefix {prefix!r} holds spaces: topic names cannot")
    return {"bootstrap_servers": bootstrap, **(kafka or {})}


async def start(make: Callable[[], Any], bootstrap: str) -> Any:
    """A started client. Raises BrokerUnreachable, or KitError where aiokafka refuses the options."""
    try:
        client = make()
    except (ValueError, TypeError, AssertionError) as error:
        raise KitError(f"the kafka options are refused: {error}") from error
    stop: Callable[[], Awaitable[None]] = getattr(client, "stop", None) or client.close
    try:
        await asyncio.wait_for(client.start(), START_S)
    except (KafkaError, OSError, TimeoutError) as error:
        await stop()
        raise BrokerUnreachable(f"no broker answers at {bootstrap}: {_told(error)}") from error
    except ValueError as error:
        await stop()
        raise KitError(f"the bootstrap address {bootstrap!r} cannot be read: {error}") from error
    except BaseException:
        await stop()
        raise
    return client


async def partitions(options: Mapping[str, Any], topics: Sequence[str]) -> list[int]:
    """How many partitions each topic has. Raises KitError for a missing one, BrokerUnreachable without an answer."""
    bootstrap = str(options["bootstrap_servers"])
    admin = await start(lambda: AIOKafkaAdminClient(**options), bootstrap)
    try:
        described = await asyncio.wait_for(admin.describe_topics(), START_S)
    except (KafkaError, TimeoutError) as error:
        raise BrokerUnreachable(
            f"the broker at {bootstrap} does not say which topics it has: {_told(error)}"
        ) from error
    finally:
        await admin.close()
    there = {topic["topic"]: len(topic["partitions"]) for topic in described}
    for topic in topics:
        if topic not in there:
            raise KitError(
                f"the topic {topic} does not exist at {bootstrap}, or this client may not see it: run `sluicegate "
                "topics apply`, or give the prefix of your topics"
            )
    return [there[topic] for topic in topics]


def _told(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
