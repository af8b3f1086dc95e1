"""Glance: what is read of a decision that may be shed, for a fraction of what reading it in full takes."""

from __future__ import annotations

import msgspec

from schemas.common import TIME_MS_MAX, VALUE_BYTES_MAX, Currency, Id, Money
from streams.batch import Fetched, Refused
from streams.cloudevents import event_of, expiry_ms
from streams.foreign import Reader, Unreadable


class Glance(msgspec.Struct, gc=False):
    """The fields of a decision that shedding looks at."""

    id: Id
    workflow: Id
    entity: Id
    observed_at_ms: int
    expires_at_ms: int | None = None
    value_minor: Money | None = None
    currency: Currency | None = None
    segment: str | None = None


_glance = Reader(Glance, again=False)


def glance(batch: Fetched, index: int) -> Glance | None:
    """What is to be seen of a record, or None where only the full path can say what it is."""
    text = batch.values[index] if batch.unread is None or batch.why_unread(index) is None else None
    if not text or len(text) > VALUE_BYTES_MAX:
        return None
    expires_ms: int | None = None
    if batch.headers is not None and batch.headers[index]:
        event = event_of(batch.headers[index], text)
        if isinstance(event, Refused):
            return None
        if event is not None:
            text = event.data or text
            if "expirytime" in event.attributes and (expires_ms := expiry_ms(event)) is None:
                return None
    seen = _glance(text)
    if isinstance(seen, Unreadable):
        return None
    if seen.expires_at_ms is None:
        seen.expires_at_ms = expires_ms
    if (
        batch.keys[index] != seen.entity.encode()
        or "~" in seen.id
        or not 0 <= seen.observed_at_ms <= TIME_MS_MAX
        or not (seen.expires_at_ms is None or 0 <= seen.expires_at_ms <= TIME_MS_MAX)
    ):
        return None
    return seen
