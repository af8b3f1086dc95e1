"""Ports on this machine: choosing a free one, seeing a taken one, and asking whether a broker answers there."""

from __future__ import annotations

import random
import socket
import struct

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


def answers(port: int) -> bool:
    """Whether a broker there takes requests and counts itself among the live ones (a listening socket says neither)."""
    try:
        with socket.create_connection((HOST, port), timeout=ANSWER_TIMEOUT_S) as connection:
            connection.sendall(struct.pack(">i", len(METADATA_REQUEST)) + METADATA_REQUEST)
            with connection.makefile("rb") as stream:
                head = stream.read(12)  # length, correlation id, number of live brokers
    except OSError:
        return False
    return len(head) == 12 and int(struct.unpack(">iii", head)[2]) > 0
