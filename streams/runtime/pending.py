"""What waits in a lane for the next transaction, in the order in which it came, within bounds."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from streams.runtime.bisect import split
from streams.runtime.delivered import Delivered
from streams.runtime.settings import BATCH_BYTES_MAX, PENDING_BYTES_MAX, PENDING_RECORDS_MAX


class Pending:
    """`batch_records_max`: of one transaction."""

    def __init__(self, batch_records_max: int) -> None:
        self._batch_records_max = batch_records_max
        self._waiting: deque[Delivered] = deque()
        self._records = 0
        self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def full(self) -> bool:
        """Whether no more should be fetched."""
        return self._records >= PENDING_RECORDS_MAX or self._bytes >= PENDING_BYTES_MAX

    @property
    def since_ms(self) -> int | None:
        """When the oldest of it came."""
        return min((delivered.came_ms for delivered in self._waiting), default=None)

    def put(self, delivered: Delivered) -> None:
        self._waiting.append(delivered)
        self._records += len(delivered.fetched)
        self._bytes += delivered.size_bytes

    def put_back(self, taken: Iterable[Delivered]) -> None:
        """What was taken last stands before all others again."""
        for one in reversed(list(taken)):
            self._waiting.appendleft(one)
            self._records += len(one.fetched)
            self._bytes += one.size_bytes

    def take(self, limit: int | None = None) -> list[Delivered]:
        """All that waits, up to the size of a transaction; at least one batch, if there is one.

        `limit`: so many records at most; a batch that has more is split.
        """
        if limit is not None and self._waiting and len(self._waiting[0].fetched) > limit:
            self._waiting.extendleft(reversed(split(self._waiting.popleft(), limit)))
        records_max = self._batch_records_max if limit is None else limit
        taken: list[Delivered] = []
        records = size_bytes = 0
        while self._waiting:
            records += len(self._waiting[0].fetched)
            size_bytes += self._waiting[0].size_bytes
            if taken and (records > records_max or size_bytes > BATCH_BYTES_MAX):
                break
            taken.append(self._waiting.popleft())
            self._records -= len(taken[-1].fetched)
            self._bytes -= taken[-1].size_bytes
        return taken

    def clear(self) -> None:
        self._waiting.clear()
        self._records = self._bytes = 0
