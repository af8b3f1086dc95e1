"""Ingest: bytes in, a decision or the reason why it is none.

The first that applies is the reason: empty, oversized, encoding, json, schema, key, time, unknown_workflow, future.
Per record this decodes twice: msgspec types the fields and keeps `action` byte for byte, orjson reads the whole value
as strictly as its readers will (UTF-8, grammar and finite numbers also inside `action`, which msgspec skips over).
Cheap proofs, some of them for a whole batch at once, then save the slow road: see `_plain` and `_clean`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import orjson
from msgspec.structs import astuple

from schemas.common import DEPTH_MAX, NUMBER_DIGITS_MAX, TIME_MS_MAX, VALUE_BYTES_MAX
from schemas.decision import LINEAGE_FIELDS, Decision, Successor
from schemas.identifiers import root_digest
from streams.batch import Fetched, Input, Refused, Row
from streams.cloudevents import event_of, filled
from streams.foreign import REFUSALS
from streams.partitioning import ANYWHERE, Home
from streams.policy import Policy
from streams.strict_json import examine

_DECODERS: dict[Input, msgspec.json.Decoder[Any]] = {
    "decisions": msgspec.json.Decoder(Decision),
    "successors": msgspec.json.Decoder(Successor),
}
_decode = _DECODERS["decisions"].decode
_FIELDS = len(Decision.__struct_fields__)
_TIMES = ("observed_at_ms", "decided_at_ms", "sent_at_ms", "expires_at_ms")
_LINEAGE_TIMES = ("first_observed_at_ms", "final_deadline_ms")
# every character that a number may hold as "0", all others as a space
_NUMBER_CHARS = bytes(48 if char in b"0123456789.eE+-" else 32 for char in range(256))
# a run of more than 300 such characters covers ten in a row of every 30th byte
_STRIDE = 30
_LONG_NUMBER = b"0" * ((NUMBER_DIGITS_MAX + 1) // _STRIDE)


def ingest(fetched: Sequence[Fetched], now_ms: int, policies: Mapping[str, Policy], home: Home = ANYWHERE) -> list[Row]:
    """A row for each record, in order: with its decision, or refused. `home`: which keys belong to this partition."""
    rows: list[Row] = []
    for batch in fetched:
        astray = home.astray(batch.keys)
        plain = _plain(batch.values)
        simple = plain and batch.headers is None and batch.input == "decisions"
        for index, (offset, key, value) in enumerate(zip(batch.offsets, batch.keys, batch.values, strict=True)):
            found: Decision | Successor | Refused
            data = None
            if batch.unread is not None and (unread := batch.why_unread(index)) is not None:
                found = Refused(unread.reason, unread.detail)
            elif simple and (proven := _proven(value)) is not None:
                found = proven
            elif batch.headers is not None and batch.headers[index]:
                found, data = _read_event(batch.headers[index], value, batch.input, plain)
            else:
                found = read(value, batch.input, plain)
            if isinstance(found, Refused):
                rows.append(Row(batch, index, offset, key, None, found))
                continue
            # it can be read, so whatever else is wrong with it, an exception carries it whole
            if index in astray and key == found.entity.encode():
                refused = Refused("invalid.key", home.told(key))
                row = Row(batch, index, offset, key, found, refused)
            else:
                row = _row(batch, index, offset, key, found, now_ms, policies)
            if data is not None:
                row.data = data
            rows.append(row)
    return rows


def _proven(value: bytes | None) -> Decision | None:
    """The decision in a plain value that has nothing but known fields, each once and none null: most are like that.

    The colons tell: each field of the top level, each attribute and each key within `action` has one. What msgspec has
    typed it has also checked; only `action` is left to be read as strictly as its readers will, and written again as
    it was understood: of a key that stands twice the last is left, and a colon is missing. None: "not proven".
    """
    if value is None:
        return None
    try:
        decision: Decision = _decode(value)
        action = bytes(decision.action)
        understood = orjson.loads(action)
    except REFUSALS:
        return None
    colons, within = value.count(b":"), action.count(b":")
    keys = _FIELDS - astuple(decision).count(None)
    if decision.attributes is not None:
        keys += len(decision.attributes)
    if (
        colons - within == keys
        and colons + value.count(b"[") < DEPTH_MAX
        and (_is_flat(understood, within) or orjson.dumps(understood).count(b":") == within)
        and "~" not in decision.id
        and len(value) <= VALUE_BYTES_MAX
    ):
        return decision
    return None


def _is_flat(understood: Any, colons: int) -> bool:
    """Whether it is an object whose keys have all the colons that there are: so it holds no other object."""
    return type(understood) is dict and len(understood) == colons


def _read_event(
    headers: Iterable[tuple[str, bytes | None]], value: bytes | None, source: Input, plain: bool
) -> tuple[Decision | Successor | Refused, bytes | None]:
    """What a record with headers holds, and the decision's text where the value is an envelope around it."""
    event = event_of(headers, value) if source == "decisions" else None
    if isinstance(event, Refused):
        # what is wrong with the bytes comes first, and of that the encoding
        problem = None if event.reason == "invalid.encoding" else examine(value or b"")
        return Refused(*problem) if problem else event, None
    text = value if event is None or event.data is None else event.data
    found = read(text, source, plain)
    if event is not None and not isinstance(found, Refused):
        found = filled(found, event.attributes)
    return found, None if text is value else text


