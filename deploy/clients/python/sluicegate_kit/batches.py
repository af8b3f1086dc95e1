"""The records of one batch: opened within bounds, read by aiokafka's compiled reader, or why that cannot be.

A header name that is not UTF-8 makes that reader raise in the middle of a batch: Kafka stores such names, and aiokafka
decodes them strictly. Then the batch is read once more by a reader that replaces what it cannot decode; such a name
means nothing to anybody here. What neither can read is damaged.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from aiokafka.record.default_records import DefaultRecordBatch

from sluicegate_kit.expansion import Unexpandable, expanded
from sluicegate_kit.frames import ATTRIBUTES_AT, HEAD, Frame, Head

HEADERS_MAX = 1_000_000  # of a batch: each takes two bytes there, and some 100 as an object
COUNTED_BYTES_MIN = 1024 * 1024  # in fewer bytes there is room for half as many headers, and nobody counts
_OLD = struct.Struct(">qiIbb")  # offset, length, checksum, format, attributes
_OLD_CODEC_MASK, _OLD_APPEND_TIME_MASK = 0x07, 0x08


class Damaged(Exception):
    """Raised when a batch cannot be read, or is beyond bounds: a sentence says why, for whoever looks at the place."""


class OldRecord(NamedTuple):
    """A record of the formats 0 and 1, as old clients left it in logs that are still kept."""

    offset: int
    timestamp: int | None
    timestamp_type: int | None
    key: bytes | None
    value: bytes | None
    checksum: int
    headers: tuple[tuple[str, bytes | None], ...] = ()


class Record(NamedTuple):
    """A record as the careful reader makes it."""

    offset: int
    timestamp: int | None
    timestamp_type: int | None
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    checksum: None = None


def opened(data: bytes, frame: Frame, head: Head) -> memoryview:
    """The batch as it would be uncompressed. Raises Damaged where it is not what it says, or beyond bounds."""
    whole = memoryview(data)[frame.start : frame.end]
    if head.codec:
        try:
            found = expanded(head.codec, whole[HEAD.size :], HEAD.size)
        except Unexpandable as error:
            raise Damaged(str(error)) from error
        found[: HEAD.size] = whole[: HEAD.size]
        found[ATTRIBUTES_AT + 1] &= 0xF8  # no compression
        whole = found
    if len(whole) > COUNTED_BYTES_MIN:
        _count_headers(whole, head.records)
    return whole


def strictly(whole: memoryview) -> Iterator[Any]:
    """The records of an opened batch, as the compiled reader makes them; raises whatever it raises."""
    return iter(DefaultRecordBatch(whole))


def leniently(whole: memoryview, head: Head) -> Iterator[Record]:
    """The same, with every length looked at first. Raises Damaged where one does not fit."""
    at = HEAD.size
    for number in range(head.records):
        if at >= len(whole):
            raise Damaged(f"it says that it has {head.records} records, and has {number}")
        size, at = _varint(whole, at)
        if not 0 < size <= len(whole) - at:
            raise Damaged(f"a record in it has {size} bytes where {len(whole) - at} are left")
        yield _record(whole[at : at + size], head)
        at += size
    if at != len(whole):
        raise Damaged(f"{len(whole) - at} bytes follow its {head.records} records")


def _record(data: memoryview, head: Head) -> Record:
    _, at = _varint(data, 0)
    later_ms, at = _varint(data, at)
    delta, at = _varint(data, at)
    key, at = _field(data, at)
    value, at = _field(data, at)
    count, at = _varint(data, at)
    if not 0 <= count <= len(data) - at:
        raise Damaged(f"a record in it has {count} headers in {len(data) - at} bytes")
    headers = []
    for _ in range(count):
        name, at = _field(data, at)
        told, at = _field(data, at)
        headers.append(((name or b"").decode("utf-8", "backslashreplace"), told))
    if at != len(data):
        raise Damaged(f"{len(data) - at} bytes follow a record in it")
    time_ms = head.timestamp if head.append_time else head.first_timestamp + later_ms
    is_known = time_ms != -1
    kind = int(head.append_time) if is_known else None
    return Record(head.base + delta, time_ms if is_known else None, kind, key, value, headers)


def _field(data: memoryview, at: int) -> tuple[bytes | None, int]:
    size, at = _varint(data, at)
    if size < 0:
        return None, at
    if size > len(data) - at:
        raise Damaged(f"it has a field of {size} bytes where {len(data) - at} are left")
    return bytes(data[at : at + size]), at + size


def _count_headers(whole: memoryview, count: int) -> None:
    """Raises Damaged where there are too many, before an object is made of each."""
    at, total = HEAD.size, 0
    for _ in range(count):
        size, at = _varint(whole, at)
        end = at + size
        for _ in range(3):  # attributes, time, offset
            _, at = _varint(whole, at)
        for _ in range(2):  # key, value
            size, at = _varint(whole, at)
            at += max(size, 0)
        headers, at = _varint(whole, at)
        total += headers
        if headers < 0 or total > HEADERS_MAX:
            raise Damaged(f"its records have {total} headers, and {HEADERS_MAX} are the most that are read")
        if not at <= end <= len(whole):
            raise Damaged("one of its records is longer than it says")
        at = end


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at
        shift += 7
    raise Damaged("one of its lengths has no end")


# the formats 0 and 1


def old_records(data: bytes, frame: Frame) -> list[OldRecord]:
    """The record, or the records that it wraps. Raises Damaged."""
    outer = memoryview(data)[frame.start : frame.end]
    try:
        offset, _, _, form, attributes = _OLD.unpack_from(outer)
        found = _old_record(outer, form)
        codec = attributes & _OLD_CODEC_MASK
        if not codec:
            return [found]
        if found.value is None:
            raise Damaged("it is compressed, and holds nothing")
        inner = expanded(codec, memoryview(found.value), 0)
        within = [_old_record(inner[start:end], form) for start, end in _old_places(inner)]
    except (struct.error, Unexpandable) as error:
        raise Damaged(str(error)) from error
    if not within:
        raise Damaged("it is compressed, and holds nothing")
    shift = offset - within[-1].offset if form == 1 else 0  # in format 1 they count from their first
    timed = found.timestamp if attributes & _OLD_APPEND_TIME_MASK else None
    return [
        one._replace(
            offset=one.offset + shift,
            timestamp=one.timestamp if timed is None else timed,
            timestamp_type=found.timestamp_type,
        )
        for one in within
    ]


def _old_places(data: memoryview) -> Iterator[tuple[int, int]]:
    at = 0
    while at < len(data):
        end = at + 12 + struct.unpack_from(">i", data, at + 8)[0]
        if not at + _OLD.size <= end <= len(data):
            raise Damaged("one of the messages in it is longer than it")
        yield at, end
        at = end


def _old_record(message: memoryview, form: int) -> OldRecord:
    offset, _, checksum, own, attributes = _OLD.unpack_from(message)
    if own != form:
        raise Damaged("it holds messages of two formats")
    at, timestamp, kind = _OLD.size, None, None
    if form == 1:
        (timestamp,) = struct.unpack_from(">q", message, at)
        at, kind = at + 8, int(bool(attributes & _OLD_APPEND_TIME_MASK))
    key, at = _old_field(message, at)
    value, at = _old_field(message, at)
    return OldRecord(offset, None if timestamp == -1 else timestamp, kind, key, value, checksum)


def _old_field(message: memoryview, at: int) -> tuple[bytes | None, int]:
    (size,) = struct.unpack_from(">i", message, at)
    at += 4
    if size > len(message) - at or size < -1:
        raise Damaged(f"it has a field of {size} bytes where {len(message) - at} are left")
    return (None, at) if size < 0 else (bytes(message[at : at + size]), at + size)
