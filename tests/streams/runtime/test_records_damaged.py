"""Whatever bytes a broker holds: nothing raises, nothing is read twice or for ever, and what is whole is read."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED

from streams.runtime.frames import HEAD
from streams.runtime.records import ANSWER_BYTES_MAX, Kept, Lenient, Raw, Unreadable, telling
from tests.streams.runtime.batching import (
    CODECS,
    GZIP,
    HEAD_BYTES,
    LZ4,
    NONE,
    SNAPPY,
    ZSTD,
    batch,
    bomb,
    head,
    many_headers,
    marker,
    old_batch,
    old_message,
    record,
    sealed,
    spans,
    varint,
)

PLACE = TopicPartition("t", 0)
Log = Sequence[tuple[int, int, bytes]]


def answer(data: bytes, at: int = 0, aborted: Any = None, kind: type[Lenient] = Raw, key: Any = telling) -> Lenient:
    return kind(PLACE, Kept(data), aborted, at, key, None, True, READ_COMMITTED)


def consumed(log: Log, at: int = 0) -> list[Any]:
    """What a consumer that is told of everything gets from a log, fetch after fetch."""
    found: list[Any] = []
    end = log[-1][1] + 1
    for _ in range(3 * (end - at) + 10):
        if at >= end:
            return found
        made = Raw(PLACE, Kept(b"".join(spans(log, at))), None, at, telling, None, True, READ_UNCOMMITTED)
        found += made
        assert made.next_fetch_offset > at, "it reads the same for ever"
        at = made.next_fetch_offset
    raise AssertionError(f"it stands at {at} of {end}")


def whole(first: int, codec: int, count: int = 5) -> tuple[int, int, bytes]:
    return first, first + count - 1, batch(first, values(first, count), codec)


def values(first: int, count: int = 5) -> list[bytes]:
    return [b'{"id": "d-%d", "filler": "%s"}' % (first + n, b"abcdefgh" * 8) for n in range(count)]


def read(found: Sequence[Any]) -> list[tuple[int, bytes]]:
    return [(one.offset, one.value) for one in found if not isinstance(one, Unreadable)]


def unread(found: Sequence[Any]) -> list[tuple[int, int]]:
    return [(one.offset, one.through) for one in found if isinstance(one, Unreadable)]


@pytest.mark.parametrize("codec", CODECS.values(), ids=list(CODECS))
@pytest.mark.parametrize("kind", [Lenient, Raw])
def test_every_codec_is_read(kind: type[Lenient], codec: int) -> None:
    data = batch(0, values(0), codec, headers=[("h", b"1")]) + batch(5, values(5, 2000), codec)
    found = list(answer(data, kind=kind))
    assert read(found) == list(enumerate(values(0, 2005)))
    assert [len(one.headers) for one in found[:6]] == [1, 1, 1, 1, 1, 0]


@pytest.mark.parametrize("form", [0, 1])
@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4])
def test_the_formats_of_old_clients_are_read(codec: int, form: int) -> None:
    behind = old_batch(4, [b"v4", b"v5"], codec, form) + batch(6, [b"v6"])
    data = old_message(3, b"k", b"v3", form) + behind
    assert read(list(answer(data, at=3))) == [(3, b"v3"), (4, b"v4"), (5, b"v5"), (6, b"v6")]
    assert read(list(answer(behind, at=5))) == [(5, b"v5"), (6, b"v6")]


def five() -> bytes:
    return b"".join(record(b"k", b"v", delta) for delta in range(5))


def truncated(data: bytes) -> bytes:
    return sealed(data[:HEAD_BYTES], data[HEAD_BYTES:-9], 5, data[22] & 7)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda: bytes([*batch(5, values(5))[:-3], 0, 0, 0]), "its checksum does not fit its bytes"),
        (lambda: truncated(batch(5, values(5), ZSTD)), "its zstd cannot be decompressed: incomplete frame"),
        (lambda: truncated(batch(5, values(5), LZ4)), "its lz4 cannot be decompressed: lz4: truncated frame"),
        (lambda: truncated(batch(5, values(5), GZIP)), "its gzip cannot be decompressed: incomplete deflate stream"),
        (lambda: truncated(batch(5, values(5), SNAPPY)), "its snappy has a block of"),
        (lambda: sealed(head(5), b"not zstd at all", 5, ZSTD), "its zstd cannot be decompressed: "),
        (lambda: sealed(head(5), b"anything", 5, 5), "its compression 5 is none that Kafka has"),
        (lambda: sealed(head(5), b"anything", 5, 7), "its compression 7 is none that Kafka has"),
        (lambda: sealed(head(-1, delta=4), five(), 5, NONE), "45 bytes follow its -1 records"),
        (lambda: sealed(head(5), b"\xff" * 40, 5, NONE), "one of its lengths has no end"),
        (lambda: sealed(head(5), varint(-7) + bytes(40), 5, NONE), "a record in it has -7 bytes where 40 are left"),
        (
            lambda: sealed(head(5), varint(22) + bytes(3) + varint(2**62) + b"k" * 9, 5, NONE),
            "a field of 4611686018427387904 bytes",
        ),
        (
            lambda: sealed(head(5), record(b"k", b"v", 0, varint(2**40)), 5, NONE),
            "a record in it has 1099511627776 headers",
        ),
        (
            lambda: sealed(head(1, delta=4), record(b"k", b"v", 9), 5, NONE),
            "its record with offset 14 comes after -1",
        ),
        (lambda: sealed(head(5), bomb(0, ZSTD, 65)[HEAD_BYTES:], 5, ZSTD), "hold more than 64 MiB"),
        (lambda: sealed(head(5), bomb(0, GZIP, 65)[HEAD_BYTES:], 5, GZIP), "hold more than 64 MiB"),
        (lambda: sealed(head(5), bomb(0, LZ4, 65)[HEAD_BYTES:], 5, LZ4), "hold more than 64 MiB"),
        (lambda: sealed(head(5), b"\xff\xff\xff\xff\x07rest", 5, SNAPPY), "hold more than 64 MiB"),
        (lambda: sealed(head(5), many_headers(0, ZSTD, 2_000_000)[HEAD_BYTES:], 5, ZSTD), "2000000 headers"),
    ],
)
def test_what_cannot_be_read_is_refused_by_place_and_its_neighbours_are_read(
    made: Callable[[], bytes], why: str
) -> None:
    found = consumed([whole(0, ZSTD), (5, 9, made()), whole(10, NONE)])
    assert read(found)[:5] == list(enumerate(values(0)))
    assert read(found)[-5:] == list(zip(range(10, 15), values(10), strict=True))
    assert unread(found) == [(5, 9)]
    assert why in next(one.detail for one in found if isinstance(one, Unreadable))


def test_what_was_read_of_a_batch_before_its_damage_is_kept() -> None:
    body = record(b"k", b"v5") + record(b"k", b"v6", 1) + b"\xff" * 30
    found = consumed([whole(0, LZ4), (5, 9, sealed(head(5), body, 5, NONE)), whole(10, LZ4)])
    assert read(found)[5:7] == [(5, b"v5"), (6, b"v6")]
    assert unread(found) == [(7, 9)]


def test_offsets_that_do_not_rise_are_no_records_that_may_go_missing() -> None:
    body = record(b"k", b"v5") + record(b"k", b"v6", 1) + record(b"k", b"again", 1) + record(b"k", b"v8", 3)
    found = consumed([(5, 8, sealed(head(4), body, 5, NONE)), whole(9, NONE)], 5)
    assert read(found)[:2] == [(5, b"v5"), (6, b"v6")]
    assert unread(found) == [(7, 8)]


def test_a_count_that_lies_costs_no_record_that_has_a_place() -> None:
    for count in (3, 9):
        found = consumed([(0, 4, sealed(head(count, delta=4), five(), 0, NONE)), whole(5, NONE)])
        assert [at for at, _ in read(found)] == [*range(min(count, 5)), *range(5, 10)]
        assert unread(found) == ([(3, 4)] if count == 3 else [])


def test_a_batch_that_compaction_emptied_is_passed() -> None:
    found = consumed([whole(0, NONE), (5, 9, sealed(head(0, delta=4), b"", 5, NONE)), whole(10, NONE)])
    assert unread(found) == []
    assert len(read(found)) == 10


def test_at_the_end_of_a_log_the_head_says_how_far_it_goes_if_it_agrees_with_itself() -> None:
    last = bytearray(batch(5, values(5)))
    last[-1] ^= 1
    assert unread(consumed([whole(0, NONE), (5, 9, bytes(last))])) == [(5, 9)]
    last[HEAD.size - 1] ^= 1  # the count of records
    assert unread(consumed([whole(0, NONE), (5, 9, bytes(last))])) == [(n, n) for n in range(5, 10)]


def test_who_is_not_told_reads_on_and_is_warned_once(caplog: pytest.LogCaptureFixture) -> None:
    data = b"".join([whole(0, NONE)[2], sealed(head(5), b"anything", 5, 5), whole(10, NONE)[2]])
    for _ in range(3):
        made = Lenient(TopicPartition("told", 3), Kept(data), None, 0, None, None, True, READ_COMMITTED)
        assert len(list(made)) == 10
    assert [one.message for one in caplog.records] == [
        "told/3, offsets 5 to 9, cannot be read and is passed over: its compression 5 is none that Kafka has"
    ]


def test_a_damaged_end_of_a_transaction_hides_nothing_that_was_committed() -> None:
    """The marker of an aborted transaction cannot be read: what follows is asked for again, and is not aborted."""
    torn = bytearray(marker(5, 7, commits=False))
    torn[-1] ^= 1
    behind = batch(6, values(6), producer=7)
    first = answer(batch(0, values(0), producer=7) + bytes(torn) + behind, aborted=[(7, 0)])
    found = list(first)
    assert read(found) == []
    assert unread(found) == [(5, 5)]
    assert first.next_fetch_offset == 6
    assert [one.offset for one in answer(behind, at=6)] == [6, 7, 8, 9, 10]


def test_an_aborted_bomb_is_not_opened() -> None:
    data = batch(0, values(0)) + _of_producer(bomb(5, ZSTD, 65), 7) + marker(6, 7, commits=False)
    assert [one.offset for one in answer(data + batch(7, values(7)), aborted=[(7, 5)])] == [
        0,
        1,
        2,
        3,
        4,
        *range(7, 12),
    ]


def _of_producer(data: bytes, producer: int) -> bytes:
    return sealed(head(1, attributes=0x10, producer=producer), data[HEAD_BYTES:], 5, data[22] & 7)


def test_an_answer_makes_no_more_than_its_bound_and_the_rest_is_fetched_again() -> None:
    each = 7
    large = bomb(0, ZSTD, 8)
    log = [(n, n, sealed(large[:HEAD_BYTES], large[HEAD_BYTES:], n, ZSTD)) for n in range(each)]
    made = Raw(PLACE, Kept(b"".join(spans(log, 0))), None, 0, telling, None, True, READ_UNCOMMITTED)
    assert len(list(made)) == ANSWER_BYTES_MAX // (8 << 20)
    assert [one.offset for one in consumed(log)] == list(range(each))


def test_memory_stays_within_bounds_whatever_comes() -> None:
    """In a process of its own, whose peak is told at its end: 500 MiB from half a one, of each codec, repeatedly."""
    text = f"""