def refusal(value: bytes) -> tuple[str, str] | None:
    """Why this value could not stand on `decisions`, as (reason, sentence), or None. For tools that send."""
    found = read(value, "decisions")
    if isinstance(found, Refused):
        return found
    return _times(found)


def _row(
    batch: Fetched,
    index: int,
    offset: int,
    key: bytes | None,
    decision: Decision | Successor,
    now_ms: int,
    policies: Mapping[str, Policy],
) -> Row:
    refused = _key(key) if key != decision.entity.encode() else _times(decision)
    if refused is not None:
        return Row(batch, index, offset, key, decision, refused)
    policy = policies.get(decision.workflow)
    if policy is None:
        refused = Refused("invalid.unknown_workflow", f"no policy for the workflow {decision.workflow!r}")
        return Row(batch, index, offset, key, decision, refused)
    # what the broker had is no younger than the broker's own time of it: however long it waited, a lie stays one
    known_ms = min(now_ms, batch.timestamps_ms[index]) if batch.broker_time else now_ms
    if decision.observed_at_ms > known_ms + policy.freshness.skew_tolerance_ms:
        ahead_ms, since = decision.observed_at_ms - known_ms, "now" if known_ms == now_ms else "the broker had it"
        refused = Refused(
            "invalid.future",
            f"observed {ahead_ms} ms after {since}; "
            f"{policy.freshness.skew_tolerance_ms} ms of clock skew are tolerated",
        )
        return Row(batch, index, offset, key, decision, refused, "ingest", b"", b"", policy.index)
    digest = root = root_digest(decision.id)
    if isinstance(decision, Successor):
        root = root_digest(decision.root_id)
    return Row(batch, index, offset, key, decision, None, "ingest", digest, root, policy.index)


def read(value: bytes | None, source: Input, plain: bool = False) -> Decision | Successor | Refused:
    """Decodes one value; what its key, its times and the policies say is not looked at.

    `plain`: `_plain` is known to hold for it.
    """
    if not value:
        return Refused("invalid.empty", "a tombstone: the value is null" if value is None else "the value is empty")
    if len(value) > VALUE_BYTES_MAX:
        return Refused("invalid.oversized", f"the value has {len(value)} bytes; at most {VALUE_BYTES_MAX} are allowed")
    try:
        whole = orjson.loads(value)
        decision: Decision | Successor = _DECODERS[source].decode(value)
    except REFUSALS as error:  # msgspec for example a RecursionError, at a depth that orjson still takes
        problem = examine(value)
        return Refused(*problem) if problem else Refused("invalid.schema", _told(error))
    if not ((plain or _plain((value,))) and _clean(value, whole)) and (problem := examine(value)):
        return Refused(*problem)
    return _lineage(decision, whole) or decision


