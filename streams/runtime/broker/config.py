"""What a broker of ours is started with, and the `server.properties` made from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"


@dataclass(frozen=True)
class BrokerConfig:
    """Ports that are not given are chosen; a data folder that is not given is a temporary one, removed at the end.

    Of a cluster they are the first node's ports, and the next nodes have those that follow. `optimise` is for
    benchmarks: the compiler that takes longer to warm up and then runs faster, and more heap. `properties` are added
    to server.properties and win over what stands there.
    """

    port: int | None = None
    controller_port: int | None = None
    data: Path | None = None
    optimise: bool = False
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Address:
    """A node by its number, and its two ports: for clients and brokers, and for controllers."""

    number: int
    port: int
    controller_port: int

    def __str__(self) -> str:
        return f"{HOST}:{self.port}"


def server_properties(mine: Address, everyone: Sequence[Address], extra: Mapping[str, str]) -> str:
    """One node that is broker and controller. Paths are relative to the node's folder, in which it runs."""
    copies, in_sync = (3, 2) if len(everyone) > 1 else (1, 1)
    settings = {
        "process.roles": "broker,controller",
        "node.id": str(mine.number),
        # static voters: the dynamic kind writes the controller's port into the data, and it could not change
        "controller.quorum.voters": ",".join(f"{one.number}@{HOST}:{one.controller_port}" for one in everyone),
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{mine},CONTROLLER://{HOST}:{mine.controller_port}",
        "advertised.listeners": f"PLAINTEXT://{mine}",
        "log.dirs": "log",
        # a topic with the wrong settings is worse than none: `sluicegate topics apply` makes them
        "auto.create.topics.enable": "false",
        # nobody else is about to join: the first member of a group need not wait for others
        "group.initial.rebalance.delay.ms": "0",
        # what `topics apply` takes unless it is told otherwise; of three copies one may be away
        "default.replication.factor": str(copies),
        "min.insync.replicas": str(in_sync),
        # 4 partitions of the internal topics are plenty and make the start quick
        "offsets.topic.num.partitions": "4",
        "offsets.topic.replication.factor": str(copies),
        "transaction.state.log.num.partitions": "4",
        "transaction.state.log.replication.factor": str(copies),
        "transaction.state.log.min.isr": str(in_sync),
        "share.coordinator.state.topic.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": str(copies),
        "share.coordinator.state.topic.min.isr": str(in_sync),
        # after a SIGKILL the controller waits for the dead one's session to end before it lets its successor in: 9 s by
        # default, for machines apart; a machine that starves the JVM for 3 s makes a pause, not a loss
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        # the default, 128 MiB, would be a quarter of the heap for compacting topics that hold little
        "log.cleaner.dedupe.buffer.size": str(8 << 20),
        **extra,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def jvm_options(optimise: bool) -> list[str]:
    """The quick set starts in half the time and stays near 200 MB; the other is for measuring."""
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
