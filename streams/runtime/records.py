"""How aiokafka turns a fetched answer into records, so that no bytes of a broker end a reader or its memory.

aiokafka raises in the middle of an answer for what it cannot read, again and again, and the partition stands still; and
it decompresses a batch whole, however large that makes it. Here such a batch is refused by place, as `Unreadable` where
the consumer asks for that (`telling`) and with one warning where it does not, and reading goes on behind it.

Where the checksum of a batch does not fit, nothing in its head is believed: how far it goes is told by where the next
one begins. Who reads committed records fetches anew from there, since it may have been the end of a transaction.

A worker takes the records as they were read (`Raw`): to make a dataclass of each costs more than to read it.

The kit has the same text, and those of `batches`, `frames` and `expansion`: a test compares them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, NamedTuple

from aiokafka.consumer import fetcher
from aiokafka.record.control_record import ABORT_MARKER, ControlRecord

from streams.runtime.batches import Damaged, leniently, old_records, opened, strictly
from streams.runtime.frames import (
    CONTROL_MASK,
    TRANSACTIONAL_MASK,
    Frame,
    Head,
    frame_at,
    head_of,
    is_sound,
    next_sound,
)

log = logging.getLogger(__name__)

ANSWER_BYTES_MAX = 16 * 1024 * 1024  # made of one answer's compressed batches, plus one batch; the rest is fetched anew
HEADER_BYTES = 64  # that a header takes in memory at least
WARNED_MAX = 1000  # places that were told about are not told again


class Unreadable(NamedTuple):
    """Stands for the records from `offset` up to and with `through`, among the records of a consumer that asks for it.

    Its time is that of the newest of them, where the batch's head can be believed.
    """

    topic: str
    partition: int
    offset: int
    through: int
    detail: str
    timestamp: int | None = None
    timestamp_type: int | None = None
    key: None = None
    value: None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()


def telling(key: bytes) -> bytes:
    """Given as `key_deserializer`: this consumer gets what cannot be read as `Unreadable`, and must look for it."""
    return key


class Kept:
    """A fetched answer, as it came."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def has_next(self) -> bool:
        return bool(self.data)

    def size_in_bytes(self) -> int:
        return len(self.data)


def _of_aiokafka() -> Any:
    """aiokafka's own class, also where another reader in this process stands in its place already."""
    found = getattr(fetcher.PartitionRecords, "stands_for", fetcher.PartitionRecords)
    return next(one for one in found.__mro__ if one.__module__ == fetcher.__name__)


