"""Poison: the one record of a batch that cannot be decided, or whose answer cannot be sent, is found and set aside.

A batch that fails is taken again in smaller pieces, in order, each a transaction of its own: half of what failed, and
once all of that is behind, twice as much with each piece that goes well. What is left in the end is a single record. It
is held against nothing at all first, since what is due without any record may be what fails; then it is answered as
`invalid.poison`, by its place and hash, and everything behind it goes on.

A mistake of ours that fails every record must not turn all traffic into poison: after `POISON_MAX` in a row without one
that went well the lane ends.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Literal

import structlog

from streams.batch import POISON, Fetched, Input, Unread
from streams.errors import PromiseBroken, SluicegateError
from streams.runtime.delivered import Delivered
from streams.runtime.transactions import Denied, Failed, Fenced, Late, Unsendable

log = structlog.get_logger()

Cause = Literal["decide", "send"]
# A client that repeats its worst record does so some dozens of times before somebody looks; each costs two decisions
# and a transaction, so these take seconds. A mistake in this program that fails everything stops here.
POISON_MAX = 100
NO_RECORDS_FAULT = (Late, Fenced, Failed, Denied, SluicegateError)


class Undecided(Exception):
    """Raised when a stage raised what it never should on a batch."""


class Again(Exception):
    """Raised when the stage is not what it was: the hand-over comes first, and then a smaller piece."""


class Search:
    """What one lane knows of the piece that failed. It outlives hand-overs."""

    def __init__(self, number: int) -> None:
        self.limit: int | None = None  # how many records may be taken next; None: as many as ever
        self.idle_first = False  # whether to decide without records first
        self._number = number
        self._is_idle_sound = False
        self._in_a_row = 0
        self._until: dict[str, int] = {}  # by topic: where the piece ends that failed last
        self._poison: tuple[str, int, Cause, str] | None = None  # topic, offset, cause and error of what is set aside

    def failed(self, taken: Sequence[Delivered], error: Undecided | Unsendable) -> None:
        """A piece failed. Raises PromiseBroken where that is no record's fault, or every record's."""
        size = sum(len(one.fetched) for one in taken)
        cause: Cause = "send" if isinstance(error, Unsendable) else "decide"
        name = _name(error)
        if size == 0:
            raise self._broken(f"what is due without any record cannot be answered ({name})", error)
        if self.limit is None:
            log.warning("a batch failed and is taken in pieces", partition=self._number, records=size, error=name)
        self._until = {one.fetched.topic: one.next for one in taken}
        if size > 1:
            self.limit = size // 2
            return
        self.limit = 1
        fetched = next(one.fetched for one in taken if len(one.fetched))
        place = fetched.topic, fetched.offsets[0]
        if self._poison is not None and self._poison[:2] == place:
            raise self._broken(f"offset {place[1]} of {place[0]} cannot even be refused ({name})", error)
        if fetched.why_unread(0) is not None:
            raise self._broken(f"offset {place[1]} of {place[0]} cannot be read, and not be refused ({name})", error)
        if not self._is_idle_sound:
            self.idle_first = True
            return
        self._in_a_row += 1
        if self._in_a_row > POISON_MAX:
            told = f"{POISON_MAX} records in a row could not be answered, the last at offset {place[1]} of {place[0]}"
            raise self._broken(f"{told} ({name}): it is not the records", error)
        self._poison = (*place, cause, name)
        log.error(
            "poison",
            topic=place[0],
            partition=self._number,
            offset=place[1],
            cause=cause,
            error=name,
            at=_at(error),
            sha256=sha256(fetched.values[0] or b"").hexdigest(),
        )

    def taking(self, taken: Sequence[Delivered]) -> Sequence[Delivered]:
        """The piece as it is to be decided: what is poison without anything that could be looked at."""
        if self._poison is None or sum(len(one.fetched) for one in taken) != 1:
            return taken
        topic, offset, cause, name = self._poison
        return [_refused(one, cause, name) if _is_at(one.fetched, topic, offset) else one for one in taken]

    def committed(self, taken: Sequence[Delivered]) -> tuple[Input, Cause] | None:
        """A piece went well. Says of which input and why, where that was poison."""
        if not taken:
            self.idle_first, self._is_idle_sound = False, True
            return None
        if self.limit is None:
            return None
        if self._poison is not None and any(_is_at(one.fetched, *self._poison[:2]) for one in taken):
            found = next(one.fetched.input for one in taken if len(one.fetched)), self._poison[2]
            self._poison, self._until = None, {}
            return found
        self._in_a_row, self._is_idle_sound = 0, False
        for one in taken:
            if one.next >= self._until.get(one.fetched.topic, 0):
                self._until.pop(one.fetched.topic, None)
        if not self._until:  # what failed is behind us
            self.limit *= 2
        return None

    def ends(self, records_max: int) -> None:
        """Forgets the search once a whole batch may be taken again."""
        if self.limit is not None and self.limit >= records_max:
            self.limit = None

    def _broken(self, why: str, error: Exception) -> PromiseBroken:
        log.error("nothing can be set aside", partition=self._number, why=why, at=_at(error))
        return PromiseBroken(f"partition {self._number}: {why}")


def split(one: Delivered, count: int) -> tuple[Delivered, Delivered]:
    """The first `count` records, and the rest."""
    fetched, at = one.fetched, one.fetched.offsets[count]
    size_bytes = one.size_bytes * count // len(fetched)
    first = replace(one, fetched=_part(fetched, 0, count), next=at, size_bytes=size_bytes)
    rest = replace(one, fetched=_part(fetched, count, len(fetched)), base=at, size_bytes=one.size_bytes - size_bytes)
    return first, rest


def _part(fetched: Fetched, start: int, end: int) -> Fetched:
    headers = fetched.headers
    return replace(
        fetched,
        offsets=fetched.offsets[start:end],
        timestamps_ms=fetched.timestamps_ms[start:end],
        keys=fetched.keys[start:end],
        values=fetched.values[start:end],
        headers=None if headers is None else headers[start:end],
    )


def _refused(one: Delivered, cause: Cause, name: str) -> Delivered:
    when = "while it was decided" if cause == "decide" else "when its answer was sent"
    told = f"{name} {when}: nothing of it goes out but its place and its hash"
    (offset,) = one.fetched.offsets
    return replace(one, fetched=replace(one.fetched, headers=None, unread={offset: Unread(POISON, offset, told)}))


def _is_at(fetched: Fetched, topic: str, offset: int) -> bool:
    return fetched.topic == topic and fetched.offsets == [offset]


def _name(error: BaseException) -> str:
    return type(error.__cause__ or error).__name__


def _at(error: BaseException) -> str:
    """Where it was raised: the last place of our own, for whoever mends it."""
    frames = traceback.extract_tb((error.__cause__ or error).__traceback__)
    return f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno} in {frames[-1].name}" if frames else "unknown"
