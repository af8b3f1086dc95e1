"""A ring: entries that expire, by digest, at most so many, in memory and in a changelog of bounded size.

What a batch adds is written to the `state` changelog in the batch's own transaction, as one record in the next of
`slots` slots, and the next owner of the partition reads it back. The slots are a ring: a record that is about to be
overwritten hands its living entries on to the record that overwrites it, so the changelog stays bounded without
tombstones and nothing living is ever lost.

An entry is bytes of one length: when it expires, and a payload that only its owner understands. The last bytes of the
payload may say to whom it belongs: where there is no room for all, it is the one with the most entries who loses the
oldest of his, so nobody can push out what is another's.

A batch is planned first, which changes nothing, and applied once it is committed.
"""

from __future__ import annotations

import struct
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import islice
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


class Form(NamedTuple):
    """How an entry's payload looks: a number that marks its records, and its length.

    `owner_bytes` at its end say whose it is. `before`: a form that is read as well; what its payload lacks is zero.
    """

    number: int
    payload_bytes: int
    owner_bytes: int = 0
    before: tuple[int, int] | None = None

    @property
    def packed(self) -> int:
        """The length of an entry with its digest."""
        return DIGEST_BYTES + EXPIRY_BYTES + self.payload_bytes


class _Written(NamedTuple):
    """A changelog record that may hold living entries: those that the ring still knows as these very objects."""

    sequence: int
    expires_max_ms: int
    entries: list[tuple[bytes, bytes]]


class Planned(NamedTuple):
    """What a batch makes of the ring, and the record that says so, for the same transaction."""

    change: Change
    entries: Mapping[bytes, bytes]  # what the record holds
    new: Mapping[bytes, bytes]  # those of them that this batch brings
    dropped: Mapping[bytes, None]  # what has expired or has to go
    passed: int  # of the oldest records, which hold nothing any more
    evicted: int
    size: int  # how many entries there are afterwards


