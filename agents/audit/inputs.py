"""What the audit remembers of every input: digests and marks in one small packed value, never the bytes.

About 260 bytes an input, so that a million of them are judged in a few hundred megabytes.
"""

from __future__ import annotations

import hashlib
import json
import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol, TypeGuard

from agents.audit.events import Headers, event
from agents.audit.scan import Document, document

Place = tuple[str, int]
"""A topic and a partition number."""

LOG_APPEND_TIME = 1
NO_LIMIT_MS = 2**63 - 1
ID_KEPT = 201
"""Characters: an id has at most 200, so a longer one fits no output and need not be kept whole."""
CUT_BYTES = 64 * 1024
"""CONTRACT cuts `raw` here; at most 3 bytes earlier, where a UTF-8 character would be split."""
CUT_LENGTHS = range(CUT_BYTES - 3, CUT_BYTES + 1)

NOT_A_DECISION = (
    "",
    "its input is not a JSON object",
    "its input lacks an id, entity or action",
    "its input has no observed_at_ms that is a time",
    "its input names a field twice",
    "its input is a CloudEvent that cannot be understood",
    "its input is a CloudEvent whose attributes contradict its decision",
)
"""Why no command or review may rest on an input; the index is what is remembered, 0 is a decision."""

MARKED = ("workflow", "entity", "value_minor", "currency", "model", "segment")
"""The input's fields that an output repeats unchanged; the id is kept as it is."""

_PACKED = struct.Struct("<32s32s16s16s10qII?B")


class Record(Protocol):
    """A record as the reader delivers it: aiokafka's own, or one made by hand."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def timestamp_type(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Headers: ...


KEY_BYTES = 800


class Facts(NamedTuple):
    """What an output is held against: its input, reduced to digests and marks."""

    value_sha256: bytes
    action_sha256: bytes
    decision_sha256: bytes
    command_digest: bytes
    marks: tuple[int, ...]
    key_mark: int
    limit_ms: int
    observed_at_ms: int
    first_observed_at_ms: int
    attempt: int
    value_bytes: int
    tombstone: bool
    fault: int
    id: str


def mark(value: object) -> int:
    """Returns a number that tells two JSON values apart (also 1, 1.0 and true); 0 stands for null and for absent."""
    if value is None:
        return 0
    try:
        return hash((value.__class__, value))
    except TypeError:
        return hash(json.dumps(value))


def answer_key(key: bytes | None) -> bytes | None:
    """The key that an answer has: the input's, or its hash and length where it is longer than any entity."""
    if key is None or len(key) <= KEY_BYTES:
        return key
    return f"sha256:{hashlib.sha256(key).hexdigest()}/{len(key)}".encode()


