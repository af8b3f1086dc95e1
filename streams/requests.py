"""Reading a record of `reevaluations`: a request to ask again, or why it is none. Anybody may have written it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from schemas.common import TIME_MS_MAX
from schemas.decision import Decision, Successor
from schemas.reevaluation import Reevaluation
from streams.batch import Fetched, Refused
from streams.bounds import OWN_BYTES_MAX, oversized, strange
from streams.foreign import Reader, Unreadable
from streams.strict_json import examine

_request = Reader(Reevaluation)
_decision: Reader[Decision] = Reader(Decision)
_successor: Reader[Decision] = Reader(Successor)  # its id may be longer


class Request(NamedTuple):
    """A request as it was read, and the decision that it is about."""

    record: Reevaluation
    decision: Decision


class Ended(NamedTuple):
    """A request that gets no successor, and why; `request` is None for a record that is no request."""

    why: Refused
    request: Request | None


def request_in(fetched: Fetched, index: int) -> Request | Refused:
    """What is in a row of a fetched batch."""
    unread = fetched.why_unread(index)
    return read_request(fetched.values[index]) if unread is None else Refused(unread.reason, unread.detail)


def read_request(value: bytes | None) -> Request | Refused:
    """What is in a record that anybody may have written."""
    if not value:
        return Refused("invalid.empty", "a tombstone: the value is null" if value is None else "the value is empty")
    if len(value) > OWN_BYTES_MAX:
        return Refused("invalid.oversized", oversized(value))
    request = _request(value)
    if isinstance(request, Unreadable):
        if request.part == "json":
            return Refused(*(examine(value) or ("invalid.schema", _told(request.why))))
        return Refused("invalid.schema", _told(request.why))
    decision = (_successor if request.attempt > 1 else _decision)(request.decision)
    if isinstance(decision, Unreadable):
        return Refused("invalid.schema", _told(decision.why))
    found = Request(request, decision)
    if any(not 0 <= number <= TIME_MS_MAX for number in _numbers(found)):
        return Refused("invalid.schema", _told(f"a number is outside 0 ... {TIME_MS_MAX}"))
    if (field := strange(request, decision)) is not None:
        return Refused("invalid.schema", _told(f"{field} is longer than any of ours"))
    return found


def _told(why: str) -> str:
    return f"this is no request to ask again: {why}"[:500]


def _numbers(found: Request) -> Iterator[int]:
    """Attempts, which are counted on from, and may not be without bounds."""
    yield found.record.attempt
    yield from (one.attempt for one in found.record.attempts)
