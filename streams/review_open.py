"""An open review, as its partition remembers it: the review as it stands, and the place where it was opened.

Written to the changelog as one record, `open/<review_id>`, with every change, and taken away with the ending.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct

from schemas import headers as names
from schemas.common import Source
from schemas.decision import Decision, Successor
from schemas.review import Review
from streams.foreign import Reader, Unreadable
from streams.headers import TRACE_BYTES_MAX, Came
from streams.superseding import action_type

_encode = msgspec.json.Encoder().encode
_decision: Reader[Decision] = Reader(Decision)
_successor: Reader[Decision] = Reader(Successor)
_members = Reader(dict[str, Raw], again=False)
_TRACE = (names.TRACEPARENT, names.TRACESTATE)


class Open(Struct, frozen=True, omit_defaults=True, gc=False):
    """`review` is as it stands now; `place` and `trace` are those of the record that opened it."""

    review: Review
    place: Source
    trace: dict[str, str] = {}

    @property
    def came(self) -> Came:
        """The headers that go on with whatever becomes of it."""
        return [(name, text.encode()) for name, text in self.trace.items()]


_open = Reader(Open, again=False)


def opened(review: Review, place: Source, came: Came) -> Open:
    """A review that was just read at `place`."""
    trace: dict[str, str] = {}
    for name, value in came:
        if name in _TRACE and value is not None and len(value) <= TRACE_BYTES_MAX and value.isascii():
            trace.setdefault(name, value.decode("ascii"))
    return Open(review, place, trace)


def packed(one: Open) -> bytes:
    """Its record in the changelog."""
    return _encode(one)


def unpacked(value: bytes) -> Open:
    """Raises ValueError where it is none."""
    found = _open(value)
    if isinstance(found, Unreadable):
        raise ValueError(f"an open review cannot be read: {found.why}")
    return found


def decision_in(review: Review) -> Decision | Unreadable:
    """The decision under review as it stands there, or why there is none."""
    return (_successor if review.attempt > 1 else _decision)(review.decision)


def decision_of(review: Review) -> Decision:
    """The decision under review, with the proposer that the gate knew. It was looked at when the review came."""
    found = decision_in(review)
    assert not isinstance(found, Unreadable), found
    if found.proposer is None and review.proposer is not None:
        found = msgspec.structs.replace(found, proposer=review.proposer)
    return found


def kind_of_action(decision: Decision) -> str | None:
    return action_type(bytes(decision.action))


def final_ms(review: Review) -> int:
    """When everything ends, all attempts and reviews."""
    return review.deadline_ms if review.final_deadline_ms is None else review.final_deadline_ms


def changed(decision: Raw, members: dict[str, Any]) -> Raw:
    """The decision's text with other members; those that stay are the same bytes."""
    whole = _members(decision)
    assert not isinstance(whole, Unreadable), whole
    whole |= {name: value if isinstance(value, Raw) else Raw(_encode(value)) for name, value in members.items()}
    return Raw(_encode(whole))