def is_int(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


class Partition:
    """The inputs of one partition in order of offset, and which of them have been answered."""

    def __init__(self) -> None:
        self.log_start = 0
        self.offsets = array("q")
        self.appended_ms = array("q")
        self.packed: list[bytes] = []
        self.answered = bytearray()
        self.cuts: dict[int, dict[int, bytes]] = {}

    def index(self, offset: int) -> int | None:
        at = bisect_left(self.offsets, offset)
        return at if at < len(self.offsets) and self.offsets[at] == offset else None

    def within(self, first: int, last: int) -> range:
        """The indices of the inputs from one offset up to and with another."""
        return range(bisect_left(self.offsets, first), bisect_right(self.offsets, last))

    def unanswered(self) -> Iterator[int]:
        at = self.answered.find(0)
        while at >= 0:
            yield at
            at = self.answered.find(0, at + 1)

    def facts(self, index: int) -> Facts:
        packed = self.packed[index]
        value, action, decision, command, *numbers = _PACKED.unpack_from(packed)
        marks, others = tuple(numbers[: len(MARKED)]), numbers[len(MARKED) :]
        identifier = packed[_PACKED.size :].decode("utf-8", "surrogatepass")
        return Facts._make([value, action, decision, command, marks, *others, identifier])


class Inputs:
    """All records of the input topics, by place. `lineage_topic` is the one whose records may name a root."""

    def __init__(self, topics: dict[str, int], lineage_topic: str) -> None:
        self.lineage_topic = lineage_topic
        self.partitions: dict[Place, Partition] = {
            (topic, number): Partition() for topic, count in topics.items() for number in range(count)
        }

    def add(self, record: Record) -> None:
        partition = self.partitions[record.topic, record.partition]
        value = record.value or b""
        if len(value) > CUT_BYTES:
            partition.cuts[len(partition.packed)] = {
                length: hashlib.sha256(value[:length]).digest() for length in CUT_LENGTHS
            }
        partition.offsets.append(record.offset)
        partition.appended_ms.append(record.timestamp if record.timestamp_type == LOG_APPEND_TIME else 0)
        partition.packed.append(_pack(record, value, record.topic == self.lineage_topic))
        partition.answered.append(0)

    def count(self) -> int:
        return sum(len(partition.offsets) for partition in self.partitions.values())


def _pack(record: Record, value: bytes, lineage: bool) -> bytes:
    announced = event(record.headers, value) if record.headers and not lineage else None
    text = value if announced is None else announced.text
    found = document(text, "action")
    fields = found.fields if found else {}
    fault = _fault(found)
    if announced is not None and not fault:
        filled = announced.fill(fields)
        fault = 5 if announced.broken else 6 if filled is None else _fault(found, filled)
        fields = filled or fields
    identifier = fields.get("id")
    named = identifier[:ID_KEPT].encode("utf-8", "surrogatepass") if isinstance(identifier, str) else b""
    sha256 = hashlib.sha256(value).digest()
    bare = text.strip(b" \t\r\n")
    root = fields.get("root_id", identifier) if lineage else identifier
    command = f"sluicegate:{root}".encode("utf-8", "surrogatepass")
    limits_ms = [at for name in ("expires_at_ms", "final_deadline_ms") if is_int(at := fields.get(name))]
    return (
        _PACKED.pack(
            sha256,
            hashlib.sha256((found.verbatim or "").encode()).digest() if found else b"",
            sha256 if len(bare) == len(value) else hashlib.sha256(bare).digest(),
            hashlib.sha256(command).digest(),
            *[mark(fields.get(name)) for name in MARKED],
            mark(answer_key(record.key)),
            NO_LIMIT_MS if fault else min(limits_ms, default=NO_LIMIT_MS),
            *(0, 0, 0) if fault else (fields["observed_at_ms"], *_descent(fields, lineage)),
            len(value),
            record.value is None,
            fault,
        )
        + named
    )


def _descent(fields: dict[str, Any], lineage: bool) -> tuple[int, int]:
    """When the first attempt was observed, and which attempt this is; 0 for what cannot be."""
    if not lineage:
        return fields["observed_at_ms"], 1
    first_ms, attempt = fields.get("first_observed_at_ms"), fields.get("attempt")
    return (
        first_ms if is_int(first_ms) and 0 <= first_ms <= NO_LIMIT_MS else 0,
        attempt if is_int(attempt) and 0 <= attempt < 2**32 else 0,
    )


def _fault(found: Document | None, filled: dict[str, Any] | None = None) -> int:
    if found is None:
        return 1
    fields = found.fields if filled is None else filled
    if not (_text(fields, "id") and _text(fields, "entity") and found.verbatim is not None):
        return 2
    times = [fields.get("observed_at_ms"), fields.get("expires_at_ms"), fields.get("final_deadline_ms")]
    if not is_int(times[0]) or any(is_int(at) and not 0 <= at <= NO_LIMIT_MS for at in times):
        return 3
    return 4 if found.repeated else 0


def _text(fields: dict[str, Any], name: str) -> bool:
    value = fields.get(name)
    return isinstance(value, str) and value != ""
