"""What a compressed batch holds, and never more of it than the bound.

A megabyte can hold a gigabyte of zeros, and what a batch says about its own size is only a claim. So it is opened into
a buffer that ends at the bound: who runs against that end is refused, whatever was claimed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import cramjam

# a topic takes 2 MiB of a batch, and text shrinks to a thirtieth at most: more than that is no honest batch
EXPANDED_BYTES_MAX = 64 * 1024 * 1024
FIRST_GUESS = 8  # times the size; what is larger is opened once more, with so many times the room
ROOM_BYTES_MIN = 64 * 1024
SLACK_BYTES = 16  # behind the end: readers that are compiled may look so far past it before they notice
XERIAL = b"\x82SNAPPY\x00"  # Java's snappy: this, two versions, then blocks with their lengths
XERIAL_BYTES = 16

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
NAMES = {GZIP: "gzip", SNAPPY: "snappy", LZ4: "lz4", ZSTD: "zstd"}
_INTO: dict[int, Callable[[Any, Any], int]] = {
    GZIP: cramjam.gzip.decompress_into,
    LZ4: cramjam.lz4.decompress_into,
    ZSTD: cramjam.zstd.decompress_into,
}
_FULL = ("failed to write whole buffer", "Destination buffer is too small")


class Unexpandable(Exception):
    """Raised when a batch cannot be opened, or holds more than the bound: a sentence says which."""


def expanded(codec: int, data: memoryview, before: int, bytes_max: int = EXPANDED_BYTES_MAX) -> memoryview:
    """What `data` holds, behind `before` bytes that are the caller's to fill. Raises Unexpandable."""
    if codec not in NAMES:
        raise Unexpandable(f"its compression {codec} is none that Kafka has")
    try:
        if codec == SNAPPY:
            return _snappy(data, before, bytes_max)
        return _streamed(codec, data, before, bytes_max)
    except cramjam.DecompressionError as error:
        raise Unexpandable(f"its {NAMES[codec]} cannot be decompressed: {error}") from error


def _streamed(codec: int, data: memoryview, before: int, bytes_max: int) -> memoryview:
    room = min(bytes_max, max(ROOM_BYTES_MIN, FIRST_GUESS * len(data)))
    while True:
        held = bytearray(before + room + SLACK_BYTES)
        try:
            size = _INTO[codec](data, memoryview(held)[before : before + room])
        except cramjam.DecompressionError as error:
            if not str(error).startswith(_FULL):
                raise
            if room >= bytes_max:
                raise _too_large(codec, len(data), bytes_max) from error
            room = min(bytes_max, room * FIRST_GUESS)
        else:
            return memoryview(held)[: before + size]


def _snappy(data: memoryview, before: int, bytes_max: int) -> memoryview:
    """Its blocks say how much they hold, and hold exactly that or are damaged: so nothing is opened for too much."""
    blocks = _blocks(data) if bytes(data[: len(XERIAL)]) == XERIAL else [data]
    sizes = [int(cramjam.snappy.decompress_raw_len(block)) for block in blocks]
    if sum(sizes) > bytes_max:
        raise _too_large(SNAPPY, len(data), bytes_max)
    held = bytearray(before + sum(sizes) + SLACK_BYTES)
    at = before
    for block, size in zip(blocks, sizes, strict=True):
        at += cramjam.snappy.decompress_raw_into(block, memoryview(held)[at : at + size])
    return memoryview(held)[:at]


def _blocks(data: memoryview) -> list[memoryview]:
    found, at = [], XERIAL_BYTES
    while at < len(data):
        if bytes(data[at : at + len(XERIAL)]) == XERIAL:  # streams may follow each other
            at += XERIAL_BYTES
            continue
        if at + 4 > len(data):
            raise Unexpandable("its snappy ends within a block's length")
        (size,) = struct.unpack_from(">i", data, at)
        at += 4
        if not 0 < size <= len(data) - at:
            raise Unexpandable(f"its snappy has a block of {size} bytes where {len(data) - at} are left")
        found.append(data[at : at + size])
        at += size
    return found


def _too_large(codec: int, size: int, bytes_max: int) -> Unexpandable:
    return Unexpandable(f"{size} bytes of {NAMES[codec]} hold more than {bytes_max >> 20} MiB")
