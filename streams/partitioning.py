"""Which partition a key belongs to: murmur2 of Java's default partitioner, as CONTRACT has it."""

from __future__ import annotations

from functools import lru_cache

_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


@lru_cache(65_536)
def partition_of(key: bytes, partitions: int) -> int:
    """The partition number of a record with this key, where a topic has so many."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """Java Kafka's murmur2, as an unsigned number of 32 bits."""
    size = len(data)
    hashed = (0x9747B28C ^ size) & _MASK
    whole = size - size % 4
    for at in range(0, whole, 4):
        part = int.from_bytes(data[at : at + 4], "little") * _M & _MASK
        part = (part ^ part >> 24) * _M & _MASK
        hashed = hashed * _M & _MASK ^ part
    if rest := data[whole:]:
        hashed = (hashed ^ int.from_bytes(rest, "little")) * _M & _MASK
    hashed = (hashed ^ hashed >> 13) * _M & _MASK
    return hashed ^ hashed >> 15
