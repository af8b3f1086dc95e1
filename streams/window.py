"""The window: which ids are on their way to an action, so that a repeat never becomes a second one.

An id enters with its first record that became a command, a review or a question to the evaluator, and is kept until
its final deadline plus the tolerance. What ended in an exception can become no command: it needs no place, and when it
comes again it is judged again. At most `ids_max` are kept per partition number; beyond that the workflow with the most
loses its oldest, so that none can push out another's, and the promise covers what is left.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from operator import attrgetter
from zlib import crc32

import msgspec

from schemas.decision import Decision, Successor
from streams.batch import Refused, Remembered, Row
from streams.ring import SLOTS, Form, Planned, Ring, expires_ms
from streams.superseding import OWNER_BYTES, owner_of

IDS_MAX = 250_000  # per partition number, about 240 bytes each: 60 MB

_encode = msgspec.json.Encoder(order="sorted").encode  # one content, one text, whatever the order of attributes
_encode_flat = msgspec.json.Encoder().encode
_CONTENT_BYTES = 4
_CONTENT_AT = slice(8, 8 + _CONTENT_BYTES)
_COMMANDED_AT = 8 + _CONTENT_BYTES
_NO_CONTENT = bytes(_CONTENT_BYTES)
_ENTRY = struct.Struct(f">Q{_CONTENT_BYTES}sB{OWNER_BYTES}s")  # expires_ms, content, commanded, whose it is
_FORM = Form(7, _ENTRY.size - 8, OWNER_BYTES, before=(3, _CONTENT_BYTES + 1))
_CONTENT = attrgetter("workflow", "entity", "value_minor", "currency", "confidence", "action", "attributes")


def content_of(decision: Decision | Successor) -> bytes:
    """4 bytes that tell two contents of one id apart: workflow, entity, action bytes, value, currency, confidence and
    attributes. Times are none of it: an id names one decision, however often it is observed, decided and sent again.

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
        self._ring = Ring(_FORM, ids_max, slots)

    def __len__(self) -> int:
        return len(self._ring)

    @property
    def ids_max(self) -> int:
        return self._ring.ids_max

    @property
    def evicted(self) -> int:
        """Living ids that had to go because there were more than `ids_max`."""
        return self._ring.evicted

    def recognise(self, rows: Sequence[Row], now_ms: int) -> Remembered:
        """Refuses among `rows`, which need `digest` and `root`, what was here in an earlier batch.

        Returns an empty note of what this batch adds, which `enter` fills; `met` tells repeats within it.
        """
        get = self._ring.get
        for row in rows:
            known = get(row.digest)
            if known is not None and expires_ms(known) > now_ms:
                row.stage, row.refused = "window", _again(row, known)
        return Remembered()

    def met(self, new: Remembered, row: Row) -> Refused:
        """Why a row may not go on whose id is noted in this batch already: one before it has it, and went out."""
        return _again(row, new.entries[row.digest])

    def is_commanded(self, new: Remembered, row: Row, now_ms: int) -> bool:
        """Whether the row's root has its one command."""
        if row.root is row.digest:
            return False  # a first attempt: that it was not here before has been seen
        known = self._living(row.root, new, now_ms)
        return known is not None and bool(known[_COMMANDED_AT])

    def enter(self, new: Remembered, row: Row, now_ms: int, tolerances_ms: Sequence[int], commanded: bool) -> None:
        """Notes that the row goes out, as its root's one command or towards it. Its root must not have one already."""
        decision = row.decision
        assert decision is not None
        until_ms, owner = row.final_deadline_ms + tolerances_ms[row.policy], owner_of(decision.workflow)
        content = content_of(decision)
        if row.root is row.digest:
            new.entries[row.digest] = _ENTRY.pack(until_ms, content, commanded, owner)
            return
        new.entries[row.digest] = _ENTRY.pack(until_ms, content, 0, owner)
        known = self._living(row.root, new, now_ms)
        if known is None:
            # the root came before the window, or to another partition: it is known from here on by its successor
            known = _ENTRY.pack(until_ms, _NO_CONTENT, 0, owner)
        elif not commanded:
            return
        known_until_ms, content, _, owner = _ENTRY.unpack(known)
        new.entries[row.root] = _ENTRY.pack(max(known_until_ms, until_ms), content, commanded, owner)

    def _living(self, digest: bytes, new: Remembered, now_ms: int) -> bytes | None:
        entry = new.entries.get(digest) or self._ring.get(digest)
        if entry is not None and expires_ms(entry) > now_ms:
            return entry
        return None

    def plan(self, new: Remembered, now_ms: int) -> Planned | None:
        """What the batch adds, to be kept by `apply` once it is committed; see `Ring.plan`."""
        return self._ring.plan(new.entries, now_ms)

    def apply(self, planned: Planned) -> None:
        """See `Ring.apply`."""
        self._ring.apply(planned)

    def restore(self, values: Iterable[bytes], now_ms: int) -> None:
        """Reads the changelog back; see `Ring.restore`."""
        self._ring.restore(values, now_ms)


def _again(row: Row, known: bytes) -> Refused:
    assert row.decision is not None
    return _REPEAT if known[_CONTENT_AT] == content_of(row.decision) else _CONFLICT


_REPEAT = Refused("duplicate.repeat", "this id has gone out before with the same content")
_CONFLICT = Refused("duplicate.conflict", "this id has gone out before with other content")
ROOT_HAS_COMMAND = Refused("duplicate.conflict", "the root of this successor has its command already")
