"""Which partition a key belongs to: murmur2 of Java's default partitioner, as CONTRACT has it.

Keys that are not known yet are hashed as columns, those of one length together: so an entity costs about half a
microsecond the first time, and a look into a set from then on.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

_SEED = 0x9747B28C
_M = 0x5BD1E995
_MASK = 0xFFFFFFFF
_POSITIVE = 0x7FFFFFFF
KEY_BYTES_MAX = 800  # an entity has at most 200 characters of at most four bytes: a longer key is nobody's
KNOWN_MAX = 65_536  # keys that are remembered, of one partition number: some 6 MB
KNOWN_BYTES_MAX = 64  # of each of them
FEW = 24  # keys of one length; about where columns become cheaper than one after the other
CURE = (
    "set partitioner=murmur2_random in clients of librdkafka (C, C++, C#, Go, Node, PHP, Rust, Python's "
    "confluent-kafka), kafka.Murmur2Balancer in kafka-go, Partitioners.DefaultPartitioner in KafkaJS, "
    "hash_function: :murmur2 in ruby-kafka; the defaults of Java's client, aiokafka and franz-go are right"
)


class Home:
    """What partition `number` of so many can tell of keys: whether they belong to it.

    It remembers those that do, so an entity that comes again costs a look into a set; the others are hashed as columns.
    """

    def __init__(self, number: int = 0, partitions: int = 1) -> None:
        self.number, self.partitions = number, partitions
        self._known: set[bytes] = set()

    def astray(self, keys: Sequence[bytes | None]) -> frozenset[int]:
        """The places of the keys that belong elsewhere.

        Absent and empty keys, and those that are too long for an entity, are left out: they belong nowhere.
        """
        if self.partitions == 1:
            return frozenset()
        known, by_size = self._known, dict[int, list[int]]()
        for place, key in enumerate(keys):
            if key not in known and key and len(key) <= KEY_BYTES_MAX:
                by_size.setdefault(len(key), []).append(place)
        found: set[int] = set()
        for places in by_size.values():
            found.update(self._elsewhere(keys, places))
        self._remember([keys[place] for places in by_size.values() for place in places if place not in found])
        return frozenset(found)

    def _elsewhere(self, keys: Sequence[bytes | None], places: list[int]) -> list[int]:
        some = [keys[place] or b"" for place in places]  # all of one length
        if len(places) < FEW:
            homes = [partition_of(key, self.partitions) for key in some]
            return [at for at, home in zip(places, homes, strict=True) if home != self.number]
        elsewhere = (_murmur2_of(some) & _POSITIVE) % self.partitions != self.number
        return [places[at] for at in np.flatnonzero(elsewhere).tolist()]

    def _remember(self, keys: Sequence[bytes | None]) -> None:
        if len(self._known) + len(keys) > KNOWN_MAX:
            self._known.clear()
        self._known.update(key for key in keys[:KNOWN_MAX] if key and len(key) <= KNOWN_BYTES_MAX)

    def told(self, key: bytes | None) -> str:
        """What a client has to change whose key is astray, in one sentence."""
        home = partition_of(key or b"", self.partitions)
        return (
            f"its key belongs to partition {home} of {self.partitions} (Java's murmur2), "
            f"and it came to partition {self.number}: {CURE}"
        )


@lru_cache(65_536)
def partition_of(key: bytes, partitions: int) -> int:
    """The partition number of a record with this key, where a topic has so many."""
    return (murmur2(key) & _POSITIVE) % partitions


def murmur2(data: bytes) -> int:
    """Java Kafka's murmur2, as an unsigned number of 32 bits."""
    size = len(data)
    hashed = (_SEED ^ size) & _MASK
    whole = size - size % 4
    for at in range(0, whole, 4):
        part = int.from_bytes(data[at : at + 4], "little") * _M & _MASK
        part = (part ^ part >> 24) * _M & _MASK
        hashed = hashed * _M & _MASK ^ part
    if rest := data[whole:]:
        hashed = (hashed ^ int.from_bytes(rest, "little")) * _M & _MASK
    hashed = (hashed ^ hashed >> 13) * _M & _MASK
    return hashed ^ hashed >> 15


def _murmur2_of(keys: Sequence[bytes]) -> npt.NDArray[np.uint32]:
    """The same of many keys of one length; 32-bit columns wrap as the hash wants it."""
    size = len(keys[0])
    padded = -(-size // 4) * 4
    text = np.zeros((len(keys), padded), dtype=np.uint8)
    text[:, :size] = np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(len(keys), size)
    words = text.view("<u4")
    m = np.uint32(_M)
    hashed = np.full(len(keys), (_SEED ^ size) & _MASK, dtype=np.uint32)
    for at in range(size // 4):
        part = words[:, at] * m
        part = (part ^ part >> np.uint32(24)) * m
        hashed = hashed * m ^ part
    if size % 4:
        hashed = (hashed ^ words[:, size // 4]) * m
    hashed = (hashed ^ hashed >> np.uint32(13)) * m
    return hashed ^ hashed >> np.uint32(15)


ANYWHERE = Home()
