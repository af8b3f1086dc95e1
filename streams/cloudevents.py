"""Decisions that come as CloudEvents 1.0, in the two modes of its Kafka protocol binding.

Binary: the value is the decision, `ce_*` headers are the event's attributes. Structured: `content-type` says
`application/cloudevents+json`, and the value is the event with the decision in `data`. An attribute fills only a field
that the decision lacks (`time` -> `decided_at_ms`, `expirytime` -> `expires_at_ms`, `source` -> `proposer`); where the
two disagree it is `invalid.schema`, since nobody can tell which of them the producer meant; so it is where one header
stands twice with different values. A header without a value is absent, as a null attribute is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from schemas import headers as names
from schemas.common import VALUE_BYTES_MAX
from schemas.decision import Decision
from streams.batch import Refused
from streams.foreign import Reader, Unreadable, text_of
from streams.strict_json import examine

STRUCTURED = "application/cloudevents"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_S = 86_400
# `datetime.fromisoformat` takes week dates, times without minutes and commas as well, and in 3.11 no lower-case t or z
_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]((?!24)[0-9]{2}:[0-9]{2}):([0-9]{2})(?:\.([0-9]+))?([Zz]|[+-][0-9]{2}:[0-5][0-9])"
)
# attribute -> the field that it fills
_FILLS = {"time": "decided_at_ms", "expirytime": "expires_at_ms", "source": "proposer"}
_READ = {names.CE_SPECVERSION, *(names.CE_PREFIX + name for name in _FILLS)}


class Event(NamedTuple):
    """The attributes of one event that mean something here, and where it is structured, its data."""

    attributes: dict[str, str]
    data: bytes | None


class _Envelope(msgspec.Struct):
    specversion: str
    id: str
    source: str
    type: str
    time: str | None = None
    expirytime: str | None = None
    datacontenttype: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")  # msgspec takes `Raw | None` for null alone


_envelope = Reader(_Envelope, again=False)


def event_of(headers: Iterable[tuple[str, bytes | None]], value: bytes | None) -> Event | Refused | None:
    """The event that these headers announce, why it cannot be read, or None where they announce none.

    None as well where the value is empty or too large: those reasons come first.
    """
    if not value or len(value) > VALUE_BYTES_MAX:
        return None
    found: dict[str, str] = {}
    kinds: set[str] = set()
    twice: str | None = None
    for name, raw in headers:
        lower = name.lower()
        if raw is None or not (lower.startswith(names.CE_PREFIX) or lower == names.CONTENT_TYPE):
            continue
        text = text_of(raw)
        if text is None:
            return Refused("invalid.encoding", f"the header {name[:80]} is not UTF-8")
        if lower == names.CONTENT_TYPE:
            kinds.add(_media(text))
        elif found.setdefault(lower, text) != text and lower in _READ:
            twice = lower
    if any(kind.startswith(STRUCTURED) for kind in kinds):
        return _structured(kinds.pop(), value) if len(kinds) == 1 else _repeated(names.CONTENT_TYPE)
    if names.CE_SPECVERSION not in found:
        return None
    if twice is not None:
        return _repeated(twice)
    if found[names.CE_SPECVERSION] != names.SPEC_VERSION:
        return _other_version(names.CE_SPECVERSION, found[names.CE_SPECVERSION])
    return Event({name: found[names.CE_PREFIX + name] for name in _FILLS if names.CE_PREFIX + name in found}, None)


def _media(text: str) -> str:
    return text.partition(";")[0].strip().lower()


def _repeated(name: str) -> Refused:
    return Refused("invalid.schema", f"the header {name} stands twice, with different values")


def _structured(kind: str, value: bytes) -> Event | Refused:
    if kind != STRUCTURED + "+json":
        return Refused("invalid.schema", f"content-type: found {kind[:80]}; of CloudEvents only JSON, one a record")
    if problem := examine(value):
        return Refused(*problem)
    envelope = _envelope(value)
    if isinstance(envelope, Unreadable):
        return Refused("invalid.schema", f"the CloudEvent cannot be read: {envelope.why}"[:300])
    if envelope.specversion != names.SPEC_VERSION:
        return _other_version("specversion", envelope.specversion)
    media = _media(envelope.datacontenttype or names.JSON)
    if not media.endswith(("/json", "+json")):
        return Refused("invalid.schema", f"datacontenttype: found {media[:80]}; expected {names.JSON}")
    data = bytes(envelope.data)
    if data == b"null":
        return Refused("invalid.schema", "data: missing; a structured CloudEvent has the decision there, as JSON")
    attributes = {name: getattr(envelope, name) for name in _FILLS}
    return Event({name: text for name, text in attributes.items() if text is not None}, data)


def _other_version(name: str, found: str) -> Refused:
    return Refused("invalid.schema", f"{name}: found {found[:80]!r}; expected {names.SPEC_VERSION!r}")


def filled(decision: Decision, attributes: dict[str, str]) -> Decision | Refused:
    """The decision with the event's attributes in the fields that it lacks."""
    absent: dict[str, Any] = {}
    for name, text in attributes.items():
        field = _FILLS[name]
        if not text:
            return Refused("invalid.schema", f"the CloudEvent's {name} is empty")
        said: str | int | None = text if name == "source" else _time_ms(text)
        if said is None:
            return Refused("invalid.schema", f"the CloudEvent's {name}: {text[:80]!r} is no RFC 3339 time")
        present = getattr(decision, field)
        if present is None:
            absent[field] = said
        elif present != said:
            return Refused("invalid.schema", f"{field}: {present}, but the CloudEvent's {name} says {text[:80]}")
    return msgspec.structs.replace(decision, **absent) if absent else decision


def expiry_ms(event: Event) -> int | None:
    """The event's `expirytime` in epoch milliseconds, or None where it has none or one that is no RFC 3339 time."""
    return _time_ms(event.attributes.get("expirytime", ""))


def _time_ms(text: str) -> int | None:
    """An RFC 3339 time in epoch milliseconds, rounded down; None where it is none.

    A leap second is the second after it, as in POSIX time.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    day, minute, second, fraction, zone = match.groups()
    leap = second == "60"
    try:
        time = datetime.fromisoformat(f"{day}T{minute}:{'59' if leap else second}{zone.upper()}")
    except ValueError:
        return None
    time_s = (time - _EPOCH) // timedelta(seconds=1) + leap
    if leap and time_s % _DAY_S:  # they end a day, in UTC
        return None
    return time_s * 1_000 + int((fraction or "")[:3].ljust(3, "0"))