def _plain(values: Iterable[bytes | None]) -> bool:
    """Whether none of the values has a byte beyond ASCII, a backslash, or a number of more than 300 digits.

    So there is no byte order mark, no escaped surrogate, and no key that is spelt in two ways. Cheap proofs over all
    bytes at once; False means "not proven".
    """
    text = b"\n".join([value for value in values if value])
    return text.isascii() and b"\\" not in text and _LONG_NUMBER not in text[::_STRIDE].translate(_NUMBER_CHARS)


def _clean(value: bytes, whole: dict[str, Any]) -> bool:
    """Cheap proofs that `examine` would find nothing in a plain value; False means "not proven".

    - Going down, each step is into an array or past a key's colon; and with at most 64 opening brackets nothing is
      nested deeper either.
    - Written again as it was understood, it has as many colons: no key stands twice in any object, for the first of two
      would be gone. Without a backslash colons in texts are the same before and after.
    """
    colons, arrays = value.count(b":"), value.count(b"[")
    shallow = 1 + colons + arrays <= DEPTH_MAX or value.count(b"{") + arrays <= DEPTH_MAX
    return shallow and orjson.dumps(whole).count(b":") == colons


def _lineage(decision: Decision | Successor, whole: dict[str, Any]) -> Refused | None:
    if type(decision) is Successor:
        if decision.id != f"{decision.root_id}~{decision.attempt}" or "~" in decision.root_id:
            return Refused("invalid.schema", "id: a successor's id is <root_id>~<attempt>")
        return None
    if "~" in decision.id:
        return Refused("invalid.schema", "id: it may not hold a ~, which marks successors")
    if not LINEAGE_FIELDS.isdisjoint(whole):
        field = min(LINEAGE_FIELDS & whole.keys())
        return Refused("invalid.schema", f"{field}: only Sluicegate itself says what a decision descends from")
    return None


def _key(key: bytes | None) -> Refused:
    if key is None:
        return Refused("invalid.key", "the record has no key; it must be the entity")
    return Refused("invalid.key", "the record's key is not the entity")


def _times(decision: Decision | Successor) -> Refused | None:
    decided, sent, expires = decision.decided_at_ms, decision.sent_at_ms, decision.expires_at_ms
    if (
        0 <= decision.observed_at_ms <= TIME_MS_MAX
        and (decided is None or 0 <= decided <= TIME_MS_MAX)
        and (sent is None or 0 <= sent <= TIME_MS_MAX)
        and (expires is None or 0 <= expires <= TIME_MS_MAX)
        and type(decision) is Decision
    ):
        return None
    for field in _TIMES:
        time_ms = getattr(decision, field)
        if time_ms is not None and not 0 <= time_ms <= TIME_MS_MAX:
            return Refused("invalid.time", f"{field}: outside 0 ... {TIME_MS_MAX}")
    if isinstance(decision, Successor):
        for field in _LINEAGE_TIMES:
            if not 0 <= getattr(decision, field) <= TIME_MS_MAX:
                return Refused("invalid.time", f"{field}: outside 0 ... {TIME_MS_MAX}")
    return None


def _told(error: Exception) -> str:
    """msgspec's "Expected `int`, got `str` - at `$.observed_at_ms`" as "observed_at_ms: expected int, got str"."""
    text = str(error).replace("`", "")
    what, _, path = text.partition(" - at ")
    if text.startswith("Object missing required field "):
        return f"{text.removeprefix('Object missing required field ').partition(' - at ')[0]}: missing"
    field = path.removeprefix("$").removeprefix(".") or "the value"
    return f"{field}: {what[:1].lower()}{what[1:]}"[:300]
