"""What the broker knows a topic by: asked in our version of the question, or in the older one that aiokafka has."""

from __future__ import annotations

import uuid
from io import BytesIO

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.protocol.metadata import MetadataRequest_v5, MetadataResponse_v5

from streams.runtime.broker import Broker
from streams.runtime.identity import Metadata, Uuid, identities
from streams.runtime.lookup import Lookup
from streams.runtime.settings import Kafka
from streams.runtime.transactions import Failed
from streams.truths import TopicIdentity


def test_an_older_broker_is_asked_in_a_version_that_it_knows_and_gives_no_ids() -> None:
    assert Metadata(["t"]).prepare({3: (0, 12)}).API_VERSION == 10
    older = Metadata(["t"]).prepare({3: (0, 9)})
    assert isinstance(older, MetadataRequest_v5)
    assert (older.topics, older.allow_auto_topic_creation) == (["t"], False), "asking creates nothing"
    nobody: list[int] = []
    partitions = [(0, number, 1, [1], [1], nobody) for number in range(2)]
    answer = MetadataResponse_v5(0, [], "c", 1, [(0, "t", False, partitions), (3, "gone", False, [])])
    assert identities(answer) == ("c", {"t": TopicIdentity(None, 2)})


def test_an_id_is_sixteen_bytes() -> None:
    made = uuid.uuid4()
    assert Uuid.decode(BytesIO(Uuid.encode(made))) == made


async def test_a_topic_has_one_id_for_its_life_and_one_that_is_not_there_is_a_failure(
    kafka: Broker, prefix: str
) -> None:
    lookup, admin = Lookup(Kafka(kafka.bootstrap, prefix)), AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(prefix + name, count, 1) for name, count in (("a", 1), ("b", 3))])
        asked = [prefix + "a", prefix + "b"]
        cluster, found = await lookup.identities(asked)
        assert (cluster, found) == await lookup.identities(asked)
        assert cluster == (await admin.describe_cluster())["cluster_id"]
        assert [found[topic].partitions for topic in asked] == [1, 3]
        assert len({found[topic].id for topic in asked} - {None}) == 2
        with pytest.raises(Failed, match=f"there is no topic {prefix}c"):
            await lookup.identities([*asked, prefix + "c"])
        assert prefix + "c" not in await admin.list_topics()
    finally:
        await admin.close()
        await lookup.stop()
