"""Reading past what does not matter: a fetched answer in which none of the texts stands is never taken apart.

An answer holds some thousands of records, and hardly any of them is about the decision that is asked for. Looking for
a text in its bytes costs a hundredth of making records of it. What is compressed has to be opened to be looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from streams.runtime.records import Kept, Lenient


class Skimming(Lenient):
    """The records of one partition in one answer, or none where the answer holds none of the texts."""

    texts: ClassVar[Sequence[bytes] | None] = None  # None: everything is read

    def __init__(self, tp: Any, records: Kept, aborted_transactions: Any, *rest: Any) -> None:
        super().__init__(tp, records, aborted_transactions, *rest)
        if self.texts is not None and not any(text in records.data for text in self.texts):
            self._records: Any = _Batches(records)


class _Batches:
    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self.has_next = kept.has_next

    def next_batch(self) -> Any:
        batch: Any = self._kept.next_batch()
        return batch if batch.is_control_batch or batch.compression_type else _Passed(batch)


class _Passed:
    """A batch whose records are passed over; offsets and transactions are told as they are."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[Any]:
        return iter(())


@contextmanager
def skimming(texts: Sequence[bytes] | None) -> Iterator[None]:
    """Within it, consumers of this process that read with `Skimming` look for these texts only."""
    Skimming.texts = texts
    try:
        yield
    finally:
        Skimming.texts = None
