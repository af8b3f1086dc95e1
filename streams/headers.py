"""The headers of what goes out (`schemas.headers` has their meaning), and those of the input that go with it."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from schemas import headers as names
from schemas.common import Source
from streams.batch import OUTPUTS, Headers, Output, Refused, Row
from streams.bounds import HEADER_BYTES_MAX

Came = Sequence[tuple[str, bytes | None]]  # the headers of an input record

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
    if output in names.TYPES
}


@dataclass(frozen=True, slots=True)
class HeaderSettings:
    """What a deployment wants in headers. `group` is named on dead letters; CloudEvents cost about 2 us a record."""

    group: str = ""
    cloudevents: bool = True


DEFAULTS = HeaderSettings()


def headers_of(row: Row, output: Output, identifier: str, deadline_ms: int | None, settings: HeaderSettings) -> Headers:
    """CloudEvents in binary mode, where wanted, and the input's trace context."""
    entity = None if row.decision is None else row.decision.entity
    return answer_headers(output, identifier, entity, deadline_ms, _came(row), settings)


def answer_headers(
    output: Output,
    identifier: str,
    entity: str | None,
    deadline_ms: int | None,
    came: Came,
    settings: HeaderSettings,
) -> Headers:
    """The same for whatever answers a record that `came` with these headers."""
    traced = tuple(_first(came, _TRACE, TRACE_BYTES_MAX).items()) if came else ()
    if not settings.cloudevents:
        return traced
    own: Headers = (*_CLOUDEVENT[output], (names.CE_ID, identifier.encode()))
    if entity is not None:
        own += ((names.CE_SUBJECT, entity.encode()),)
    if deadline_ms is not None:
        own += ((names.CE_EXPIRYTIME, rfc3339(deadline_ms)),)
    return own + traced


def dead_letter(row: Row, settings: HeaderSettings) -> Headers:
    """What KIP-1191 names, and the stage and reason that it has no names for. The first origin is never overwritten."""
    assert row.refused is not None
    source = row.fetched.place(row.index)
    attempt = None if row.decision is None else row.attempt
    return dead_letter_of(source, attempt, row.stage, row.refused, _came(row), settings)


def dead_letter_of(
    source: Source, attempt: int | None, stage: str, refused: Refused, came: Came, settings: HeaderSettings
) -> Headers:
    """The same for an ending that is not a row's; `source` is the decision's record."""
    found = {
        names.DLQ_TOPIC: source.topic,
        names.DLQ_PARTITION: str(source.partition),
        names.DLQ_OFFSET: str(source.offset),
        names.DLQ_GROUP: settings.group,
        names.DLQ_DELIVERY_COUNT: None if attempt is None else str(attempt),
        names.DLQ_MESSAGE: refused.detail,
    }
    written = {name: _cut(text.encode(), HEADER_BYTES_MAX) for name, text in found.items() if text is not None}
    written |= {name: _cut(value, DLQ_BYTES_MAX) for name, value in _first(came, _DLQ).items()}
    return (
        *written.items(),
        (names.ERRORS_STAGE, stage.encode()),
        (names.ERRORS_REASON, refused.reason.encode()),
    )


def _came(row: Row) -> Came:
    return () if row.fetched.headers is None else row.fetched.headers[row.index]


def _first(came: Came, wanted: Container[str], bytes_max: int | None = None) -> dict[str, bytes]:
    """The first of these headers by each of the names that has a value, of at most `bytes_max`."""
    found: dict[str, bytes] = {}
    for name, value in came:
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
