"""What the fetcher hands to a lane."""

from __future__ import annotations

from dataclasses import dataclass

from streams.batch import Fetched
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
                f"has committed {self.base}: the topic was made again. Use another --prefix or --group"
            )
