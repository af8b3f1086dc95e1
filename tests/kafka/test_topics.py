"""`sluicegate topics apply` and what a worker requires, on a real broker."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from schemas.topics import TOPICS
from streams.errors import BrokerUnreachable, ConfigurationError
from streams.runtime.broker import Broker
from streams.runtime.broker.sockets import free_port
from streams.runtime.topics import Found, apply, inspect, require


async def create(bootstrap: str, topic: str, partitions: int, **settings: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        named = {key.replace("_", "."): value for key, value in settings.items()}
        response = await admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=named)])
        assert [code for _, code, _ in response.topic_errors] == [0]
        while topic not in await admin.list_topics():
            await asyncio.sleep(0.02)
    finally:
        await admin.close()


def command(kafka: Broker, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "from agents.cli.main import main; main()",
            "topics",
            "apply",
            "--bootstrap",
            kafka.bootstrap,
            *options,
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_all_topics_are_created_with_their_settings(kafka: Broker, prefix: str) -> None:
    report = await apply(kafka.bootstrap, prefix, partitions=3)
    assert report.created == tuple(prefix + topic.kind for topic in TOPICS)
    assert report.differences == ()
    there = await inspect(kafka.bootstrap, prefix)
    assert (there.missing, there.unequal, there.differing) == ((), (), ())
    for topic in TOPICS:
        found = there.found[prefix + topic.kind]
        assert found.partitions == (topic.partitions or 3)
        assert {key: found.settings[key] for key in topic.settings} == {
            key: setting.value for key, setting in topic.settings.items()
        }


async def test_a_second_apply_changes_and_reports_nothing(kafka: Broker, prefix: str) -> None:
    await apply(kafka.bootstrap, prefix)
    again = await apply(kafka.bootstrap, prefix)
    assert again.created == ()
    assert len(again.present) == 15
    assert again.differences == ()


async def test_an_existing_decisions_topic_decides_the_count(kafka: Broker, prefix: str) -> None:
    await apply(kafka.bootstrap, prefix, partitions=2)
    assert (await apply(kafka.bootstrap, prefix, partitions=9)).partitions == 2


async def test_two_at_once_agree_on_one_count(kafka: Broker, prefix: str) -> None:
    one, other = await asyncio.gather(apply(kafka.bootstrap, prefix, 2), apply(kafka.bootstrap, prefix, 5))
    assert one.partitions == other.partitions
    assert sorted(one.created + other.created) == sorted(prefix + topic.kind for topic in TOPICS)
    assert one.differences == other.differences == ()


async def test_a_wrong_setting_is_said_with_exit_1_and_left_alone(kafka: Broker, prefix: str) -> None:
    await create(kafka.bootstrap, prefix + "commands", 4, message_timestamp_type="CreateTime", retention_ms="1000")
    before = (await inspect(kafka.bootstrap, prefix)).found[prefix + "commands"]
    done = await asyncio.to_thread(command, kafka, "--prefix", prefix, "--output", "json")
    assert done.returncode == 1, done.stderr
    assert "differ from what the gate relies on" in done.stderr
    report = json.loads(done.stdout)
    assert report["ok"] is False
    assert {(one["topic"], one["setting"], one["found"], one["expected"]) for one in report["differences"]} == {
        (prefix + "commands", "message.timestamp.type", "CreateTime", "LogAppendTime"),
        (prefix + "commands", "retention.ms", "1000", "at least 604800000"),
        (prefix + "commands", "max.message.bytes", "1048588", "at least 2097152"),
    }
    assert (await inspect(kafka.bootstrap, prefix)).found[prefix + "commands"] == before


async def test_what_could_lose_acknowledged_records_is_said(kafka: Broker, prefix: str) -> None:
    unsafe = {"unclean_leader_election_enable": "true", "retention_bytes": "1073741824"}
    more = {"message_timestamp_type": "LogAppendTime", "retention_ms": "604800000"}
    await create(kafka.bootstrap, prefix + "decisions", 4, **unsafe, **more)
    report = await apply(kafka.bootstrap, prefix)
    assert list(map(str, report.differences)) == [
        f"{prefix}decisions: unclean.leader.election.enable is true, expected false",
        f"{prefix}decisions: retention.bytes is 1073741824, expected -1",
    ]
    assert (await inspect(kafka.bootstrap, prefix)).found[prefix + "decisions"].copies == 1


async def test_keeping_more_than_needed_is_not_a_difference(kafka: Broker, prefix: str) -> None:
    await create(
        kafka.bootstrap,
        prefix + "decisions",
        6,
        message_timestamp_type="LogAppendTime",
        retention_ms="-1",
        max_message_bytes="8388608",
    )
    report = await apply(kafka.bootstrap, prefix)
    assert report.partitions == 6
    assert report.differences == ()


async def test_unequal_counts_are_said_and_refused(kafka: Broker, prefix: str) -> None:
    await create(kafka.bootstrap, prefix + "commands", 3)
    report = await apply(kafka.bootstrap, prefix)
    assert f"{prefix}commands: partitions is 3, expected 4" in map(str, report.differences)
    with pytest.raises(ConfigurationError, match=f"{prefix}commands: partitions is 3, expected 4"):
        await require(kafka.bootstrap, prefix)


async def test_require_names_every_missing_topic_and_the_command(kafka: Broker, prefix: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        await require(kafka.bootstrap, prefix)
    assert all(prefix + topic.kind in str(refused.value) for topic in TOPICS)
    assert f"`sluicegate topics apply --prefix {prefix}`" in str(refused.value)


async def test_require_finds_the_count_and_warns_of_other_differences(kafka: Broker, prefix: str) -> None:
    await create(
        kafka.bootstrap, prefix + "context", 4, message_timestamp_type="LogAppendTime", cleanup_policy="delete"
    )
    await apply(kafka.bootstrap, prefix)
    assert await require(kafka.bootstrap, prefix) == Found(
        4, (f"{prefix}context: cleanup.policy is delete, expected compact",)
    )


async def test_no_broker_is_said_within_the_bound() -> None:
    with pytest.raises(BrokerUnreachable, match=r"no Kafka answers at 127\.0\.0\.1:\d+ in 0.5 s"):
        await require(f"127.0.0.1:{free_port()}", "sluicegate.", timeout_s=0.5)


async def test_a_listener_that_never_answers_is_not_waited_for_longer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(BrokerUnreachable):
        await require(f"127.0.0.1:{listener.getsockname()[1]}", "sluicegate.", timeout_s=0.5)


async def test_a_bootstrap_that_is_none_and_a_prefix_kafka_refuses_are_said() -> None:
    with pytest.raises(ConfigurationError, match="HOST:PORT"):
        await require("127.0.0.1:none", "sluicegate.", timeout_s=0.5)
    with pytest.raises(ConfigurationError, match="prefix 'a b'"):
        await require("127.0.0.1:9092", "a b")


def test_the_command_says_what_it_did_in_words(kafka: Broker, prefix: str) -> None:
    first = command(kafka, "--prefix", prefix, "--partitions", "2", "--replication-factor", "1")
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[0] == f"created  {prefix}decisions"
    assert first.stdout.splitlines()[-1] == "15 created, 0 already there, 0 differences; data topics have 2 partitions"
    second = command(kafka, "--prefix", prefix)
    assert second.returncode == 0
    assert "0 created, 15 already there, 0 differences; data topics have 2 partitions (an existing" in second.stdout


def test_more_copies_than_brokers_is_refused_in_the_brokers_words(kafka: Broker, prefix: str) -> None:
    done = command(kafka, "--prefix", prefix, "--replication-factor", "3")
    assert done.returncode == 2
    assert f"the broker refuses to create {prefix}decisions" in done.stderr
