"""The broker as a process, alone and as one of three: its folder, its ports, its end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from aiokafka.admin import AIOKafkaAdminClient

from streams.errors import ConfigurationError
from streams.runtime.broker import Broker, BrokerConfig, Cluster
from streams.runtime.broker.folder import MARKER, MARKER_TEXT
from streams.runtime.broker.sockets import answers, free_port, live_nodes, refusal
from streams.runtime.topics import apply, inspect

OWNER = """
import os, signal, sys
from pathlib import Path
from streams.runtime.broker import Broker, BrokerConfig
broker = Broker(BrokerConfig(data=Path(sys.argv[1]) if len(sys.argv) > 1 else None))
broker.start()
print(broker.pid, broker.data, flush=True)
signal.pause()
"""
COMMAND = [sys.executable, "-c", "from agents.cli.main import main; main()"]
# how long anything here may take to end; nothing is measured
END_S = 30


def gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def wait_until_gone(pid: int) -> None:
    give_up_at = time.monotonic() + END_S
    while not gone(pid):
        assert time.monotonic() < give_up_at, f"process {pid} is still there"
        time.sleep(0.05)


def command_broker(*options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "broker", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def test_it_comes_back_after_stop_and_after_kill_with_its_topics(tmp_path: Path, prefix: str) -> None:
    broker = Broker(BrokerConfig(data=tmp_path / "data"))
    with broker:
        bootstrap = broker.bootstrap
        await apply(bootstrap, prefix, 2)
        broker.stop()
        assert not broker.running
        assert not answers(broker.port)
        broker.start()
        assert (await inspect(bootstrap, prefix)).partitions == 2
        broker.kill()
        assert not broker.running
        broker.start()
        assert (await inspect(bootstrap, prefix)).partitions == 2
    assert not answers(broker.port)
    with Broker(BrokerConfig(data=tmp_path / "data")) as elsewhere:
        assert elsewhere.bootstrap != bootstrap
        assert (await inspect(elsewhere.bootstrap, prefix)).partitions == 2


def test_a_temporary_folder_is_removed_at_the_end() -> None:
    broker = Broker()
    with broker:
        data = broker.data
        assert (data / "log").is_dir()
    assert not data.exists()


def test_a_taken_port_is_refused_by_number(kafka: Broker) -> None:
    with pytest.raises(ConfigurationError, match=rf"127\.0\.0\.1:{kafka.port}: Address already in use.*--port"):
        Broker(BrokerConfig(port=kafka.port)).start()


def test_a_foreign_folder_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigurationError, match=r"not empty and was not made by `sluicegate broker`"):
        Broker(BrokerConfig(data=tmp_path)).start()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_one_folder_serves_one_broker_at_a_time(kafka: Broker) -> None:
    with pytest.raises(ConfigurationError, match="in use by another broker"):
        Broker(BrokerConfig(data=kafka.data)).start()
    assert answers(kafka.port)


def test_a_broker_that_dies_at_once_shows_the_end_of_its_log(tmp_path: Path) -> None:
    config = BrokerConfig(data=tmp_path / "data", properties={"offsets.topic.num.partitions": "none"})
    broker = Broker(config)
    with pytest.raises(ConfigurationError, match=r"offsets\.topic\.num\.partitions"):
        broker.start()
    assert not broker.running


@pytest.mark.parametrize("kept", [False, True], ids=["temporary", "kept"])
def test_the_jvm_ends_with_its_owner(tmp_path: Path, kept: bool) -> None:
    """SIGKILL gives the owner no chance to say goodbye; its whole process group goes with it."""
    folder = [str(tmp_path / "data")] if kept else []
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, *folder], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    with owner:
        assert owner.stdout is not None
        pid_text, data = owner.stdout.readline().split()
        pid = int(pid_text)
        assert not gone(pid)
        watchers = [one.pid for one in psutil.Process(owner.pid).children() if one.pid != pid]
        assert len(watchers) == 1
        os.killpg(owner.pid, signal.SIGKILL)
    wait_until_gone(pid)
    wait_until_gone(watchers[0])
    assert Path(data).exists() is kept


def test_the_command_says_ready_and_stops_cleanly_on_sigterm(tmp_path: Path) -> None:
    port = free_port()
    with command_broker("--port", str(port), "--data", str(tmp_path / "data")) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        first = command.stdout.readline()
        assert first == f"ready: Apache Kafka on 127.0.0.1:{port}; topics kept in {tmp_path / 'data'}\n"
        assert command.stdout.readline() == f"  export SLUICEGATE_BOOTSTRAP=127.0.0.1:{port}\n"
        children = psutil.Process(command.pid).children()
        command.send_signal(signal.SIGTERM)
        assert command.wait(END_S) == 0
        assert command.stderr.read().endswith("stopped\n")
    for child in children:
        wait_until_gone(child.pid)
    assert not answers(port)


def test_the_command_stops_cleanly_while_it_is_still_starting() -> None:
    with command_broker("--port", str(free_port())) as command:
        assert command.stderr is not None
        while "starting Apache Kafka" not in command.stderr.readline():
            pass
        command.send_signal(signal.SIGINT)
        assert command.wait(END_S) == 0


def test_the_command_refuses_a_taken_port_and_a_foreign_folder_with_2(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        command_broker("--port", str(listener.getsockname()[1])) as one,
    ):
        assert one.wait(END_S) == 2
        assert one.stderr is not None
        assert "Address already in use" in one.stderr.read()
    (tmp_path / "a").touch()
    with command_broker("--port", str(free_port()), "--data", str(tmp_path)) as other:
        assert other.wait(END_S) == 2
        assert other.stderr is not None
        assert "was not made by `sluicegate broker`" in other.stderr.read()


def test_the_command_ends_with_3_when_kafka_ends_by_itself(tmp_path: Path) -> None:
    with command_broker("--port", str(free_port()), "--data", str(tmp_path / "data")) as command:
        assert command.stdout is not None
        command.stdout.readline()
        java = [one for one in psutil.Process(command.pid).children() if "java" in one.name()]
        assert len(java) == 1
        java[0].kill()
        assert command.wait(END_S) == 3
        assert command.stderr is not None
        assert "Kafka ended by itself" in command.stderr.read()


async def copies(bootstrap: str) -> dict[str, set[int]]:
    """How many copies the partitions of each topic have."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        return {
            one["topic"]: {len(part["replicas"]) for part in one["partitions"]} for one in await admin.describe_topics()
        }
    finally:
        await admin.close()


