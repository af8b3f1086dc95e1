"""The window: which ids have been here, so that a repeat never becomes a second action.

An id enters with its first record that is not `invalid.*` and is kept until its final deadline plus the tolerance, at
most `ids_max` of them per partition number; beyond that the oldest go and the promise covers the last `ids_max`.

It lives in memory. What a batch adds is written to the `state` changelog in the batch's own transaction, as one record
in the next of `SLOTS` slots, and the next owner of the partition reads it back. The slots are a ring: a record that is
about to be overwritten hands its living entries on to the record that overwrites it, so the changelog stays bounded
without tombstones and nothing living is ever lost.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple
from zlib import crc32

import msgspec

from schemas.decision import Decision, Successor
from streams.batch import Refused, Remembered, Row

IDS_MAX = 250_000  # per partition number, about 200 bytes each: 50 MB
SLOTS = 65_536  # at one id a batch, a quarter of IDS_MAX: then a record hands on about four entries
CARRY_MIN = 64  # how many old entries a batch at least looks through when the ring is full

_encode = msgspec.json.Encoder(order="sorted").encode  # one content, one text, whatever the order of attributes
_encode_flat = msgspec.json.Encoder().encode
_DIGEST_BYTES = 16
_CONTENT_BYTES = 4
_ENTRY = struct.Struct(">4sQB")  # content, expires_ms, commanded
_HEAD = struct.Struct(">BQ")  # format, sequence number
_FORMAT = 2
_PACKED = _DIGEST_BYTES + _ENTRY.size
_COMMANDED = b"\x01"
_CONTENT = attrgetter(
    "workflow", "entity", "observed_at_ms", "value_minor", "currency", "confidence", "action", "attributes"
)


@dataclass(frozen=True, slots=True)
class Change:
    """One record for the changelog: the slot it replaces and its bytes."""

    slot: int
    value: bytes


def content_of(decision: Decision | Successor) -> bytes:
    """4 bytes that tell two contents of one id apart: workflow, entity, action bytes, observed, value, currency,
    confidence, attributes (CONTRACT: `duplicate.conflict`).

    A checksum is enough: where two contents share one, in one case of 2**32, a conflict is called a repeat, and neither
    is acted on.
    """
    fields = _CONTENT(decision)
    if decision.attributes is None:
        return crc32(_encode_flat(fields)).to_bytes(_CONTENT_BYTES)
    return crc32(_encode((*fields[:-1], decision.attributes or None))).to_bytes(_CONTENT_BYTES)


class _Written(NamedTuple):
    """A changelog record that may hold living entries: those that the window still knows as these very objects."""

    sequence: int
    expires_max_ms: int
    entries: list[tuple[bytes, bytes]]


class Window:
    """The ids of one partition number of one role."""

    def __init__(self, ids_max: int = IDS_MAX, slots: int = SLOTS) -> None:
        self.ids_max = ids_max
        self.slots = slots
        self.evicted = 0  # living ids that had to go because there were more than `ids_max`
        self._entries: dict[bytes, bytes] = {}
        self._records: deque[_Written] = deque()  # oldest first
        self._references = 0  # entries in `_records`; an id that was written again is in several
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._entries)

    def remember(self, rows: Sequence[Row], now_ms: int, tolerances_ms: Sequence[int]) -> Remembered:
        """Refuses repeats among `rows` and returns what the batch adds; nothing is kept before `commit`.

        Rows need `digest`, `root` and `final_deadline_ms`. `tolerances_ms` is by policy index.
        """
        new = Remembered()
        entries = new.entries
        for row in rows:
            decision = row.decision
            assert decision is not None
            content = content_of(decision)
            known = entries.get(row.digest) or self._entries.get(row.digest)
            if known is not None and _expires_ms(known) > now_ms:
                row.stage, row.refused = "window", _REPEAT if known[:_CONTENT_BYTES] == content else _CONFLICT
                continue
            expires_ms = row.final_deadline_ms + tolerances_ms[row.policy]
            if expires_ms > now_ms:
                entries[row.digest] = _ENTRY.pack(content, expires_ms, 0)
        return new

    def is_commanded(self, new: Remembered, row: Row, now_ms: int) -> bool:
        """Whether the row's root has its one command."""
        known = self._living(row.root, new, now_ms)
        return known is not None and bool(known[-1])

    def mark_commanded(self, new: Remembered, row: Row, now_ms: int, tolerances_ms: Sequence[int]) -> bool:
        """Notes that the row's root has its one command. False when it has one already: then it must not get this."""
        if row.root is row.digest and (own := new.entries.get(row.root)) is not None and own[-1] == 0:
            new.entries[row.root] = own[:-1] + _COMMANDED  # a first attempt, which this batch added
            return True
        expires_ms = row.final_deadline_ms + tolerances_ms[row.policy]
        known = self._living(row.root, new, now_ms)
        if known is None:
            # the root came before the window, or to another partition: it is known from here on by its successor
            known = _ENTRY.pack(b"\0" * _CONTENT_BYTES, expires_ms, 0)
        content, known_expires_ms, commanded = _ENTRY.unpack(known)
        if commanded:
            return False
        new.entries[row.root] = _ENTRY.pack(content, max(known_expires_ms, expires_ms), 1)
        return True

    def _living(self, digest: bytes, new: Remembered, now_ms: int) -> bytes | None:
        entry = new.entries.get(digest) or self._entries.get(digest)
        if entry is not None and _expires_ms(entry) > now_ms:
            return entry
        return None

    def commit(self, new: Remembered, now_ms: int) -> Change | None:
        """Keeps what `remember` found and returns the record that says so, for the same transaction.

        Called once the batch is final and before it is sent: if the transaction then fails, this whole window is
        dropped and read back from the changelog, which knows what was committed.
        """
        if not new.entries:
            return None
        carried = self._make_room(new.entries, now_ms)
        self._sequence += 1
        entries = carried | new.entries
        self._keep(entries)
        packed = b"".join([digest + entry for digest, entry in entries.items()])
        return Change(self._sequence % self.slots, _HEAD.pack(_FORMAT, self._sequence) + packed)

    def _keep(self, entries: dict[bytes, bytes]) -> None:
        self._entries.update(entries)
        latest = max([entry[_CONTENT_BYTES:-1] for entry in entries.values()])
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
                if _expires_ms(entry) <= now_ms:
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
            if len(value) < _HEAD.size or (len(value) - _HEAD.size) % _PACKED:
                raise ValueError(f"a window record of {len(value)} bytes cannot be read")
            form, sequence = _HEAD.unpack_from(value)
            if form != _FORMAT:
                raise ValueError(f"a window record of format {form} cannot be read; this version writes {_FORMAT}")
            records.append((sequence, value))
        for sequence, value in sorted(records):
            self._sequence = sequence
            entries = {}
            for at in range(_HEAD.size, len(value), _PACKED):
                entry = value[at + _DIGEST_BYTES : at + _PACKED]
                if _expires_ms(entry) > now_ms:
                    entries[value[at : at + _DIGEST_BYTES]] = entry
            if entries:
                self._keep(entries)


def _expires_ms(entry: bytes) -> int:
    return int.from_bytes(entry[_CONTENT_BYTES:-1])


_REPEAT = Refused("duplicate.repeat", "this id was here before with the same content")
_CONFLICT = Refused("duplicate.conflict", "this id was here before with other content")
ROOT_HAS_COMMAND = Refused("duplicate.conflict", "the root of this successor has its command already")
