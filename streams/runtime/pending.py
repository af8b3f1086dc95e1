"""What waits in a lane for the next transaction, in the order in which it came, within bounds."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from streams.runtime.bisect import split
from streams.runtime.delivered import Delivered
from streams.runtime.settings import BATCH_BYTES_MAX, DECIDE_S, PENDING_BYTES_MAX, PENDING_RECORDS_MAX

FIRST_RECORDS = 250  # before it is known how long they take


class Pending:
    """`batch_records_max`: of one transaction."""

    def __init__(self, batch_records_max: int) -> None:
        self._batch_records_max = batch_records_max
        self._manageable = min(FIRST_RECORDS, batch_records_max)  # how many are decided in a bearable time
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

        `limit`: so many records at most. A batch that has more than may be taken is split.
        """
        records_max = self._manageable if limit is None else min(limit, self._manageable)
        if records_max < self._batch_records_max and self._waiting and len(self._waiting[0].fetched) > records_max:
            self._waiting.extendleft(reversed(split(self._waiting.popleft(), records_max)))
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

    def took(self, records: int, seconds: float) -> None:
        """How long it took to decide so many: what comes next should take about `DECIDE_S`."""
        if seconds > DECIDE_S:
            self._manageable = max(1, int(records * DECIDE_S / seconds))
        else:
            self._manageable = min(2 * self._manageable, self._batch_records_max)

    def clear(self) -> None:
        self._waiting.clear()
        self._records = self._bytes = 0
