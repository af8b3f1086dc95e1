"""CloudEvents among the inputs, read anew from CONTRACT.md and the CloudEvents texts; nothing is taken from the gate.

Of an event three things matter here: where in the value the decision stands, when the event says that it expires, and
whether it contradicts its decision, so that nothing may rest on it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple

from agents.audit.scan import document

Headers = Sequence[tuple[str, bytes | None]]

FIELDS = {"time": "decided_at_ms", "expirytime": "expires_at_ms", "source": "proposer"}
"""The attributes that fill a field of the decision which is absent."""

_REQUIRED = ("specversion", "id", "source", "type")
_time = re.compile(
    r"(\d{4}-\d\d-\d\d)t([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60)(\.\d+)?(z|([+-])(\d\d):([0-5]\d))", re.ASCII
)


class Event(NamedTuple):
    """The decision's own text, and the attributes that fill it; `broken`: the event cannot be understood."""

    text: bytes
    attributes: dict[str, str]
    broken: bool = False

    def fill(self, fields: dict[str, Any]) -> dict[str, Any] | None:
        """The decision's fields with those that the event adds; None where the two contradict each other."""
        added: dict[str, Any] = {}
        for name, said in self.attributes.items():
            value = said if name == "source" else epoch_ms(said)
            if not said or value is None:
                return None
            present = fields.get(FIELDS[name])
            if present is not None and present != value:
                return None
            added[FIELDS[name]] = value
        return fields | added


def event(headers: Headers, value: bytes) -> Event | None:
    """The event that the headers announce around or beside this value; None where they announce none."""
    said: dict[str, set[bytes]] = {}
    for name, content in headers:
        if content is not None:
            said.setdefault(name.lower(), set()).add(content)
    kinds = {content.split(b";")[0].strip().lower() for content in said.get("content-type", ())}
    if any(kind.startswith(b"application/cloudevents") for kind in kinds):
        return _structured(value) if kinds == {b"application/cloudevents+json"} else Event(value, {}, broken=True)
    versions = said.get("ce_specversion")
    if versions is None:
        return None
    contents = {name: said[f"ce_{name}"] for name in FIELDS if f"ce_{name}" in said}
    try:
        attributes = {name: content.decode() for name, (content,) in contents.items()}
    except ValueError:  # not UTF-8, or told twice and differently
        return Event(value, {}, broken=True)
    return Event(value, attributes, broken=versions != {b"1.0"})


def _structured(value: bytes) -> Event:
    found = document(value, "data")
    if found is None or found.repeated or found.verbatim in (None, "null"):
        return Event(value, {}, broken=True)
    fields, text = found.fields, str(found.verbatim).encode()
    told = {name: fields[name] for name in FIELDS if fields.get(name) is not None}
    broken = fields.get("specversion") != "1.0" or not all(
        isinstance(content, str) for content in (*told.values(), *(fields.get(name) for name in _REQUIRED))
    )
    return Event(text, {} if broken else told, broken)


def epoch_ms(text: str) -> int | None:
    """Epoch milliseconds of an RFC 3339 time, what is finer cut off; a leap second is the second after it."""
    match = _time.fullmatch(text.lower())
    if match is None:
        return None
    day, hour, minute, second, fraction, _, sign, ahead_h, ahead_min = match.groups()
    try:
        days = date.fromisoformat(day).toordinal() - date(1970, 1, 1).toordinal()
    except ValueError:
        return None
    ahead_s = int(ahead_h) * 3600 + int(ahead_min) * 60 if sign else 0
    if ahead_s >= 86_400:
        return None
    time_s = days * 86_400 + int(hour) * 3600 + int(minute) * 60 + int(second) - (-ahead_s if sign == "-" else ahead_s)
    if second == "60" and time_s % 86_400:
        return None
    return time_s * 1000 + int(f"{fraction or '.0'}000"[1:4])
