"""How aiokafka turns a fetched answer into records, with two things changed.

A header name that is not UTF-8 would raise in the middle of a fetch, again and again, and its partition would stand
still: Kafka stores such names, and aiokafka decodes them strictly. Where that happens the answer is read once more by
a reader that replaces what it cannot decode; such a name means nothing to anybody here.

And a worker takes the records as they were read: to make a dataclass of each costs more than to read it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords, _MemoryRecordsPy


class Kept:
    """The batches of one answer, and the answer, in case it has to be read again."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        batches = MemoryRecords(data)
        self.has_next, self.next_batch, self.size_in_bytes = batches.has_next, batches.next_batch, batches.size_in_bytes


class _Text(bytearray):
    """Bytes that decode to something whatever they hold."""

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _Text(found) if isinstance(at, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return super().decode(encoding, "backslashreplace")


class _LenientBatch(_DefaultRecordBatchPy):  # type: ignore[misc]  # final to its typed readers, not to Python
    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer: Any = _Text(self._buffer)


class _LenientBatches(_MemoryRecordsPy):  # type: ignore[misc]  # likewise
    def next_batch(self) -> Any:
        batch = self._next_slice
        if batch is None or batch[self.MAGIC_OFFSET] < 2:
            return super().next_batch()  # older formats have no headers
        self._cache_next()
        return _LenientBatch(batch)


class Lenient(fetcher.PartitionRecords):  # type: ignore[misc]  # untyped
    """The records of one partition in one answer."""

    _aborted_transactions: list[tuple[int, int]]
    _aborted_producers: set[int]

    def __init__(self, tp: Any, records: Kept, aborted_transactions: Any, *rest: Any) -> None:
        super().__init__(tp, records, aborted_transactions, *rest)
        self._data = records.data
        self._all_aborted = [*self._aborted_transactions]

    def _unpack_records(self) -> Iterator[Any]:
        try:
            yield from super()._unpack_records()
        except (UnicodeDecodeError, CorruptRecordException):
            # from the start of the answer; what was handed out is passed over
            handed_out = self.next_fetch_offset
            self._records = _LenientBatches(self._data)
            self._aborted_transactions, self._aborted_producers = list(self._all_aborted), set()
            for record in super()._unpack_records():
                if record.offset >= handed_out:
                    yield record


class Raw(Lenient):
    """The same, each record as it was read: `offset`, `timestamp`, `timestamp_type`, `key`, `value`, `headers`."""

    def _consumer_record(self, tp: Any, record: Any) -> Any:
        return record


def install(records: type[Lenient]) -> None:
    """From now on all consumers of this process read that way."""
    fetcher.MemoryRecords, fetcher.PartitionRecords = Kept, records
