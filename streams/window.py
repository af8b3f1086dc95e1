"""The window: which ids have been here, so that a repeat never becomes a second action.

An id enters with its first record that is not `invalid.*` and is kept until its final deadline plus the tolerance, at
most `ids_max` of them per partition number; beyond that the oldest go and the promise covers the last `ids_max`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from operator import attrgetter
from zlib import crc32

import msgspec

from schemas.decision import Decision, Successor
from streams.batch import Refused, Remembered, Row
from streams.ring import SLOTS, Change, Ring, expires_ms

IDS_MAX = 250_000  # per partition number, about 200 bytes each: 50 MB

_encode = msgspec.json.Encoder(order="sorted").encode  # one content, one text, whatever the order of attributes
_encode_flat = msgspec.json.Encoder().encode
_CONTENT_BYTES = 4
_CONTENT_AT = slice(8, 8 + _CONTENT_BYTES)
_ENTRY = struct.Struct(">Q4sB")  # expires_ms, content, commanded
_FORMAT = 3
_COMMANDED = b"\x01"
_CONTENT = attrgetter(
    "workflow", "entity", "observed_at_ms", "value_minor", "currency", "confidence", "action", "attributes"
)


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


class Window:
    """The ids of one partition number of one role."""

    def __init__(self, ids_max: int = IDS_MAX, slots: int = SLOTS) -> None:
        self._ring = Ring(_FORMAT, _CONTENT_BYTES + 1, ids_max, slots)

    def __len__(self) -> int:
        return len(self._ring)

    @property
    def ids_max(self) -> int:
        return self._ring.ids_max

    @property
    def evicted(self) -> int:
        """Living ids that had to go because there were more than `ids_max`."""
        return self._ring.evicted

    def remember(self, rows: Sequence[Row], now_ms: int, tolerances_ms: Sequence[int]) -> Remembered:
        """Refuses repeats among `rows` and returns what the batch adds; nothing is kept before `commit`.

        Rows need `digest`, `root` and `final_deadline_ms`. `tolerances_ms` is by policy index.
        """
        new = Remembered()
        entries, ring = new.entries, self._ring
        for row in rows:
            decision = row.decision
            assert decision is not None
            content = content_of(decision)
            known = entries.get(row.digest) or ring.get(row.digest)
            if known is not None and expires_ms(known) > now_ms:
                row.stage, row.refused = "window", _REPEAT if known[_CONTENT_AT] == content else _CONFLICT
                continue
            until_ms = row.final_deadline_ms + tolerances_ms[row.policy]
            if until_ms > now_ms:
                entries[row.digest] = _ENTRY.pack(until_ms, content, 0)
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
        until_ms = row.final_deadline_ms + tolerances_ms[row.policy]
        known = self._living(row.root, new, now_ms)
        if known is None:
            # the root came before the window, or to another partition: it is known from here on by its successor
            known = _ENTRY.pack(until_ms, b"\0" * _CONTENT_BYTES, 0)
        known_until_ms, content, commanded = _ENTRY.unpack(known)
        if commanded:
            return False
        new.entries[row.root] = _ENTRY.pack(max(known_until_ms, until_ms), content, 1)
        return True

    def _living(self, digest: bytes, new: Remembered, now_ms: int) -> bytes | None:
        entry = new.entries.get(digest) or self._ring.get(digest)
        if entry is not None and expires_ms(entry) > now_ms:
            return entry
        return None

    def commit(self, new: Remembered, now_ms: int) -> Change | None:
        """Keeps what `remember` found; see `Ring.commit`."""
        return self._ring.commit(new.entries, now_ms)

    def restore(self, values: Iterable[bytes], now_ms: int) -> None:
        """Reads the changelog back; see `Ring.restore`."""
        self._ring.restore(values, now_ms)


_REPEAT = Refused("duplicate.repeat", "this id was here before with the same content")
_CONFLICT = Refused("duplicate.conflict", "this id was here before with other content")
ROOT_HAS_COMMAND = Refused("duplicate.conflict", "the root of this successor has its command already")
