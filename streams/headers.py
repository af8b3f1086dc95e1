"""The headers of what goes out (`schemas.headers` has their meaning), and those of the input that go with it."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from schemas import headers as names
from streams.batch import OUTPUTS, Headers, Output, Row

SOURCE = b"sluicegate/gate"
TRACE_BYTES_MAX = 1_024  # of one header of the input; a larger one is no trace context, and is left behind
DLQ_BYTES_MAX = 16_384  # likewise; a longer one is cut, so that the output can be sent and still names the first origin
_MILLISECONDS = tuple(b".%03dZ" % ms for ms in range(1_000))
_TRACE = (names.TRACEPARENT, names.TRACESTATE)
_DLQ = tuple(header.name for header in names.DEAD_LETTER if header.name.startswith(names.DLQ_PREFIX))
_CLOUDEVENT: dict[Output, Headers] = {
    output: (
        (names.CE_SPECVERSION, names.SPEC_VERSION.encode()),
        (names.CE_TYPE, names.TYPES[output].encode()),
        (names.CE_SOURCE, SOURCE),
        (names.CONTENT_TYPE, names.JSON.encode()),
    )
    for output in OUTPUTS
}


@dataclass(frozen=True, slots=True)
class HeaderSettings:
    """What a deployment wants in headers. `group` is named on dead letters; CloudEvents cost about 2 us a record."""

    group: str = ""
    cloudevents: bool = True


DEFAULTS = HeaderSettings()


def headers_of(row: Row, output: Output, identifier: str, deadline_ms: int | None, settings: HeaderSettings) -> Headers:
    """CloudEvents in binary mode, where wanted, and the input's trace context."""
    traced = () if row.fetched.headers is None else tuple(_first(row, _TRACE, TRACE_BYTES_MAX).items())
    if not settings.cloudevents:
        return traced
    own: Headers = (*_CLOUDEVENT[output], (names.CE_ID, identifier.encode()))
    if row.decision is not None:
        own += ((names.CE_SUBJECT, row.decision.entity.encode()),)
    if deadline_ms is not None:
        own += ((names.CE_EXPIRYTIME, rfc3339(deadline_ms)),)
    return own + traced


def dead_letter(row: Row, settings: HeaderSettings) -> Headers:
    """What KIP-1191 names, and the stage and reason that it has no names for. The first origin is never overwritten."""
    refused, decision = row.refused, row.decision
    assert refused is not None
    found = {
        names.DLQ_TOPIC: row.fetched.topic,
        names.DLQ_PARTITION: str(row.fetched.partition),
        names.DLQ_OFFSET: str(row.offset),
        names.DLQ_GROUP: settings.group,
        names.DLQ_DELIVERY_COUNT: None if decision is None else str(row.attempt),
        names.DLQ_MESSAGE: refused.detail,
    }
    written = {name: text.encode() for name, text in found.items() if text is not None}
    if row.fetched.headers is not None:
        written |= {name: _cut(value, DLQ_BYTES_MAX) for name, value in _first(row, _DLQ).items()}
    return (
        *written.items(),
        (names.ERRORS_STAGE, row.stage.encode()),
        (names.ERRORS_REASON, refused.reason.encode()),
    )


def _first(row: Row, wanted: Container[str], bytes_max: int | None = None) -> dict[str, bytes]:
    """The first header of the input by each of these names that has a value, of at most `bytes_max`."""
    assert row.fetched.headers is not None
    found: dict[str, bytes] = {}
    for name, value in row.fetched.headers[row.index]:
        if name in wanted and value is not None and (bytes_max is None or len(value) <= bytes_max):
            found.setdefault(name, value)
    return found


def _cut(value: bytes, bytes_max: int) -> bytes:
    return value if len(value) <= bytes_max else value[:bytes_max].decode(errors="ignore").encode()


def rfc3339(time_ms: int) -> bytes:
    """A time within the contract's range, `2026-11-23T12:00:00.000Z` (RFC 3339)."""
    return _second(time_ms // 1_000) + _MILLISECONDS[time_ms % 1_000]


@lru_cache(4_096)
def _second(time_s: int) -> bytes:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()
