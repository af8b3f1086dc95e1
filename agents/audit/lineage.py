"""Lineage: each request to ask again has exactly one answer, and a root ends once over all its attempts.

A record on `reevaluations` is answered by a successor, or by an exception that is a followup; either names it in
`caused_by`. Successors are inputs and are read first, then the requests, then everything else: so only the roots that
were ever asked about again are followed, and of a request or an answer no more is kept than marks.

Policies are not read: which attempt is one too many the audit cannot know, it reports the highest.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agents.audit.inputs import Place, Record, is_int, mark
from agents.audit.report import Example, Result
from agents.audit.scan import Document, document

SUCCESSOR_FITS = (
    *("root_id", "attempt", "first_observed_at_ms", "final_deadline_ms"),
    *("workflow", "entity", "cause", "source", "key"),
)
EXCEPTION_FITS = ("decision_id", "attempt", "workflow", "entity", "source", "key", "decision")
_NAMES = tuple(dict.fromkeys((*SUCCESSOR_FITS, *EXCEPTION_FITS)))
_MARKS = struct.Struct(f"<{len(_NAMES)}q")
_ANSWER = struct.Struct(f"<q{len(SUCCESSOR_FITS)}q")  # the successor's own offset before its marks
_FITTED, _REPORTED = b"fitted", b"reported"
_PARTITIONS_MAX = 2**31  # a partition and an offset are kept as one integer
_NO_END = 2**63 - 1
_NOT_LET_IN = ("duplicate", "invalid", "shed")  # families of a record that never met the window, or its like there


@dataclass(slots=True)
class _Root:
    """One root in one partition: how often it went out, how often it ended, and how often before its final deadline."""

    final_deadline_ms: int
    out_at: int = _NO_END  # the offset on `decisions` with which it first went out; a later one is a repeat
    starts: int = 0
    endings: int = 0
    in_time: int = 0
    second: Example | None = None


class Lineage:
    """`reach`: the first offset and the end of each partition of `reevaluations` as far as it is read."""

    def __init__(self, requests_topic: str, decisions_topic: str, reach: dict[int, tuple[int, int]] | None = None):
        self.result = Result()
        self.reach = reach or {}
        self._requests_topic = requests_topic
        self._decisions_topic = decisions_topic
        self._successors_topic = ""
        self._successors: dict[int, bytes] = {}  # by the request that they answer
        self._open: dict[int, bytes] = {}  # requests without an answer so far
        self._ended: set[int] = set()  # requests that an exception answers
        self._roots: dict[bytes, _Root] = {}
        self._foreign: set[int] = set()

    def successor(self, record: Record) -> None:
        """Takes one record of `successors`; one whose cause is no request (a redrive, an edit) answers none."""
        self.result.successors += 1
        self._successors_topic = record.topic
        found = document(record.value, "action")
        fields = found.fields if found else {}
        self._highest(fields.get("attempt"))
        asked = self._asked(fields)
        if asked is None:
            return
        if asked in self._successors:
            self._find("answered_twice", record, fields.get("id"), self._told(asked, "has a successor already"))
            return
        wanted = f"{fields.get('root_id')}~{fields.get('attempt')}"
        wrong = None
        if fields.get("id") != wanted:
            wrong = f"its id {fields.get('id')!r} is not {wanted!r}"
        elif record.partition != asked % _PARTITIONS_MAX:
            wrong = f"it is in partition {record.partition}, its request in {asked % _PARTITIONS_MAX}"
        if wrong:
            self._find("misfits", record, fields.get("id"), wrong)
            self._successors[asked] = _REPORTED
            return
        attempt = fields.get("attempt")
        fields = {**fields, "attempt": attempt - 1 if is_int(attempt) else None, "key": record.key}
        self._successors[asked] = _ANSWER.pack(record.offset, *_marks(fields, SUCCESSOR_FITS))

    def request(self, record: Record, found: Document) -> None:
        """Takes one record of `reevaluations`; all of them come before the other outputs."""
        fields = found.fields
        place = record.offset * _PARTITIONS_MAX + record.partition
        self._highest(fields.get("attempt"))
        self._follow(record, fields)
        told = {**fields, "cause": fields.get("reason"), "key": record.key, "decision": found.verbatim}
        marks = _marks(told, _NAMES)
        answer = self._successors.get(place)
        if answer is None:
            self._open[place] = _MARKS.pack(*marks)
            return
        self.result.reevaluations_answered += 1
        if answer is _REPORTED:
            return
        self._successors[place] = _FITTED
        offset, *said = _ANSWER.unpack(answer)
        wanted = dict(zip(_NAMES, marks, strict=True))
        wrong = [name for name, one in zip(SUCCESSOR_FITS, said, strict=True) if one != wanted[name]]
        if wrong:
            example = Example(self._successors_topic, record.partition, offset, None, self._differs(place, wrong))
            self.result.find("misfits", example)

    def foreign(self, record: Record) -> None:
        """Takes a record of `reevaluations` that is no request; an exception that names it explains itself by it."""
        self._foreign.add(record.offset * _PARTITIONS_MAX + record.partition)

    def step(self, role: str, record: Record, found: Document, identifier: str | None) -> None:
        """Takes one record of any other output: an answer, a start or an ending of a root that was asked about."""
        fields = found.fields
        if role == "exceptions" and fields.get("kind") == "followup":
            asked = self._asked(fields)
            if asked is not None:
                self._exception(asked, record, found, identifier)
        root = self._roots.get(_root_of(role, fields) + record.partition.to_bytes(4)) if self._roots else None
        if root is not None:
            self._count(root, role, record, fields, identifier)

    def _exception(self, asked: int, record: Record, found: Document, identifier: str | None) -> None:
        marks = self._open.pop(asked, None)
        if marks is None:
            if asked in self._ended or asked in self._successors:
                self._find("answered_twice", record, identifier, self._told(asked, "has an answer already"))
            elif asked not in self._foreign and self._is_read(asked):
                self._find("unexplained", record, identifier, self._told(asked, "is no request"))
            return
        self._ended.add(asked)
        self.result.reevaluations_answered += 1
        told = {**found.fields, "key": record.key, "decision": found.verbatim}
        said = dict(zip(_NAMES, _MARKS.unpack(marks), strict=True))
        wrong = [
            name for name, one in zip(EXCEPTION_FITS, _marks(told, EXCEPTION_FITS), strict=True) if one != said[name]
        ]
        if record.partition != asked % _PARTITIONS_MAX:
            wrong.append("partition")
        if wrong:
            self._find("misfits", record, identifier, self._differs(asked, wrong))

    def _follow(self, record: Record, fields: dict[str, Any]) -> None:
        root_id, final_ms = fields.get("root_id"), fields.get("final_deadline_ms")
        if not isinstance(root_id, str):
            return  # of a disposition, `difference` says so
        known = _digest(root_id) + record.partition.to_bytes(4)
        final_ms = final_ms if is_int(final_ms) else 0
        root = self._roots.setdefault(known, _Root(final_ms))
        root.final_deadline_ms = min(root.final_deadline_ms, final_ms)
        if self._is_start(fields):
            root.starts += 1
            offset = fields["source"].get("offset")
            root.out_at = min(root.out_at, offset) if is_int(offset) else root.out_at

    def _is_start(self, fields: dict[str, Any]) -> bool:
        source = fields.get("source")
        first = isinstance(source, dict) and source.get("topic") == self._decisions_topic
        return first and fields.get("kind") == "disposition"

    def _count(self, root: _Root, role: str, record: Record, fields: dict[str, Any], identifier: str | None) -> None:
        family = str(fields.get("reason")).partition(".")[0] if role == "exceptions" else ""
        if role == "exceptions" and self._is_start(fields):
            before = fields["source"].get("offset")
            if family in _NOT_LET_IN or not is_int(before) or before < root.out_at:
                return  # it did not go out: its ending is of this record alone, and its id may come again
        root.starts += self._is_start(fields)
        # what happens to a command is no ending: that the command is
        if role != "commands" and (role != "exceptions" or family in ("duplicate", "execution")):
            return
        root.endings += 1
        gated_at_ms = fields.get("gated_at_ms")
        root.in_time += is_int(gated_at_ms) and gated_at_ms < root.final_deadline_ms
        if root.endings == 2:
            told = "its root, which was asked about again, has ended before"
            root.second = Example(record.topic, record.partition, record.offset, identifier, told)

    def finish(self, committed: dict[Place, int] | None) -> None:
        """What can be said once everything is read. `committed`: the offsets of the group that answers requests."""
        for place in self._open:
            offset, number = divmod(place, _PARTITIONS_MAX)
            if committed is not None and offset >= committed.get((self._requests_topic, number), 0):
                self.result.reevaluations_pending += 1
                continue
            example = Example(self._requests_topic, number, offset, None, "no successor and no exception names it")
            self.result.find("unanswered", example)
        for place, answer in self._successors.items():
            if answer is not _FITTED and answer is not _REPORTED and self._is_read(place):
                own = _ANSWER.unpack(answer)[0]
                told = self._told(place, "is no request")
                example = Example(self._successors_topic, place % _PARTITIONS_MAX, own, None, told)
                self.result.find("unexplained", example)
        for root in self._roots.values():
            if root.second is not None:
                again = root.endings > max(root.starts, 1) or root.in_time > 1
                self.result.find("ended_twice" if again else "id_reused", root.second)

    def _asked(self, fields: dict[str, Any]) -> int | None:
        """The request that a record names as its cause."""
        cause = fields.get("caused_by")
        if not isinstance(cause, dict) or cause.get("topic") != self._requests_topic:
            return None
        number, offset = cause.get("partition"), cause.get("offset")
        if not (is_int(number) and is_int(offset)) or not (0 <= number < _PARTITIONS_MAX and 0 <= offset <= _NO_END):
            return None
        return offset * _PARTITIONS_MAX + number

    def _is_read(self, place: int) -> bool:
        offset, number = divmod(place, _PARTITIONS_MAX)
        start, end = self.reach.get(number, (0, _NO_END))
        return start <= offset < end

    def _highest(self, attempt: object) -> None:
        if is_int(attempt):
            self.result.highest_attempt = max(self.result.highest_attempt, attempt)

    def _told(self, place: int, what: str) -> str:
        offset, number = divmod(place, _PARTITIONS_MAX)
        return f"{self._requests_topic}/{number}/{offset} {what}"

    def _differs(self, place: int, names: Sequence[str]) -> str:
        return f"it does not fit {self._told(place, 'in')} {', '.join(names)}"

    def _find(self, finding: str, record: Record, identifier: object, wrong: str) -> None:
        named = identifier if isinstance(identifier, str) else None
        self.result.find(finding, Example(record.topic, record.partition, record.offset, named, wrong))


def _marks(fields: dict[str, Any], names: Sequence[str]) -> list[int]:
    told = {**fields, "source": json.dumps(fields.get("source"), sort_keys=True)}
    return [mark(told.get(name)) for name in names]


def _digest(root_id: str) -> bytes:
    return hashlib.sha256(f"sluicegate:{root_id}".encode("utf-8", "surrogatepass")).digest()[:16]


def _root_of(role: str, fields: dict[str, Any]) -> bytes:
    """The digest of the root that an output is about; empty where it names none."""
    if role == "commands":
        try:
            return bytes.fromhex(str(fields.get("command_id")).removeprefix("c-"))
        except ValueError:
            return b""
    named = fields.get("decision_id")
    return _digest(named.partition("~")[0]) if isinstance(named, str) else b""
