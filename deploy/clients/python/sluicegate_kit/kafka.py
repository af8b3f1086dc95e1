"""The way to the broker: clients that are started or refused with a clear sentence, and the topics looked at first."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from sluicegate_kit.errors import BrokerUnreachable, KitError
from sluicegate_kit.settings import connection

START_S = 30.0  # a broker that does not answer in this time is not there
CLOSE_S = 5.0  # for a client that did not start
_TAKES = {
    kind: frozenset(inspect.signature(kind.__init__).parameters)
    for kind in (AIOKafkaProducer, AIOKafkaConsumer, AIOKafkaAdminClient)
}


def checked(bootstrap: object, prefix: object, kafka: object) -> dict[str, Any]:
    """The options for every client. Raises KitError for one that cannot be, or that the kit decides itself."""
    options = connection(bootstrap, prefix, kafka)
    if unknown := sorted(options.keys() - frozenset().union(*_TAKES.values())):
        raise KitError(f"the kafka options are refused: no client of aiokafka has one with the name {unknown[0]!r}")
    return options


def options_of(kind: type[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the options that this kind of client has."""
    return {name: value for name, value in options.items() if name in _TAKES[kind]}


async def start(make: Callable[[], Any], bootstrap: str) -> Any:
    """A started client. Raises BrokerUnreachable, or KitError where aiokafka refuses the options."""
    try:
        client = make()
    except Exception as error:  # whatever aiokafka makes of options that are none
        raise KitError(f"the kafka options are refused: {_told(error)}") from error
    try:
        await asyncio.wait_for(client.start(), START_S)
    except (KafkaError, OSError, TimeoutError) as error:
        await _closed(client)
        raise BrokerUnreachable(f"no broker answers at {bootstrap}: {_told(error)}") from error
    except Exception as error:
        await _closed(client)
        raise KitError(f"the kafka options are refused: {type(error).__name__}: {_told(error)}") from error
    except BaseException:
        await _closed(client)
        raise
    return client


async def _closed(client: Any) -> None:
    stop: Callable[[], Awaitable[None]] = getattr(client, "stop", None) or client.close
    await within(stop(), CLOSE_S)


async def within(work: Awaitable[Any], limit_s: float) -> None:
    """Lets a client close for so long, whatever it raises: a task of its own, what is cancelled there is not ours."""
    closing = asyncio.ensure_future(work)
    await asyncio.wait({closing}, timeout=limit_s)
    if not closing.cancel() and not closing.cancelled():
        closing.exception()


async def partitions(options: Mapping[str, Any], topics: Sequence[str]) -> list[int]:
    """How many partitions each topic has. Raises KitError for a missing one, BrokerUnreachable without an answer."""
    bootstrap = str(options["bootstrap_servers"])
    admin = await start(lambda: AIOKafkaAdminClient(**options_of(AIOKafkaAdminClient, options)), bootstrap)
    try:
        described = await asyncio.wait_for(admin.describe_topics(), START_S)
    except (KafkaError, OSError, TimeoutError) as error:
        raise BrokerUnreachable(
            f"the broker at {bootstrap} does not say which topics it has: {_told(error)}"
        ) from error
    finally:
        await _closed(admin)
    there = {topic["topic"]: len(topic["partitions"]) for topic in described}
    for topic in topics:
        if topic not in there:
            raise KitError(
                f"the topic {topic} does not exist at {bootstrap}, or this client may not see it: run `sluicegate "
                "topics apply`, or give the prefix of your topics"
            )
    return [there[topic] for topic in topics]


def _told(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:300]
