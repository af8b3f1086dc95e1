"""Record batches by hand, as a broker holds them: of each codec, damaged, and ones that grow beyond all bounds."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import cramjam
from aiokafka.codec import gzip_encode, lz4_encode, snappy_encode, zstd_encode
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c, encode_varint

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
CODECS = {"none": NONE, "gzip": GZIP, "snappy": SNAPPY, "lz4": LZ4, "zstd": ZSTD}
HEAD_BYTES = 61
TIME_MS = 1_764_000_000_000
CHUNK = bytes(1 << 20)
_ENCODE = {
    GZIP: gzip_encode,
    SNAPPY: snappy_encode,
    LZ4: lambda data: lz4_encode(bytes(data)),
    ZSTD: zstd_encode,
}


def batch(
    first_offset: int,
    values: Sequence[bytes],
    codec: int = NONE,
    producer: int = -1,
    headers: Sequence[tuple[str, bytes]] = (),
) -> bytes:
    """A valid batch of those values, with the key `k`."""
    builder = DefaultRecordBatchBuilder(2, NONE, producer >= 0, producer, 0, 0, 1 << 30)
    for index, value in enumerate(values):
        builder.append(index, TIME_MS, b"k", value, list(headers))
    built = bytes(builder.build())
    body = built[HEAD_BYTES:] if codec == NONE else _ENCODE[codec](built[HEAD_BYTES:])
    return sealed(built[:HEAD_BYTES], body, first_offset, codec)


def sealed(head: bytes, body: bytes, first_offset: int, codec: int) -> bytes:
    """A head and a body put together: length, codec and checksum are made to fit."""
    made = bytearray(head) + body
    made[0:8] = first_offset.to_bytes(8, "big")
    made[8:12] = (len(made) - 12).to_bytes(4, "big")
    made[22] = (made[22] & 0xF8) | codec
    made[17:21] = calc_crc32c(bytes(made[21:])).to_bytes(4, "big")
    return bytes(made)


def head(count: int, delta: int | None = None, attributes: int = 0, producer: int = -1) -> bytes:
    """A head whose length and checksum `sealed` fills in."""
    last = count - 1 if delta is None else delta
    return struct.pack(">qiibIhiqqqhii", 0, 0, 0, 2, 0, attributes, last, TIME_MS, TIME_MS, producer, 0, -1, count)


def varint(value: int) -> bytes:
    out = bytearray()
    encode_varint(value, out.append)
    return bytes(out)


def record(key: bytes | None, value: bytes | None, delta: int = 0, headers: bytes = b"\x00") -> bytes:
    """One record's bytes; `headers` begins with their count."""
    told = b"\x00\x00" + varint(delta)
    for part in (key, value):
        told += varint(-1) if part is None else varint(len(part)) + part
    told += headers
    return varint(len(told)) + told


def bomb(first_offset: int, codec: int, mib: int) -> bytes:
    """A valid batch of one record with so many MiB of zeros, made without ever holding them."""
    size = mib << 20
    fields = b"\x00\x00\x00" + varint(1) + b"k" + varint(size)
    length = len(fields) + size + 1
    return sealed(
        head(1), _squeezed(codec, [varint(length) + fields, *(CHUNK for _ in range(mib)), b"\x00"]), first_offset, codec
    )


def many_headers(first_offset: int, codec: int, count: int) -> bytes:
    """A valid batch of one record whose headers take two bytes each there, and a hundred times that as objects."""
    return sealed(
        head(1), _squeezed(codec, [record(b"k", b"v", 0, varint(count) + b"\x00\x01" * count)]), first_offset, codec
    )


def _squeezed(codec: int, chunks: Iterable[bytes]) -> bytes:
    if codec == GZIP:
        packer = zlib.compressobj(9, wbits=31)
        return b"".join([*(packer.compress(chunk) for chunk in chunks), packer.flush()])
    if codec == SNAPPY:
        return bytes(cramjam.snappy.compress_raw(b"".join(chunks)))
    made: Any = cramjam.lz4.Compressor(block_linked=False) if codec == LZ4 else cramjam.zstd.Compressor(3)
    for chunk in chunks:
        made.compress(chunk)
    return bytes(made.finish())


def marker(first_offset: int, producer: int, commits: bool) -> bytes:
    """What the broker writes at the end of a transaction."""
    told = record(struct.pack(">hh", 0, int(commits)), struct.pack(">hi", 0, 0))
    return sealed(head(1, attributes=0x30, producer=producer), told, first_offset, NONE)


def old_message(offset: int, key: bytes | None, value: bytes | None, form: int = 1, codec: int = 0) -> bytes:
    """A message of the formats 0 and 1."""
    told = struct.pack(">bb", form, codec) + (struct.pack(">q", TIME_MS) if form else b"")
    for part in (key, value):
        told += struct.pack(">i", -1) if part is None else struct.pack(">i", len(part)) + part
    return struct.pack(">qiI", offset, len(told) + 4, zlib.crc32(told)) + told


def old_batch(first_offset: int, values: Sequence[bytes], codec: int, form: int = 1) -> bytes:
    """Messages of an old format in one: in format 1 they count from 0, in format 0 they say where they are."""
    last = first_offset + len(values) - 1
    inner = [
        old_message(index if form else first_offset + index, b"k", value, form) for index, value in enumerate(values)
    ]
    return old_message(last, None, _ENCODE[codec](b"".join(inner)), form, codec)


def spans(log: Sequence[tuple[int, int, bytes]], offset: int) -> Iterator[bytes]:
    """What a broker answers to a fetch from `offset`: the batches (first, last, bytes) from the one that holds it."""
    return (data for _, last, data in log if last >= offset)
