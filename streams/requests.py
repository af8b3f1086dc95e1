"""Reading a record of `reevaluations`: a request to ask again, or why it is none. Anybody may have written it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import orjson

from schemas.common import TIME_MS_MAX
from schemas.decision import Decision
from schemas.reevaluation import Reevaluation
from streams.batch import Fetched, Refused
from streams.strict_json import examine

_decode_request = msgspec.json.Decoder(Reevaluation).decode
_decode_decision = msgspec.json.Decoder(Decision).decode


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
    try:
        orjson.loads(value)
    except ValueError as error:
        return Refused(*(examine(value) or ("invalid.json", f"the value is not JSON: {error}")))
    try:
        request: Reevaluation = _decode_request(value)
        decision: Decision = _decode_decision(bytes(request.decision))
    except (ValueError, RecursionError) as error:
        return Refused("invalid.schema", f"this is no request to ask again: {error}"[:500])
    found = Request(request, decision)
    if any(not 0 <= number <= TIME_MS_MAX for number in _numbers(found)):
        return Refused("invalid.schema", f"this is no request to ask again: a number is outside 0 ... {TIME_MS_MAX}")
    return found


def _numbers(found: Request) -> Iterator[int]:
    """What msgspec reads in any size and cannot write again."""
    request = found.record
    yield from (request.attempt, request.first_observed_at_ms, request.final_deadline_ms, request.gated_at_ms)
    yield found.decision.observed_at_ms
    for one in request.attempts:
        yield from (one.attempt, one.observed_at_ms, one.gated_at_ms)