class Ring:
    """The entries of one store of one partition number. The form keeps the records of different stores apart."""

    def __init__(self, form: Form, ids_max: int, slots: int = SLOTS) -> None:
        self.ids_max = ids_max
        self.slots = slots
        self.evicted = 0  # living entries that had to go because there were more than `ids_max`
        self._form = form
        self._owner_at = EXPIRY_BYTES + form.payload_bytes - form.owner_bytes
        self._entries: dict[bytes, bytes] = {}
        self._shares: dict[bytes, dict[bytes, None]] = {}  # digests by owner, oldest first
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
                    self._drop(digest)

    def commit(self, new: Mapping[bytes, bytes], now_ms: int) -> Change | None:
        """Keeps `new` at once and returns the record that says so; who commits it in vain throws this away."""
        planned = self.plan(new, now_ms)
        if planned is None:
            return None
        self.apply(planned)
        return planned.change

    def plan(self, new: Mapping[bytes, bytes], now_ms: int) -> Planned | None:
        """What `new` would make of the ring; changes nothing. None: there is nothing new."""
        if not new:
            return None
        carried, dropped = dict[bytes, bytes](), dict[bytes, None]()
        passed = self._pass(new, now_ms, carried, dropped)
        fresh = len(new) - sum(map(self._entries.__contains__, new))
        excess = len(self._entries) + fresh - len(dropped) - self.ids_max
        evicted = self._evict(excess, new, now_ms, carried, dropped) if excess > 0 else 0
        sequence, entries = self._sequence + 1, {**carried, **new}
        packed = b"".join([digest + entry for digest, entry in entries.items()])
        change = Change(sequence % self.slots, _HEAD.pack(self._form.number, sequence) + packed)
        size = len(self._entries) + fresh - len(dropped)
        return Planned(change, entries, new, dropped, passed, evicted, size)

    def apply(self, planned: Planned) -> None:
        """Keeps what was planned last; nothing else may have been applied in between."""
        for digest in planned.dropped:
            self._drop(digest)
        for _ in range(planned.passed):
            self._references -= len(self._records.popleft().entries)
        self.evicted += planned.evicted
        self._sequence += 1
        self._keep(planned.entries, planned.new)

    def _keep(self, entries: Mapping[bytes, bytes], new: Mapping[bytes, bytes]) -> None:
        at, known, last, share = self._owner_at, self._entries, None, dict[bytes, None]()
        for digest, entry in new.items():
            if digest in known:
                self._leave(digest)  # what is written again is young again
                last = None
            if (owner := entry[at:]) != last:
                last, share = owner, self._shares.setdefault(owner, {})
            share[digest] = None
        known.update(entries)
        latest = max([entry[:EXPIRY_BYTES] for entry in entries.values()])
        self._records.append(_Written(self._sequence, int.from_bytes(latest), list(entries.items())))
        self._references += len(entries)

    def _drop(self, digest: bytes) -> None:
        self._leave(digest)
        del self._entries[digest]

    def _leave(self, digest: bytes) -> None:
        owner = self._entries[digest][self._owner_at :]
        share = self._shares[owner]
        del share[digest]
        if not share:
            del self._shares[owner]

    def _pass(
        self, new: Mapping[bytes, bytes], now_ms: int, carried: dict[bytes, bytes], dropped: dict[bytes, None]
    ) -> int:
        """How many of the oldest records are done with: what lives is handed on, what has expired is dropped."""
        looked_at, looked_at_max, passed = 0, 2 * len(new) + CARRY_MIN, 0
        for oldest in self._records:
            overwritten = oldest.sequence <= self._sequence + 1 - self.slots
            crowded = self._references - looked_at + len(new) > 2 * self.ids_max and looked_at < looked_at_max
            over = oldest.expires_max_ms <= now_ms or not any(self._is_living(*one) for one in oldest.entries)
            if not (over or overwritten or crowded):
                break
            passed += 1
            looked_at += len(oldest.entries)
            for digest, entry in oldest.entries:
                if digest in new or not self._is_living(digest, entry):
                    continue  # a younger record has it
                if expires_ms(entry) <= now_ms:
                    dropped[digest] = None
                else:
                    carried[digest] = entry
        return passed

    def _is_living(self, digest: bytes, entry: bytes) -> bool:
        return self._entries.get(digest) is entry

    def _evict(
        self,
        excess: int,
        new: Mapping[bytes, bytes],
        now_ms: int,
        carried: dict[bytes, bytes],
        dropped: dict[bytes, None],
    ) -> int:
        """Drops so many: always of the one who has most, the oldest. Returns how many of them were living."""
        at, evicted = self._owner_at, 0
        totals = Counter({owner: len(share) for owner, share in self._shares.items()})
        totals.update(entry[at:] for digest, entry in new.items() if digest not in self._entries)
        largest = [(-total, owner) for owner, total in totals.items()]
        heapify(largest)
        left: dict[bytes, Iterator[bytes]] = {}
        while excess > 0 and largest:
            total, owner = heappop(largest)
            if (oldest := left.get(owner)) is None:
                oldest = left[owner] = (
                    one for one in self._shares.get(owner, ()) if one not in new and one not in dropped
                )
            wanted = min(excess, max(1, (largest[0][0] if largest else 0) - total))
            gone = list(islice(oldest, wanted))
            for digest in gone:
                evicted += expires_ms(self._entries[digest]) > now_ms
                carried.pop(digest, None)
            dropped.update(dict.fromkeys(gone))
            excess -= len(gone)
            if len(gone) == wanted:
                heappush(largest, (total + wanted, owner))
        return evicted

    def restore(self, values: Iterable[bytes], now_ms: int) -> None:
        """Reads the changelog back: the newest value of each slot, in any order. Raises ValueError on a foreign one."""
        form, sizes = self._form, {self._form.number: self._form.packed}
        if form.before is not None:
            sizes[form.before[0]] = DIGEST_BYTES + EXPIRY_BYTES + form.before[1]
        records = []
        for value in values:
            number, size = value[0] if value else 0, sizes.get(value[0] if value else 0, form.packed)
            if len(value) < _HEAD.size or (len(value) - _HEAD.size) % size:
                raise ValueError(f"a record of {len(value)} bytes cannot be read")
            if number not in sizes:
                raise ValueError(f"a record of format {number} cannot be read; this version writes {form.number}")
            records.append((_HEAD.unpack_from(value)[1], value, size))
        for sequence, value, size in sorted(records):
            self._sequence = sequence
            lacking, entries = bytes(form.packed - size), dict[bytes, bytes]()
            for at in range(_HEAD.size, len(value), size):
                entry = value[at + DIGEST_BYTES : at + size] + lacking
                if expires_ms(entry) > now_ms:
                    entries[value[at : at + DIGEST_BYTES]] = entry
            if entries:
                self._keep(entries, entries)


def expires_ms(entry: bytes) -> int:
    return int.from_bytes(entry[:EXPIRY_BYTES])
