"""Ports, and who is live behind one of them."""

from __future__ import annotations

import socket
import struct
import threading

import pytest

from streams.errors import ConfigurationError
from streams.runtime.broker.sockets import answers, free_port, live_nodes, ports


def test_a_first_port_is_followed_by_the_next_and_none_is_past_the_last() -> None:
    assert ports(9092, 3) == [9092, 9093, 9094]
    assert ports(65_533, 3) == [65_533, 65_534, 65_535]
    with pytest.raises(ConfigurationError, match="3 nodes need 3 ports from 65534 on"):
        ports(65_534, 3)


def test_ports_that_are_not_given_are_different_ones() -> None:
    chosen = ports(None, 3, frozenset({free_port()}))
    assert len(set(chosen)) == 3


def brokers(*numbers: int, rack: bytes | None = None) -> bytes:
    host = b"127.0.0.1"
    racked = struct.pack(">h", -1) if rack is None else struct.pack(">h", len(rack)) + rack
    body = struct.pack(">ii", 1, len(numbers))
    for number in numbers:
        body += struct.pack(">ih", number, len(host)) + host + struct.pack(">i", 9092) + racked
    return struct.pack(">i", len(body)) + body


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (brokers(1, 2, 3), {1, 2, 3}),
        (brokers(2, rack=b"r1"), {2}),
        (brokers(), set()),
        (brokers(1, 2)[:-5], set()),
        (b"", set()),
    ],
    ids=["three", "with a rack", "none yet", "cut short", "hung up"],
)
def test_live_nodes_are_read_from_the_metadata(answer: bytes, expected: set[int]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(2):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(64)
                    connection.sendall(answer)

        server = threading.Thread(target=serve)
        server.start()
        port = listener.getsockname()[1]
        assert live_nodes(port) == expected
        assert answers(port) is bool(expected)
        server.join()


def test_nobody_is_live_where_nothing_listens() -> None:
    assert live_nodes(free_port()) == frozenset()
