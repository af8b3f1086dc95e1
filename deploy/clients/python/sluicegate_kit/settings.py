"""What may be set, looked at before anything is started: each refusal names the option, the limit and what works."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Any

from sluicegate_kit.errors import KitError

PORT_MAX = 65535
HOST_CHARS_MAX, LABEL_CHARS_MAX = 253, 63  # of a DNS name
TOPIC_CHARS_MAX = 249  # Kafka's limit for a topic's name
LONGEST_TOPIC = "reevaluations"
TEXT_CHARS_MAX = 200  # of a group's or an executor's name: as for every id in the contract
SHOWN_CHARS_MAX = 60
CODECS = ("gzip", "snappy", "lz4", "zstd")
_HOST = re.compile(r"[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.%]+\]")
_PREFIX = re.compile(r"[A-Za-z0-9._-]*")
# what the kit decides itself; anything else of aiokafka's options (security above all) may be given
RESERVED = frozenset(
    {"bootstrap_servers", "group_id", "isolation_level", "enable_auto_commit", "enable_idempotence", "acks"}
    | {"transactional_id", "partitioner", "key_serializer", "value_serializer", "max_poll_interval_ms"}
    | {"key_deserializer", "value_deserializer", "auto_offset_reset", "compression_type", "loop", "check_crcs"}
)


def shown(value: object) -> str:
    """The value as it may stand in a sentence: short, in one line, whatever it is."""
    try:
        told = ascii(value)
    except Exception:  # a number of too many digits, or a class that cannot show itself
        told = f"a value of the type {type(value).__name__}"
    return told if len(told) <= SHOWN_CHARS_MAX else f"{told[:SHOWN_CHARS_MAX]}..."


def text(name: str, value: object, chars_max: int = TEXT_CHARS_MAX) -> str:
    """The value, if it is text of 1 to `chars_max` characters that can be written. Raises KitError."""
    if not isinstance(value, str):
        raise KitError(f"{name} is {shown(value)}: text is expected")
    if not 1 <= len(value) <= chars_max:
        raise KitError(f"{name} has {len(value)} characters: 1 to {chars_max} are expected")
    if not value.isprintable():  # half a character is not printable either
        raise KitError(f"{name} is {shown(value)}: it may hold no control or half characters")
    return value


def whole_number(name: str, value: object, least: int, most: int) -> int:
    """The value, if it is an integer within the bounds. Raises KitError."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise KitError(f"{name} is {shown(value)}: an integer of at least {least} and at most {most} is expected")
    return value


def address(bootstrap: object) -> str:
    """One or more HOST:PORT, separated by commas. Raises KitError."""
    if not isinstance(bootstrap, str):
        raise KitError(f"bootstrap is {shown(bootstrap)}: text is expected, for example 127.0.0.1:9092")
    if not bootstrap.strip():
        raise KitError("bootstrap is empty: give the Kafka's address, HOST:PORT, for example 127.0.0.1:9092")
    return ",".join(_one_address(part.strip(), bootstrap) for part in bootstrap.split(","))


def _one_address(part: str, bootstrap: str) -> str:
    if _is_ip(part):
        return part  # of version 6 without a port, too
    host, colon, port = (part, "", "") if part.endswith("]") else part.rpartition(":")
    if not colon:
        host = part
    labels = host.removesuffix(".").split(".")
    is_name = len(host) <= HOST_CHARS_MAX and all(1 <= len(label) <= LABEL_CHARS_MAX for label in labels)
    if not _HOST.fullmatch(host) or not is_name:
        raise KitError(
            f"the bootstrap address {shown(bootstrap)} cannot be read: HOST:PORT is expected, for example "
            "127.0.0.1:9092, or several of them separated by commas"
        )
    if colon and not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= PORT_MAX):
        raise KitError(
            f"the bootstrap address {shown(bootstrap)} cannot be read: the port is {shown(port)}, a number "
            f"from 1 to {PORT_MAX} is expected, for example 127.0.0.1:9092"
        )
    return part


def _is_ip(part: str) -> bool:
    try:
        ipaddress.ip_address(part)
    except ValueError:
        return False
    return True


def topic_prefix(prefix: object) -> str:
    """What topic names begin with, as Kafka takes it. Raises KitError."""
    if not isinstance(prefix, str) or not _PREFIX.fullmatch(prefix):
        raise KitError(
            f"the prefix {shown(prefix)} cannot begin a topic's name: letters a-z, digits, '.', '_' and '-' "
            "are expected, for example sluicegate."
        )
    if len(prefix) + len(LONGEST_TOPIC) > TOPIC_CHARS_MAX:
        raise KitError(
            f"the prefix has {len(prefix)} characters: at most {TOPIC_CHARS_MAX - len(LONGEST_TOPIC)} are expected"
        )
    return prefix


def connection(bootstrap: object, prefix: object, kafka: object) -> dict[str, Any]:
    """The options for every client. Raises KitError for one that the kit decides itself, or for no address."""
    where = address(bootstrap)
    topic_prefix(prefix)
    if kafka is None:
        kafka = {}
    if not isinstance(kafka, Mapping) or not all(isinstance(name, str) for name in kafka):
        raise KitError(
            f"kafka is {shown(kafka)}: a dict of aiokafka's options is expected, for example "
            "{'security_protocol': 'SSL', 'ssl_context': context}"
        )
    if "compression_type" in kafka:
        raise KitError("the kafka option 'compression_type' is the kit's own: give compression='lz4' to the producer")
    if taken := sorted(RESERVED & kafka.keys()):
        raise KitError(f"the kafka option {taken[0]!r} is the kit's own: what it promises depends on it")
    return {"bootstrap_servers": where, **kafka}


def codec(compression: object) -> str | None:
    """None, or the name of a codec that Kafka has. Raises KitError."""
    if compression is None or (isinstance(compression, str) and compression in CODECS):
        return compression
    raise KitError(f"compression is {shown(compression)}: one of {', '.join(CODECS)}, or None, is expected")


def record_headers(headers: object) -> list[tuple[str, bytes]]:
    """Headers as Kafka takes them. Raises KitError."""
    if not isinstance(headers, Sequence) or isinstance(headers, str | bytes):
        raise KitError(f"headers are {shown(headers)}: a list of (name, bytes) is expected")
    for each in headers:
        if not (isinstance(each, tuple | list) and len(each) == 2 and isinstance(each[1], bytes)):
            raise KitError(f"headers hold {shown(each)}: pairs are expected, for example ('traceparent', b'00-...')")
        text("a header's name", each[0])
    return [(name, value) for name, value in headers]


def function(name: str, value: object, what: str) -> None:
    """Raises KitError if it cannot be called."""
    if not callable(value):
        raise KitError(f"{name} must be a function {what}, got {shown(value)}")


def steady_clock(clock: object) -> None:
    """Raises KitError for a clock that does not give integer epoch milliseconds."""
    function("clock", clock, "that returns integer epoch milliseconds")
    now = clock()  # type: ignore[operator]  # it can be called: this has just been looked at
    if not isinstance(now, int) or isinstance(now, bool) or now < 0:
        raise KitError(f"clock gives {shown(now)}: integer epoch milliseconds are expected")