async def the_command_goes_on_with_it_and_none_outlives_it(data: Path | None, prefix: str) -> None:
    """Starting three nodes costs half a minute on a busy machine, so the kept folder is not made twice."""
    first = free_port()
    while any(refusal(first + more) for more in (1, 2)):
        first = free_port()
    with command_broker("--nodes", "3", "--port", str(first), "--data", str(data)) as command:
        assert command.stdout is not None
        bootstrap = ",".join(f"127.0.0.1:{first + more}" for more in range(3))
        assert command.stdout.readline() == f"ready: Apache Kafka on {bootstrap}; topics kept in {data}\n"
        pids = [int(command.stdout.readline().rsplit(" ", 1)[1]) for _ in range(3)]
        assert command.stdout.readline() == f"  export SLUICEGATE_BOOTSTRAP={bootstrap}\n"
        assert (await inspect(bootstrap, prefix)).partitions == 2
        os.kill(pids[1], signal.SIGKILL)
        assert command.stderr is not None
        while "node 2 ended by itself, the others go on" not in command.stderr.readline():
            pass
        children = psutil.Process(command.pid).children()
        command.kill()
        for one in children:
            wait_until_gone(one.pid)


async def test_three_nodes_keep_three_copies_go_on_without_one_and_come_back(tmp_path: Path, prefix: str) -> None:
    config = BrokerConfig(data=tmp_path / "data")
    said: list[str] = []
    with Cluster(config, said.append) as cluster:
        assert [line for line in said if "has joined" in line][2:]
        await apply(cluster.bootstrap, prefix, 2)
        found = await copies(cluster.bootstrap)
        assert {topic: found[topic] for topic in found if topic.startswith(prefix)} == {
            topic: {3} for topic in found if topic.startswith(prefix)
        }
        inspected = await inspect(cluster.bootstrap, prefix)  # asks again while a node has not heard of a topic
        assert inspected.found[f"{prefix}state"].settings["min.insync.replicas"] == "2"
        cluster.kill(2)
        assert cluster.running == (1, 3)
        assert (await inspect(cluster.bootstrap, prefix)).partitions == 2
        with pytest.raises(ConfigurationError, match="in use by another broker"):
            Cluster(config).start()
        cluster.start(2)
        assert live_nodes(cluster.nodes[1].address.port) >= {2}
    assert not any(node.running for node in cluster.nodes)
    with pytest.raises(ConfigurationError, match=r"with 3 nodes and cannot be used by .* with 1 node"):
        Broker(config).start()
    await the_command_goes_on_with_it_and_none_outlives_it(config.data, prefix)


def test_each_port_of_three_nodes_is_looked_at(tmp_path: Path) -> None:
    first = free_port()
    while any(refusal(first + more) for more in (1, 2)):
        first = free_port()
    with (
        socket.create_server(("127.0.0.1", first + 2)),
        pytest.raises(
            ConfigurationError, match=rf"127\.0\.0\.1:{first + 2} for node 3: Address already in use.*--port"
        ),
    ):
        Cluster(BrokerConfig(port=first, data=tmp_path / "data")).start()
    assert not (tmp_path / "data").exists()


def test_the_command_refuses_other_counts_of_nodes_and_folders_made_otherwise_with_2(tmp_path: Path) -> None:
    with command_broker("--nodes", "2") as two:
        assert two.wait(END_S) == 2
        assert two.stderr is not None
        assert "'2' is not one of '1', '3'" in two.stderr.read()
    (tmp_path / MARKER).write_text(MARKER_TEXT)
    with command_broker("--port", str(free_port()), "--data", str(tmp_path)) as old:
        assert old.wait(END_S) == 2
        assert old.stderr is not None
        assert "was made by Apache Kafka 4.3.1 with 1 node and cannot be used by" in old.stderr.read()
    assert [path.name for path in tmp_path.iterdir()] == [MARKER]
    assert (tmp_path / MARKER).read_text() == MARKER_TEXT
