"""Where the batches of a fetched answer begin and end, and what their heads say.

Two fields of a batch are not covered by its checksum: its first offset and its length. Where the checksum does not fit,
the length is not believed either, and the next batch is the next one that is sound; how far a first offset is believed
is decided in `records`.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from aiokafka.record.default_records import DefaultRecordBatch

HEAD = struct.Struct(">qiibIhiqqqhii")
_START = struct.Struct(">qi")
FORMAT_AT, ATTRIBUTES_AT = 16, 21
_OLD_CHECKSUM_AT = 12
CODEC_MASK, APPEND_TIME_MASK, TRANSACTIONAL_MASK, CONTROL_MASK = 0x07, 0x08, 0x10, 0x20
OLD_BYTES_MIN = 14  # of the length of a message in the formats 0 and 1
BYTES_MIN = HEAD.size - _START.size
TRIES_MAX = 64  # of checksums on the way to the next batch: what looks like one may stand in anybody's value


class Frame(NamedTuple):
    """One batch within an answer."""

    start: int
    end: int
    base: int  # its first offset; of a compressed one in an old format, its last
    format: int
    damaged: bool = False  # its length cannot be


class Head(NamedTuple):
    """What the head of a batch of today's format says; it may lie as long as the checksum was not looked at."""

    base: int
    length: int
    leader_epoch: int
    format: int
    checksum: int
    attributes: int
    delta: int
    first_timestamp: int  # what its records count theirs from
    timestamp: int  # the newest
    producer_id: int
    producer_epoch: int
    sequence: int
    records: int

    @property
    def last(self) -> int:
        return self.base + self.delta

    @property
    def codec(self) -> int:
        return self.attributes & CODEC_MASK

    @property
    def append_time(self) -> bool:
        return bool(self.attributes & APPEND_TIME_MASK)


def head_of(data: bytes, frame: Frame) -> Head:
    """The frame's head. One of an old format says its offset, and nothing else that is true of a batch."""
    if frame.format < 2:
        return Head(frame.base, 0, 0, frame.format, 0, 0, 0, -1, -1, -1, -1, -1, 1)
    return Head._make(HEAD.unpack_from(data, frame.start))


def frame_at(data: bytes, at: int) -> Frame | None:
    """The batch that begins there; None at the end, and where the answer cuts it off: then it comes with the next.

    The first of an answer is never cut off: that one's length cannot be.
    """
    size = len(data)
    if size - at <= FORMAT_AT:
        return Frame(at, size, -1, -1, damaged=True) if size and not at else None
    base, length = _START.unpack_from(data, at)
    kind = data[at + FORMAT_AT]
    least = BYTES_MIN if kind >= 2 else OLD_BYTES_MIN
    end = at + _START.size + length
    if length < least or (end > size and not at):
        return Frame(at, size, base, kind, damaged=True)
    return None if end > size else Frame(at, end, base, kind)


def is_sound(data: bytes, frame: Frame) -> bool:
    """Whether its checksum fits."""
    if frame.damaged:
        return False
    whole = memoryview(data)[frame.start : frame.end]
    if frame.format < 2:
        said = int.from_bytes(whole[_OLD_CHECKSUM_AT:FORMAT_AT], "big")
        return zlib.crc32(whole[FORMAT_AT:]) == said
    return bool(DefaultRecordBatch(whole).validate_crc())


def next_sound(data: bytes, frame: Frame) -> Frame | None:
    """The next sound batch behind one that is not; where that one says that it is, or else wherever it is."""
    if not frame.damaged and (after := frame_at(data, frame.end)) is not None and is_sound(data, after):
        return after
    found = frame.start + FORMAT_AT
    tries = 0
    while tries < TRIES_MAX and (found := data.find(b"\x02", found + 1)) >= 0:
        at = found - FORMAT_AT
        if len(data) - at < HEAD.size:
            return None
        _, length = _START.unpack_from(data, at)
        if BYTES_MIN <= length <= len(data) - at - _START.size:
            tries += 1
            after = frame_at(data, at)
            if after is not None and is_sound(data, after):
                return after
    return None
