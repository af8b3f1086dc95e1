"""The topics in a cluster: what is there, creating what is missing, and refusing to work on what would break a promise.

Nothing that exists is ever changed: a topic's settings are its owner's, and a count of partitions cannot be raised
without tearing entities from their order.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    KafkaError,
    NodeNotReadyError,
    NoError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)

from schemas.topics import (
    BY_KIND,
    COPIES,
    Difference,
    FoundTopic,
    Topic,
    data_partitions,
    differing_copies,
    differing_settings,
    in_sync,
    missing,
    name,
    names,
    unequal_counts,
    valid_prefix,
)
from streams.errors import BrokerUnreachable, ConfigurationError

DEFAULT_PARTITIONS = 4
# Kafka's word for "as the broker has it set" (default.replication.factor); with three brokers or more it is three here
BROKERS_DEFAULT = -1
# commands promise an answer within 10 s, and interpreter and imports take some of it
ANSWER_TIMEOUT_S = 8.0
# a broker that is just starting is worth asking again
RETRY_EVERY_S = 0.25
# what creating may take until every topic has its leaders; a fresh broker under load needs a second or two
CREATE_TIMEOUT_S = 30.0
SEEN_EVERY_S = 0.1


@dataclass(frozen=True)
class Inspection:
    """Our topics as they are in the cluster, by name, and what differs from what they should be."""

    found: Mapping[str, FoundTopic]
    partitions: int | None
    missing: tuple[str, ...]
    unequal: tuple[Difference, ...]
    differing: tuple[Difference, ...]


@dataclass(frozen=True)
class Report:
    """What `apply` did: `partitions` is the count of the data topics."""

    partitions: int
    created: tuple[str, ...]
    present: tuple[str, ...]
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Found:
    """What a worker needs to know at start; the warnings are for its log."""

    partitions: int
    warnings: tuple[str, ...]


async def inspect(bootstrap: str, prefix: str, timeout_s: float = ANSWER_TIMEOUT_S) -> Inspection:
    async with _admin(bootstrap, prefix, timeout_s) as admin:
        return await _inspect(admin, prefix)


async def apply(
    bootstrap: str,
    prefix: str,
    partitions: int = DEFAULT_PARTITIONS,
    replication_factor: int = BROKERS_DEFAULT,
    timeout_s: float = ANSWER_TIMEOUT_S,
) -> Report:
    """Creates what is missing. Safe when several do it at once: `decisions` is created first and decides the count."""
    async with _admin(bootstrap, prefix, timeout_s) as admin:
        before = await _inspect(admin, prefix)
        if replication_factor == BROKERS_DEFAULT and await _brokers(admin) >= COPIES:
            replication_factor = COPIES
        created: list[str] = []
        if before.partitions is None:
            created += await _create(admin, prefix, [BY_KIND["decisions"]], partitions, replication_factor)
        count = await _decided_count(admin, prefix)
        rest = [
            table for topic, table in names(prefix).items() if topic in before.missing and table.kind != "decisions"
        ]
        created += await _create(admin, prefix, rest, count, replication_factor)
        await _all_seen(admin, prefix)
        after = await _inspect(admin, prefix)
    return Report(
        partitions=count,
        created=tuple(created),
        present=tuple(topic for topic in names(prefix) if topic not in created),
        differences=after.unequal + after.differing,
    )


async def require(bootstrap: str, prefix: str, timeout_s: float = ANSWER_TIMEOUT_S) -> Found:
    """Raises ConfigurationError for a missing topic or unequal counts; any other difference is a warning."""
    there = await inspect(bootstrap, prefix, timeout_s)
    if there.missing or there.partitions is None:
        raise ConfigurationError(
            f"topics are missing at {bootstrap}: {', '.join(there.missing)}; create them with `sluicegate topics apply "
            f"--prefix {prefix}`, or name the right prefix"
        )
    if there.unequal:
        raise ConfigurationError(
            f"counts of partitions are unequal at {bootstrap}, and outputs go to the partition number of their input: "
            f"{'; '.join(map(str, there.unequal))}; make those topics anew (`sluicegate topics apply "
            f"--prefix {prefix}` creates what is missing), or use another prefix"
        )
    return Found(there.partitions, tuple(str(difference) for difference in there.differing))


@asynccontextmanager
async def _admin(bootstrap: str, prefix: str, timeout_s: float) -> AsyncIterator[AIOKafkaAdminClient]:
    if not valid_prefix(prefix):
        raise ConfigurationError(
            f"the prefix {prefix!r} cannot begin a topic's name: use letters, digits, '.', '_', '-'"
        )
    admin = await _connected(bootstrap, timeout_s)
    try:
        yield admin
    except (KafkaError, TimeoutError) as error:
        raise BrokerUnreachable(
            f"the Kafka at {bootstrap} did not do what was asked ({type(error).__name__}: {error}); look at its log, "
            "then try again"
        ) from error
    finally:
        await admin.close()


async def _connected(bootstrap: str, timeout_s: float) -> AIOKafkaAdminClient:
    reason = "no answer"
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=int(timeout_s * 1000))
                try:
                    await admin.start()
                except (KafkaError, OSError) as error:
                    reason = type(error).__name__
                    await admin.close()
                except BaseException:
                    await admin.close()
                    raise
                else:
                    return admin
                await asyncio.sleep(RETRY_EVERY_S)
    except TimeoutError as error:
        raise BrokerUnreachable(
            f"no Kafka answers at {bootstrap} in {timeout_s:g} s ({reason}): start one with `sluicegate broker`, or "
            "say where yours is with --bootstrap or SLUICEGATE_BOOTSTRAP"
        ) from error
    except ValueError as error:
        raise ConfigurationError(f"--bootstrap {bootstrap!r} is not HOST:PORT[,...]: {error}") from error


async def _inspect(admin: AIOKafkaAdminClient, prefix: str) -> Inspection:
    until_s = time.monotonic() + ANSWER_TIMEOUT_S
    while True:
        try:
            return await _inspect_once(admin, prefix)
        except NodeNotReadyError:  # one of several died a moment ago; the client asks another the next time
            if time.monotonic() > until_s:
                raise
        await asyncio.sleep(RETRY_EVERY_S)


async def _inspect_once(admin: AIOKafkaAdminClient, prefix: str) -> Inspection:
    ours = names(prefix)
    there = {topic["topic"]: topic["partitions"] for topic in await admin.describe_topics() if topic["topic"] in ours}
    copies = {
        topic: min(len(one["replicas"]) for one in partitions) for topic, partitions in there.items() if partitions
    }
    settings = await _settings(admin, copies)
    found = {topic: FoundTopic(len(there[topic]), settings.get(topic, {}), copies[topic]) for topic in copies}
    partitions = data_partitions(prefix, found)
    return Inspection(
        found=found,
        partitions=partitions,
        missing=tuple(missing(prefix, found)),
        unequal=tuple(unequal_counts(prefix, found, partitions)) if partitions is not None else (),
        differing=(*differing_settings(prefix, found), *differing_copies(prefix, found, await _brokers(admin))),
    )


async def _brokers(admin: AIOKafkaAdminClient) -> int:
    return len((await admin.describe_cluster())["brokers"])


async def _counts(admin: AIOKafkaAdminClient) -> dict[str, int]:
    """Partitions by topic: asked for all, because asking for one that is not there may create it."""
    topics = await admin.describe_topics()
    return {topic["topic"]: len(topic["partitions"]) for topic in topics if topic["partitions"]}


async def _settings(admin: AIOKafkaAdminClient, topics: Iterable[str]) -> dict[str, dict[str, str]]:
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics]
    if not resources:
        return {}
    async with asyncio.timeout(CREATE_TIMEOUT_S):
        while True:
            described = [one for response in await admin.describe_configs(resources) for one in response.resources]
            # a broker that has not heard of a topic another broker just named is asked again
            if not any(for_code(one[0]) is UnknownTopicOrPartitionError for one in described):
                break
            await asyncio.sleep(SEEN_EVERY_S)
    return {
        topic: {entry[0]: entry[1] for entry in entries}
        for code, _, _, topic, entries in described
        if for_code(code) is NoError
    }


async def _create(
    admin: AIOKafkaAdminClient, prefix: str, tables: list[Topic], data_count: int, replication_factor: int
) -> list[str]:
    """The names of those we created; one that somebody else created in the meantime is not an error."""
    if not tables:
        return []
    new = [
        NewTopic(
            name(prefix, table.kind),
            table.partitions_of(data_count),
            replication_factor,
            # aiokafka takes the broker's default (-1) only with an explicit "no assignments", and a number only without
            replica_assignments={} if replication_factor == BROKERS_DEFAULT else None,
            topic_configs={key: setting.value for key, setting in table.settings.items()}
            | ({"min.insync.replicas": in_sync(replication_factor).value} if replication_factor >= COPIES else {}),
        )
        for table in tables
    ]
    response = await admin.create_topics(new, timeout_ms=int(CREATE_TIMEOUT_S * 1000))
    created = []
    for topic, code, message in response.topic_errors:
        kind = for_code(code)
        if kind is NoError:
            created.append(topic)
        elif kind is not TopicAlreadyExistsError:
            raise ConfigurationError(f"the broker refuses to create {topic}: {message or kind.__name__}")
    return created


async def _decided_count(admin: AIOKafkaAdminClient, prefix: str) -> int:
    async with asyncio.timeout(CREATE_TIMEOUT_S):
        while True:
            count = (await _counts(admin)).get(name(prefix, "decisions"))
            if count is not None:
                return count
            await asyncio.sleep(SEEN_EVERY_S)


async def _all_seen(admin: AIOKafkaAdminClient, prefix: str) -> None:
    """Until every topic is there with a leader for each partition: what starts next must not trip over them."""
    async with asyncio.timeout(CREATE_TIMEOUT_S):
        while True:
            topics = {topic["topic"]: topic["partitions"] for topic in await admin.describe_topics()}
            ours = [topics.get(topic, []) for topic in names(prefix)]
            if all(partitions and all(one["leader"] >= 0 for one in partitions) for partitions in ours):
                return
            await asyncio.sleep(SEEN_EVERY_S)
