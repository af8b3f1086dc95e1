"""A ring: entries that expire, by digest, at most so many, in memory and in a changelog of bounded size.

What a batch adds is written to the `state` changelog in the batch's own transaction, as one record in the next of
`slots` slots, and the next owner of the partition reads it back. The slots are a ring: a record that is about to be
overwritten hands its living entries on to the record that overwrites it, so the changelog stays bounded without
tombstones and nothing living is ever lost.

An entry is bytes of one length: when it expires, and a payload that only its owner understands.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

SLOTS = 65_536  # at one id a batch, a quarter of 250,000: then a record hands on about four entries
CARRY_MIN = 64  # how many old entries a batch at least looks through when the ring is full
DIGEST_BYTES = 16
EXPIRY_BYTES = 8

_HEAD = struct.Struct(">BQ")  # format, sequence number


@dataclass(frozen=True, slots=True)
class Change:
    """One record for the changelog: the slot it replaces and its bytes."""

    slot: int
    value: bytes


class _Written(NamedTuple):
    """A changelog record that may hold living entries: those that the ring still knows as these very objects."""

    sequence: int
    expires_max_ms: int
    entries: list[tuple[bytes, bytes]]


class Ring:
    """The entries of one store of one partition number. `form` marks its records, so that no other store reads them."""

    def __init__(self, form: int, payload_bytes: int, ids_max: int, slots: int = SLOTS) -> None:
        self.ids_max = ids_max
        self.slots = slots
        self.evicted = 0  # living entries that had to go because there were more than `ids_max`
        self._form = form
        self._packed = DIGEST_BYTES + EXPIRY_BYTES + payload_bytes
        self._entries: dict[bytes, bytes] = {}
        self._records: deque[_Written] = deque()  # oldest first
        self._references = 0  # entries in `_records`; one that was written again is in several
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, digest: bytes) -> bytes | None:
        """The entry, expired or not."""
        return self._entries.get(digest)

    def expire(self, now_ms: int) -> None:
        """Forgets what has expired, as far as the oldest records have as a whole."""
        while self._records and self._records[0].expires_max_ms <= now_ms:
            oldest = self._records.popleft()
            self._references -= len(oldest.entries)
            for digest, entry in oldest.entries:
                if self._entries.get(digest) is entry:
                    del self._entries[digest]

    def commit(self, new: Mapping[bytes, bytes], now_ms: int) -> Change | None:
        """Keeps `new` and returns the record that says so, for the same transaction.

        Called once the batch is final and before it is sent: if the transaction then fails, this whole ring is
        dropped and read back from the changelog, which knows what was committed.
        """
        if not new:
            return None
        carried = self._make_room(new, now_ms)
        self._sequence += 1
        entries = {**carried, **new}
        self._keep(entries)
        packed = b"".join([digest + entry for digest, entry in entries.items()])
        return Change(self._sequence % self.slots, _HEAD.pack(self._form, self._sequence) + packed)

    def _keep(self, entries: dict[bytes, bytes]) -> None:
        self._entries.update(entries)
        latest = max([entry[:EXPIRY_BYTES] for entry in entries.values()])
        self._records.append(_Written(self._sequence, int.from_bytes(latest), list(entries.items())))
        self._references += len(entries)

    def _make_room(self, new: Mapping[bytes, bytes], now_ms: int) -> dict[bytes, bytes]:
        """Forgets what has expired and, where space is short, hands on or evicts the oldest."""
        carried: dict[bytes, bytes] = {}
        looked_at, looked_at_max = 0, 2 * len(new) + CARRY_MIN
        ids_max = self.ids_max - len(new) + sum(map(self._entries.__contains__, new))
        while self._records:
            oldest = self._records[0]
            overwritten = oldest.sequence <= self._sequence + 1 - self.slots
            over = len(self._entries) > ids_max
            crowded = self._references + len(new) > 2 * self.ids_max and looked_at < looked_at_max
            if oldest.expires_max_ms > now_ms and not (overwritten or over or crowded):
                break
            self._records.popleft()
            self._references -= len(oldest.entries)
            looked_at += len(oldest.entries)
            for digest, entry in oldest.entries:
                if digest in new or self._entries.get(digest) is not entry:
                    continue  # a younger record has it
                if expires_ms(entry) <= now_ms:
                    del self._entries[digest]
                elif len(self._entries) > ids_max:
                    del self._entries[digest]
                    self.evicted += 1
                else:
                    carried[digest] = entry
        return carried

    def restore(self, values: Iterable[bytes], now_ms: int) -> None:
        """Reads the changelog back: the newest value of each slot, in any order. Raises ValueError on a foreign one."""
        records = []
        for value in values:
            if len(value) < _HEAD.size or (len(value) - _HEAD.size) % self._packed:
                raise ValueError(f"a record of {len(value)} bytes cannot be read")
            form, sequence = _HEAD.unpack_from(value)
            if form != self._form:
                raise ValueError(f"a record of format {form} cannot be read; this version writes {self._form}")
            records.append((sequence, value))
        for sequence, value in sorted(records):
            self._sequence = sequence
            entries = {}
            for at in range(_HEAD.size, len(value), self._packed):
                entry = value[at + DIGEST_BYTES : at + self._packed]
                if expires_ms(entry) > now_ms:
                    entries[value[at : at + DIGEST_BYTES]] = entry
            if entries:
                self._keep(entries)


def expires_ms(entry: bytes) -> int:
    return int.from_bytes(entry[:EXPIRY_BYTES])