import resource, sys
sys.path.insert(0, {str(Path.cwd())!r})
from tests.streams.runtime.batching import GZIP, LZ4, ZSTD, batch, bomb, many_headers
from tests.streams.runtime.test_records_damaged import answer, unread, values
bombs = [bomb(5, codec, 500) for codec in (GZIP, ZSTD)] + [bomb(5, LZ4, 200), many_headers(5, ZSTD, 20_000_000)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
for data in bombs * 3:
    found = list(answer(batch(0, values(0)) + data + batch(6, values(6))))
    assert unread(found) == [(5, 5)] and len(found) == 11, found
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10) - before)
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 200, f"{done.stdout} MiB"


@pytest.mark.parametrize("codec", CODECS.values(), ids=list(CODECS))
def test_any_damage_leaves_its_neighbours_readable(codec: int) -> None:
    chance = random.Random(codec)
    for _ in range(1500):
        log = [whole(first, chance.choice([codec, NONE])) for first in range(0, 25, 5)]
        struck = chance.randrange(len(log))
        first, last, data = log[struck]
        log[struck] = (first, last, _damaged(data, chance))
        found = consumed(log)
        told = dict(read(found))
        for other, (start, _, _) in enumerate(log):
            if other != struck:
                expected = dict(zip(range(start, start + 5), values(start), strict=True))
                assert {at: told.get(at) for at in expected} == expected, (struck, other, log[struck])


