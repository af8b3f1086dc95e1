"""Addresses of a Kafka, as people write them: host:port, several with commas between them, IPv6 in brackets."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address

PORT_MAX = 65_535
HOST_CHARS_MAX = 253  # of a name, as DNS has it; its labels have at most 63
LIST_CHARS_MAX = 10_000  # some hundred brokers: a few are enough to find all others
EXAMPLE = "127.0.0.1:9092"
_ONE = re.compile(r"(?:\[(?P<six>[^\[\]]*)\]|(?P<host>[^\[\]:]*)):(?P<port>[0-9]{1,5})", re.ASCII)
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?", re.ASCII)


def bootstrap_servers(text: str) -> str:
    """The addresses, made equal: `a:1,b:2`. Raises ValueError that says which is wrong, and what is expected."""
    if len(text) > LIST_CHARS_MAX:
        raise ValueError(
            f"{len(text)} characters are more than {LIST_CHARS_MAX}: write a few of the brokers, such as {EXAMPLE}"
        )
    found = [_address(one.strip()) for one in text.split(",") if one.strip()]
    if not found:
        raise ValueError(f"no address is in it: write HOST:PORT, such as {EXAMPLE}")
    return ",".join(found)


def _address(text: str) -> str:
    shown = repr(text if len(text) <= 80 else text[:79] + "…")
    match = _ONE.fullmatch(text)
    if match is None:
        raise ValueError(f"{shown} is not HOST:PORT, such as {EXAMPLE}, broker.example:9092 or [::1]:9092")
    port = int(match["port"])
    if not 1 <= port <= PORT_MAX:
        raise ValueError(f"{shown} has the port {port}: a port is 1 to {PORT_MAX}, such as {EXAMPLE}")
    if match["six"] is not None:
        try:
            return f"[{IPv6Address(match['six'])}]:{port}"
        except AddressValueError:
            raise ValueError(f"{shown} has no IPv6 address in its brackets: write one, such as [::1]:9092") from None
    host = _host(match["host"])
    if host is None:
        raise ValueError(
            f"{shown} names no host: a name has at most {HOST_CHARS_MAX} characters, its parts at most 63, such as "
            "broker.example:9092"
        )
    return f"{host}:{port}"


def _host(name: str) -> str | None:
    try:
        host = name.encode("idna").decode("ascii") if not name.isascii() else name
    except UnicodeError:
        return None
    labels = host.removesuffix(".").split(".")
    return host if len(host) <= HOST_CHARS_MAX and all(map(_LABEL.fullmatch, labels)) else None
