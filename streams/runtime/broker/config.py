"""What a broker of ours is started with, and the `server.properties` made from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"


@dataclass(frozen=True)
class BrokerConfig:
    """Ports that are not given are chosen; a data folder that is not given is a temporary one, removed at the end.

    `optimise` is for benchmarks: the compiler that takes longer to warm up and then runs faster, and more heap.
    `properties` are added to server.properties and win over what stands there.
    """

    port: int | None = None
    controller_port: int | None = None
    data: Path | None = None
    optimise: bool = False
    properties: Mapping[str, str] = field(default_factory=dict)


def server_properties(port: int, controller_port: int, extra: Mapping[str, str]) -> str:
    """One node that is broker and controller. Paths are relative to the data folder, in which it runs."""
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        # static voters: the dynamic kind writes the controller's port into the data, and it could not change
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "log.dirs": "log",
        # a topic with the wrong settings is worse than none: `sluicegate topics apply` makes them
        "auto.create.topics.enable": "false",
        # nobody else is about to join: the first member of a group need not wait for others
        "group.initial.rebalance.delay.ms": "0",
        # one node holds one copy; 4 partitions of the internal topics are plenty and make the start quick
        "offsets.topic.num.partitions": "4",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        # after a SIGKILL the controller waits for the dead one's session to end before it lets its successor in: 9 s by
        # default, for clusters; a machine that starves the JVM for 3 s makes a pause, not a loss
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        # the default, 128 MiB, would be a quarter of the heap for compacting topics that hold little
        "log.cleaner.dedupe.buffer.size": str(8 << 20),
        **extra,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def jvm_options(optimise: bool) -> list[str]:
    """The quick set starts in half the time and stays near 210 MB; the other is for measuring."""
    quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m"]
    return [
        *(["-Xms1g", "-Xmx1g"] if optimise else quick),
        "-XX:+ExitOnOutOfMemoryError",
        "-Djava.awt.headless=true",
        # what Kafka's libraries do is known to the JVM's makers; without these it says so at every start
        "--enable-native-access=ALL-UNNAMED",
        "--sun-misc-unsafe-memory-access=allow",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
        "-Dorg.slf4j.simpleLogger.showThreadName=false",
    ]
