"""Ports on this machine: choosing a free one, seeing a taken one, and asking whether a broker answers there."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Iterator
from typing import BinaryIO

from streams.addresses import PORT_MAX
from streams.errors import ConfigurationError
from streams.runtime.broker.config import HOST

# below the range from which systems take ports for outgoing connections: a client that keeps calling a broker which
# is down could otherwise be given the broker's own port, and the broker could not come back
CHOOSE_FROM = range(15_000, 32_000)
CHOOSE_ATTEMPTS = 100
ANSWER_TIMEOUT_S = 2.0

# Metadata, version 1, correlation id 1, no client id, an empty list of topics
METADATA_REQUEST = struct.pack(">hhihi", 3, 1, 1, -1, 0)


def free_port(taken: frozenset[int] = frozenset()) -> int:
    for _ in range(CHOOSE_ATTEMPTS):
        port = random.choice(CHOOSE_FROM)  # noqa: S311 (not a secret, only unlikely to be somebody else's)
        if port not in taken and refusal(port) is None:
            return port
    raise ConfigurationError(f"no free port found on {HOST} in {CHOOSE_ATTEMPTS} attempts; name one with --port")


def refusal(port: int) -> str | None:
    """Why nothing can listen on the port, in the system's words; None when something can."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # as Kafka does: connections of the past do not count, a listener does
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError as error:
            return error.strerror or str(error)
    return None


def ports(first: int | None, count: int, taken: frozenset[int] = frozenset()) -> list[int]:
    """`first` and those that follow it; without a first one, so many free ones. Raises ConfigurationError."""
    if first is None:
        chosen: list[int] = []
        while len(chosen) < count:
            chosen.append(free_port(taken | {*chosen}))
        return chosen
    if first + count - 1 > PORT_MAX:
        raise ConfigurationError(
            f"{count} nodes need {count} ports from {first} on, and there is none after {PORT_MAX}; choose a lower one "
            "with --port"
        )
    return list(range(first, first + count))


def live_nodes(port: int) -> frozenset[int]:
    """The numbers of the nodes that the broker there takes for live; none when it takes no requests (yet)."""
    try:
        with socket.create_connection((HOST, port), timeout=ANSWER_TIMEOUT_S) as connection:
            connection.sendall(struct.pack(">i", len(METADATA_REQUEST)) + METADATA_REQUEST)
            with connection.makefile("rb") as stream:
                return frozenset(_broker_numbers(stream))
    except (OSError, EOFError):
        return frozenset()


def answers(port: int) -> bool:
    """Whether a broker there takes requests and knows a live one (a listening socket says neither)."""
    return bool(live_nodes(port))


def _broker_numbers(stream: BinaryIO) -> Iterator[int]:
    """Of a Metadata response, version 1: length, correlation id, then an array of number, host, port, rack."""

    def read(form: str) -> int:
        wanted = struct.calcsize(form)
        data = stream.read(wanted)
        if len(data) < wanted:
            raise EOFError
        return int(struct.unpack(form, data)[0])

    read(">i"), read(">i")
    for _ in range(read(">i")):
        yield read(">i")
        stream.read(read(">h"))
        read(">i")
        stream.read(max(0, read(">h")))  # -1: no rack