def _damaged(data: bytes, chance: random.Random) -> bytes:
    made = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 4, 16])):
        at = chance.randrange(len(made)) if chance.random() < 0.5 else chance.randrange(HEAD_BYTES)
        made[at] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)])
    delta, count = (int.from_bytes(made[at : at + 4], "big") for at in (23, 57))
    agrees = delta != 4 and count == delta + 1  # a lie that is told twice, and signed, is no damage
    if chance.random() < 0.5 and not agrees:  # a broken client signs what it breaks
        made[17:21] = sealed(bytes(made[:HEAD_BYTES]), bytes(made[HEAD_BYTES:]), 0, made[22] & 7)[17:21]
    return bytes(made)


@pytest.mark.parametrize("form", [0, 1])
def test_any_damage_to_old_formats_leaves_their_neighbours_readable(form: int) -> None:
    chance = random.Random(form)
    for _ in range(1000):
        struck = bytearray(old_batch(5, values(5), GZIP, form))
        struck[chance.randrange(12, len(struck))] = chance.randrange(256)
        found = consumed([whole(0, NONE), (5, 9, bytes(struck)), whole(10, NONE)])
        assert {at: value for at, value in read(found) if not 5 <= at < 10} == {
            **dict(enumerate(values(0))),
            **dict(zip(range(10, 15), values(10), strict=True)),
        }
