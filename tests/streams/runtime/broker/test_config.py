"""What stands in server.properties."""

from __future__ import annotations

from streams.runtime.broker.config import Address, server_properties

NODES = [Address(1, 9092, 19092), Address(2, 9093, 19093), Address(3, 9094, 19094)]
COPIES = (
    "default.replication.factor",
    "offsets.topic.replication.factor",
    "transaction.state.log.replication.factor",
    "share.coordinator.state.topic.replication.factor",
)
IN_SYNC = ("min.insync.replicas", "transaction.state.log.min.isr", "share.coordinator.state.topic.min.isr")


def settings(mine: Address, everyone: list[Address], **extra: str) -> dict[str, str]:
    text = server_properties(mine, everyone, {name.replace("_", "."): value for name, value in extra.items()})
    return dict(line.split("=", 1) for line in text.splitlines())


def test_one_node_is_its_own_quorum_and_keeps_one_copy() -> None:
    found = settings(NODES[0], NODES[:1])
    assert found["controller.quorum.voters"] == "1@127.0.0.1:19092"
    assert {found[name] for name in (*COPIES, *IN_SYNC)} == {"1"}


def test_three_nodes_know_each_other_and_keep_three_copies_of_which_two_are_in_sync() -> None:
    found = settings(NODES[1], NODES)
    assert found["node.id"] == "2"
    assert found["listeners"] == "PLAINTEXT://127.0.0.1:9093,CONTROLLER://127.0.0.1:19093"
    assert found["advertised.listeners"] == "PLAINTEXT://127.0.0.1:9093"
    assert found["controller.quorum.voters"] == "1@127.0.0.1:19092,2@127.0.0.1:19093,3@127.0.0.1:19094"
    assert {found[name] for name in COPIES} == {"3"}
    assert {found[name] for name in IN_SYNC} == {"2"}


def test_given_properties_win() -> None:
    assert settings(NODES[0], NODES, min_insync_replicas="3")["min.insync.replicas"] == "3"
