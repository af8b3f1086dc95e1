"""How far one partition is done, whatever the order in which its records end. Pure."""

from __future__ import annotations

import heapq


class Progress:
    """What may be committed is the first offset that is not done: nothing open is ever committed over."""

    def __init__(self) -> None:
        self._open: list[int] = []
        self._done: set[int] = set()
        self._next: int | None = None
        self._committed: int | None = None

    def take(self, offset: int) -> None:
        heapq.heappush(self._open, offset)
        self._next = offset + 1

    def done(self, offset: int) -> None:
        self._done.add(offset)
        while self._open and self._open[0] in self._done:
            self._done.discard(heapq.heappop(self._open))

    def to_commit(self) -> int | None:
        """The offset to commit, or None while it is the one that was committed last."""
        at = self._open[0] if self._open else self._next
        return None if at is None or at == self._committed else at

    def committed(self, offset: int) -> None:
        self._committed = offset
