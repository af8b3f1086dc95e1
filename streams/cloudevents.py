"""Decisions that come as CloudEvents 1.0, in the two modes of its Kafka protocol binding.

Binary: the value is the decision, `ce_*` headers are the event's attributes. Structured: `content-type` says
`application/cloudevents+json`, and the value is the event with the decision in `data`. An attribute fills only a field
that the decision lacks (`time` -> `decided_at_ms`, `expirytime` -> `expires_at_ms`, `source` -> `proposer`); where the
two disagree it is `invalid.schema`, since nobody can tell which of them the producer meant.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from schemas import headers as names
from schemas.common import VALUE_BYTES_MAX
from schemas.decision import Decision
from streams.batch import Refused
from streams.strict_json import examine

STRUCTURED = "application/cloudevents"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# attribute -> the field that it fills
_FILLS = {"time": "decided_at_ms", "expirytime": "expires_at_ms", "source": "proposer"}


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
    data: msgspec.Raw | None = None


_decode = msgspec.json.Decoder(_Envelope).decode


def event_of(headers: Iterable[tuple[str, bytes | None]], value: bytes | None) -> Event | Refused | None:
    """The event that these headers announce, why it cannot be read, or None where they announce none.

    None as well where the value is empty or too large: those reasons come first.
    """
    if not value or len(value) > VALUE_BYTES_MAX:
        return None
    found: dict[str, str] = {}
    for name, raw in headers:
        if name.startswith(names.CE_PREFIX) or name.lower() == names.CONTENT_TYPE:
            try:
                found.setdefault(name.lower(), (raw or b"").decode())
            except UnicodeDecodeError:
                return Refused("invalid.encoding", f"the header {name[:80]} is not UTF-8")
    kind = found.pop(names.CONTENT_TYPE, "").partition(";")[0].strip().lower()
    if kind.startswith(STRUCTURED):
        return _structured(kind, value)
    if names.CE_SPECVERSION not in found:
        return None
    if found[names.CE_SPECVERSION] != names.SPEC_VERSION:
        return _other_version(names.CE_SPECVERSION, found[names.CE_SPECVERSION])
    return Event({name: found[names.CE_PREFIX + name] for name in _FILLS if names.CE_PREFIX + name in found}, None)


def _structured(kind: str, value: bytes) -> Event | Refused:
    if kind != STRUCTURED + "+json":
        return Refused("invalid.schema", f"content-type: found {kind[:80]}; of CloudEvents only JSON, one a record")
    if problem := examine(value):
        return Refused(*problem)
    try:
        envelope = _decode(value)
    except (msgspec.MsgspecError, RecursionError) as error:
        return Refused("invalid.schema", f"the CloudEvent cannot be read: {error}"[:300])
    if envelope.specversion != names.SPEC_VERSION:
        return _other_version("specversion", envelope.specversion)
    media = (envelope.datacontenttype or names.JSON).partition(";")[0].strip().lower()
    if media != names.JSON and not media.endswith("+json"):
        return Refused("invalid.schema", f"datacontenttype: found {media[:80]}; expected {names.JSON}")
    if envelope.data is None:
        return Refused("invalid.schema", "data: missing; a structured CloudEvent has the decision there, as JSON")
    attributes = {name: getattr(envelope, name) for name in _FILLS}
    return Event({name: text for name, text in attributes.items() if text is not None}, bytes(envelope.data))


def _other_version(name: str, found: str) -> Refused:
    return Refused("invalid.schema", f"{name}: found {found[:80]!r}; expected {names.SPEC_VERSION!r}")


def filled(decision: Decision, attributes: dict[str, str]) -> Decision | Refused:
    """The decision with the event's attributes in the fields that it lacks."""
    absent: dict[str, Any] = {}
    for name, text in attributes.items():
        field = _FILLS[name]
        said: str | int | None = text if name == "source" else _time_ms(text)
        if said is None:
            return Refused("invalid.schema", f"the CloudEvent's {name}: {text[:80]!r} is no RFC 3339 time")
        present = getattr(decision, field)
        if present is None:
            absent[field] = said
        elif present != said:
            return Refused("invalid.schema", f"{field}: {present}, but the CloudEvent's {name} says {text[:80]}")
    return msgspec.structs.replace(decision, **absent) if absent else decision


def _time_ms(text: str) -> int | None:
    """An RFC 3339 time in epoch milliseconds, rounded down; None where it is none."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    if time.tzinfo is None or "T" not in text.upper():
        return None
    return (time - _EPOCH) // timedelta(milliseconds=1)
