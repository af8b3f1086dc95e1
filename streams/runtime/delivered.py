"""What the fetcher hands to a lane."""

from __future__ import annotations

from dataclasses import dataclass

from streams.batch import Fetched, Input, Unread
from streams.errors import PromiseBroken


@dataclass(frozen=True, slots=True)
class Delivered:
    """A fetched batch and where it stands: the consumer read on from `base` and will read on at `next`."""

    fetched: Fetched
    base: int
    next: int
    size_bytes: int  # of its keys, values and headers

    @property
    def came_ms(self) -> int:
        """When the first of it reached the broker; where only producers claim to know, when it was read."""
        return self.fetched.timestamps_ms[0] if self.fetched.broker_time else self.fetched.read_ms

    def must_follow(self) -> None:
        """Raises PromiseBroken when it holds records from before where the consumer read on."""
        if self.fetched.offsets[0] < self.base:
            raise PromiseBroken(
                f"{self.fetched.topic}/{self.fetched.partition} holds offset {self.fetched.offsets[0]} where the group "
                f"has committed {self.base}: the topic was made again. Use another --prefix"
            )


def passed(topic: str, name: Input, number: int, base: int, to: int, now_ms: int) -> Delivered:
    """What was read over without a record in it: markers of transactions, what was aborted or compacted."""
    return Delivered(Fetched(topic, name, number, [], [], [], [], False, now_ms), base, to, 0)


def removed(topic: str, name: Input, number: int, base: int, start: int, now_ms: int) -> Delivered:
    """What the broker removed before it was read, up to its log's `start`: one row for all of it.

    How many records it was nobody knows any more: markers of transactions and aborted records took offsets too.
    """
    count = start - base
    detail = (
        f"{topic}/{number}: offsets {base} to {start - 1} were removed before they were read; at most {count} records: "
        "see whether the worker was down or too slow for the topic's retention"
    )
    unread = {base: Unread("lost.removed", start - 1, detail)}
    row = Fetched(topic, name, number, [base], [now_ms], [None], [None], False, now_ms, None, unread)
    return Delivered(row, base, start, 0)