class Lenient(_of_aiokafka()):  # type: ignore[misc]  # untyped
    """The records of one partition in one answer."""

    _aborted_transactions: list[tuple[int, int]]
    _aborted_producers: set[int]
    next_fetch_offset: int

    def __init__(self, tp: Any, records: Kept, aborted: Any, offset: int, key: Any, *rest: Any) -> None:
        self._tells = key is telling
        self._data = records.data
        self._made_bytes = 0  # of what was compressed
        super().__init__(tp, records, aborted, offset, None if self._tells else key, *rest)

    def _unpack_records(self) -> Iterator[Any]:
        data = self._data
        frame = frame_at(data, 0)
        while frame is not None and self._made_bytes < ANSWER_BYTES_MAX:
            after = None if frame.damaged else frame_at(data, frame.end)
            head = None
            try:
                head = self._believed(frame, after)
                if self._is_wanted(frame, head):
                    yield from self._fresh(frame, head)
                self.next_fetch_offset = max(self.next_fetch_offset, head.last + 1)
            except Damaged as error:
                if head is None:
                    after = next_sound(data, frame)
                place = self._place(frame, head, after, str(error))
                if place.through >= place.offset:
                    self.next_fetch_offset = place.through + 1
                    if self._tells:
                        yield place
                    else:
                        _warn(place)
                if head is None and (self._aborted_transactions or self._aborted_producers):
                    return  # it may have ended one: the broker is asked again which were aborted
            frame = after

    def _believed(self, frame: Frame, after: Frame | None) -> Head:
        """What the batch's head says, once it is known to be true. Raises Damaged."""
        if frame.damaged:
            raise Damaged("its length cannot be")
        if frame.format > 2:
            raise Damaged(f"its format {frame.format} is none that Kafka has")
        if not is_sound(self._data, frame):
            raise Damaged("its checksum does not fit its bytes")
        read_to = self.next_fetch_offset
        head = head_of(self._data, frame)
        last = head.base + head.delta
        if head.delta < 0 or last < read_to or (head.base < read_to and frame.start and frame.format == 2):
            raise Damaged(f"it says that it has the offsets {head.base} to {last}: {read_to} is where it stands")
        # only an answer's first batch begins before where it is read on. Two that overlap: this one is wrong where it
        # follows a gap, or does not hold as many records as offsets
        doubtful = head.base > read_to or head.records != head.delta + 1
        if doubtful and after is not None and after.format == 2 and read_to <= after.base <= last:
            raise Damaged(f"it says that it ends at offset {last}, and the next one begins at {after.base}")
        return head

    def _is_wanted(self, frame: Frame, head: Head) -> bool:
        """Whether its records are for readers: not where it marks a transaction's end, or belongs to an aborted one."""
        if self._isolation_level == fetcher.READ_COMMITTED and frame.format == 2:
            self._consume_aborted_up_to(head.base)
            if head.producer_id in self._aborted_producers:
                if head.attributes & CONTROL_MASK and self._aborts(frame, head):
                    self._aborted_producers.discard(head.producer_id)
                elif head.attributes & TRANSACTIONAL_MASK:
                    return False
        return not head.attributes & CONTROL_MASK

    def _aborts(self, frame: Frame, head: Head) -> bool:
        # what cannot be read is taken for one: the next marker of a producer whose transaction was aborted says so
        try:
            marker = next(strictly(opened(self._data, frame, head)))
            return bool(ControlRecord.parse(marker.key) == ABORT_MARKER)
        except Exception:
            return True

    def _fresh(self, frame: Frame, head: Head) -> Iterator[Any]:
        """Its records that were not handed out yet. Raises Damaged where there is something that cannot be read."""
        last = head.last
        if frame.format < 2:
            records: Iterator[Any] = iter(old_records(self._data, frame))
            whole = None
        else:
            whole = opened(self._data, frame, head)
            records = strictly(whole)
            if head.codec:
                self._made_bytes += len(whole)
        while True:
            before = -1
            try:
                for record in records:
                    offset = record.offset
                    if not before < offset <= last:
                        raise Damaged(f"its record with offset {offset} comes after {before}, and {last} is its last")
                    before = offset
                    if offset < self.next_fetch_offset:
                        continue
                    self.next_fetch_offset = offset + 1
                    if headers := record.headers:
                        self._made_bytes += HEADER_BYTES * len(headers)
                    yield self._consumer_record(self._tp, record)
                return
            except Damaged:
                raise
            except Exception:  # of several kinds; the careful reader says what it is, or reads on
                if whole is None:
                    raise
                records, whole = leniently(whole, head), None

    def _place(self, frame: Frame, head: Head | None, after: Frame | None, why: str) -> Unreadable:
        topic, partition = self._tp
        first = self.next_fetch_offset
        if head is not None:
            first = max(first, head.base)
            timed = (head.timestamp, int(head.append_time)) if head.timestamp >= 0 else (None, None)
            return Unreadable(topic, partition, first, head.last, why, *timed)
        return Unreadable(topic, partition, first, self._through(frame, after), why)

    def _through(self, frame: Frame, after: Frame | None) -> int:
        """Where a batch ends whose head is not believed: before the next, or as far as its head agrees with itself."""
        first = self.next_fetch_offset
        if after is not None and after.format == 2 and after.base > first:
            return after.base - 1
        if not frame.damaged and frame.format == 2:
            head = head_of(self._data, frame)
            if head.base <= first <= head.last and head.records == head.delta + 1:
                return head.last
        return first  # the rest of it is met again at the next offset


class Raw(Lenient):
    """The same, each record as it was read: `offset`, `timestamp`, `timestamp_type`, `key`, `value`, `headers`."""

    def _consumer_record(self, tp: Any, record: Any) -> Any:
        return record


_warned: set[tuple[str, int, int]] = set()


def install(records: type[Lenient]) -> None:
    """From now on all consumers of this process read that way."""
    fetcher.MemoryRecords, fetcher.PartitionRecords = Kept, records


def _warn(place: Unreadable) -> None:
    known = (place.topic, place.partition, place.offset)
    if known in _warned:
        return
    if len(_warned) >= WARNED_MAX:
        _warned.clear()
    _warned.add(known)
    where = f"{place.topic}/{place.partition}, offsets {place.offset} to {place.through}"
    log.warning(f"{where}, cannot be read and is passed over: {place.detail}")


install(Lenient)  # whoever imports this reads so, if nothing else is said
