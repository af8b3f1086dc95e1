"""Records out of a fetched answer: whatever a header's name holds, and as they were read."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from streams.runtime.records import Kept, Lenient, Raw

NONE, GZIP = 0, 1
NAME = b"abcd"


def batch(first_offset: int, *names: bytes | None, producer: int = -1, compressed: int = NONE) -> bytes:
    """A record for each name, with one header of that name or none; `\\xff` stands in the bytes as such."""
    builder = DefaultRecordBatchBuilder(2, NONE, producer >= 0, producer, 0, 0, 1 << 16)
    for index, name in enumerate(names):
        headers = [] if name is None else [(NAME.decode(), b"1")]
        builder.append(index, 1_764_000_000_000, b"k", b"v%d" % (first_offset + index), headers)
    built = bytearray(builder.build())
    for name in names:
        if name is not None:
            assert len(name) == len(NAME)
            at = built.index(NAME)
            built[at : at + len(NAME)] = name
    if compressed:
        import gzip

        head, body = built[:61], gzip.compress(bytes(built[61:]))
        built = head + body
        built[8:12] = (len(built) - 12).to_bytes(4, "big")
        built[21:23] = (int.from_bytes(built[21:23], "big") | GZIP).to_bytes(2, "big")
    built[0:8] = first_offset.to_bytes(8, "big")
    built[17:21] = calc_crc32c(bytes(built[21:])).to_bytes(4, "big")
    return bytes(built)


def read(kind: type[Lenient], data: bytes, at: int = 0, aborted: Any = None) -> list[Any]:
    return list(kind(TopicPartition("t", 0), Kept(data), aborted, at, None, None, True, READ_COMMITTED))


@pytest.mark.parametrize("compressed", [NONE, GZIP])
@pytest.mark.parametrize("kind", [Lenient, Raw])
def test_a_header_name_that_is_no_text_costs_no_record(kind: type[Lenient], compressed: int) -> None:
    data = batch(0, None, b"good") + batch(2, b"good", b"a\xff\xfed", None, compressed=compressed) + batch(5, b"last")
    found = read(kind, data)
    assert [(one.offset, one.value) for one in found] == [(number, b"v%d" % number) for number in range(6)]
    assert [name for one in found for name, _ in one.headers] == ["good", "good", "a\\xff\\xfed", "last"]


def test_what_was_handed_out_before_is_not_handed_out_again() -> None:
    assert [one.offset for one in read(Raw, batch(0, None, None, b"a\xff\xfed", None), at=1)] == [1, 2, 3]


def test_what_was_aborted_stays_away() -> None:
    data = batch(0, None, producer=7) + batch(1, b"a\xff\xfed", producer=8) + batch(2, None, producer=7)
    assert [one.offset for one in read(Raw, data, aborted=[(7, 0)])] == [1]
