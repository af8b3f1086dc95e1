"""Judges outputs against inputs: records in, findings out. Pure, so that each rule can be shown broken in a test.

Two passes: all inputs first (`Inputs`), then every output once, each topic-partition in its own order; requests to ask
again before the others, for `Lineage` follows what descends from them.
"""

from __future__ import annotations

import struct
from typing import Any

from agents.audit.content import VERBATIM, difference
from agents.audit.inputs import LOG_APPEND_TIME, Inputs, Partition, Place, Record, is_int
from agents.audit.lineage import Lineage
from agents.audit.lost import Lost
from agents.audit.report import Example, Result
from agents.audit.reviewed import Reviewed
from agents.audit.scan import document

ROLES = ("commands", "reviews", "exceptions", "reevaluations")
RANGED = ("lost.removed", "invalid.batch")
"""Why an exception may answer a range of offsets."""
LATER_STEPS = ("followup", "audit_sample")
IDENTIFIERS = {
    "commands": "command_id",
    "reviews": "review_id",
    "exceptions": "exception_id",
    "reevaluations": "request_id",
}
_ANSWERED, _COMMANDED = 1, 2  # what became of an input
_COMMAND = struct.Struct("<qqiq")
"""When a command was gated, until when it was fresh, in which partition, and a number that tells its entity."""


class Judge:
    """Takes every output once. `committed`: the group's offsets by input partition, None where no group was named."""

    def __init__(
        self,
        inputs: Inputs,
        lineage: Lineage,
        committed: dict[Place, int] | None = None,
        decisions: str = "",
    ) -> None:
        self._inputs = inputs
        self._lineage = lineage
        self._committed = committed
        self._result = lineage.result
        self._result.inputs = inputs.count()
        self._reviewed = Reviewed(self._result)
        self.lost = Lost(self._result, decisions)
        self._samples: list[tuple[Place, int, Example]] = []
        self._last_source: dict[tuple[Place, str, int], dict[bytes | None, int]] = {}
        self._commanded: dict[bytes, bytes] = {}
        self._commanded_again: dict[bytes, list[bytes]] = {}
        self._ahead: list[tuple[Place, int, Example]] = []
        self.highest_source: dict[Place, int] = {}

    @property
    def places(self) -> list[Place]:
        return list(self._inputs.partitions)

    def take(self, role: str, record: Record) -> None:
        """Judges one record of the output topic that has this role."""
        found = document(record.value, VERBATIM[role])
        if found is None:
            if role == "reevaluations":
                self._lineage.foreign(record)
            self._find("unexplained", record, None, getattr(record, "detail", "it is not a JSON object"))
            return
        fields = found.fields
        identifier = _text(fields.get(IDENTIFIERS[role]))
        kind = fields.get("kind")
        if kind not in ("disposition", *LATER_STEPS):
            self._find("unexplained", record, identifier, f"its kind {kind!r} is none that is known")
            return
        if role == "commands":
            self._command(record, fields, identifier)
        if role == "reevaluations":
            self._lineage.request(record, found)
        else:
            self._lineage.step(role, record, found, identifier)
        self._reviewed.take(role, record, fields, identifier)
        if role == "exceptions":
            self.lost.tells(fields, identifier)
        if kind in LATER_STEPS:
            self._result.followups += 1
            if kind == "audit_sample":
                self._sampled(role, record, fields, identifier)
            return
        self._count(role, fields)
        source = _source(fields.get("source"))
        partition = self._inputs.partitions.get(source[0]) if source else None
        if source is None or partition is None:
            told = f"its source {fields.get('source')!r} is no place on an input topic"
            self._find("unexplained", record, identifier, told)
            return
        place, offset = source
        through = fields["source"].get("through")
        if through is not None:
            self._range(record, role, fields, partition, (place, offset, through), identifier)
            return
        self.lost.answers(place, offset)
        index = partition.index(offset)
        if index is None and offset >= partition.log_start:
            told = f"its source {place[0]}/{place[1]}/{offset} is not an input"
            self._find("unexplained", record, identifier, told)
            return
        self._ahead_of_group(record, place, offset, identifier)
        if index is not None:
            wrong = difference(role, record, found, partition, index, place)
            if wrong:
                self._find("altered", record, identifier, wrong + _made_again(record, partition, index))
            if partition.answered[index]:
                told = f"{place[0]}/{place[1]}/{offset} has been answered already"
                self._find("duplicates", record, identifier, told)
                return
            partition.answered[index] = _COMMANDED if role == "commands" else _ANSWERED
        self._order(record, place, offset, identifier)

    def _range(
        self,
        record: Record,
        role: str,
        fields: dict[str, Any],
        partition: Partition,
        source: tuple[Place, int, object],
        identifier: str | None,
    ) -> None:
        """An exception for records that could not be read: it answers every input in its range."""
        place, offset, through = source
        if role != "exceptions" or fields.get("reason") not in RANGED or not is_int(through) or through < offset:
            told = f"its source {fields.get('source')!r} is a range, and it is no exception that may have one"
            self._find("altered", record, identifier, told)
            return
        self.lost.answers(place, through)
        for index in partition.within(offset, through):
            if partition.answered[index]:
                told = f"{place[0]}/{place[1]}/{partition.offsets[index]} has been answered already"
                self._find("duplicates", record, identifier, told)
            partition.answered[index] = _ANSWERED

    def result(self, committed: dict[Place, int] | None = None, answering: dict[Place, int] | None = None) -> Result:
        """The findings; to be called once. `committed`: the group's offsets after all outputs were read.

        `answering`: those of the group that answers requests, before anything was read; None where none was named.
        """
        if self._committed is not None:
            after = self._committed if committed is None else committed
            for place, offset, example in self._ahead:
                if offset >= after.get(place, 0):
                    self._result.find("unexplained", example)
        for place, index, example in self._samples:
            # one whose input nothing answers is missing, or its answer is not read yet
            if self._inputs.partitions[place].answered[index] == _ANSWERED:
                self._result.find("unexplained", example)
        for place, partition in self._inputs.partitions.items():
            self._unanswered(place, partition)
        self._lineage.finish(answering)
        self._reviewed.finish()
        return self._result

    def _unanswered(self, place: Place, partition: Partition) -> None:
        until = None if self._committed is None else self._committed.get(place, 0)
        for index in partition.unanswered():
            offset = partition.offsets[index]
            if until is not None and offset >= until:
                self._result.pending += 1
                continue
            identifier = partition.facts(index).id or None
            self._result.find("missing", Example(*place, offset, identifier, "no disposition names it"))

    def _sampled(self, role: str, record: Record, fields: dict[str, Any], identifier: str | None) -> None:
        """A sample shows a command: its source is that of one."""
        source = _source(fields.get("source"))
        partition = self._inputs.partitions.get(source[0]) if source else None
        if role != "reviews" or source is None or partition is None or fields.get("caused_by") is not None:
            self._find("unexplained", record, identifier, "it is no sample of a command: a review with its source")
            return
        place, offset = source
        if (index := partition.index(offset)) is not None:
            told = f"it is a sample, and {place[0]}/{place[1]}/{offset} did not become a command"
            self._samples.append((place, index, _example(record, identifier, told)))

    def _ahead_of_group(self, record: Record, place: Place, offset: int, identifier: str | None) -> None:
        if self._committed is None or offset < self._committed.get(place, 0):
            return
        self.highest_source[place] = max(offset, self.highest_source.get(place, -1))
        told = f"its source {place[0]}/{place[1]}/{offset} is not yet committed by the group"
        self._ahead.append((place, offset, _example(record, identifier, told)))

    def _order(self, record: Record, place: Place, offset: int, identifier: str | None) -> None:
        last = self._last_source.setdefault((place, record.topic, record.partition), {})
        before = last.get(record.key, -1)
        if offset < before:
            told = f"it answers offset {offset} of {place[0]}/{place[1]} after {before}, which has the same key"
            self._find("out_of_order", record, identifier, told)
        else:
            last[record.key] = offset

    def _command(self, record: Record, fields: dict[str, Any], identifier: str | None) -> None:
        gated_at_ms, deadline_ms = fields.get("gated_at_ms"), fields.get("deadline_ms")
        if not is_int(gated_at_ms) or not is_int(deadline_ms):
            if fields.get("kind") != "disposition":  # of a disposition, `difference` says so
                self._find("altered", record, identifier, "its gated_at_ms or deadline_ms is not a time")
            return
        if gated_at_ms >= deadline_ms:
            told = f"gated at {gated_at_ms}, its deadline was {deadline_ms}"
            self._find("late_commands", record, identifier, told)
        if record.timestamp_type == LOG_APPEND_TIME and record.timestamp >= deadline_ms:
            told = f"stored by the broker at {record.timestamp}, its deadline was {deadline_ms}"
            self._find("appended_late", record, identifier, told)
        if identifier is not None:
            self._repeated(record, identifier, gated_at_ms, deadline_ms)

    def _repeated(self, record: Record, identifier: str, gated_at_ms: int, deadline_ms: int) -> None:
        """Holds a command against those of the same root before it: of two that were fresh at once, one is too many.

        In one partition the gate sees every entity's ids; in two only one entity's, for its key has one partition.
        """
        root, entity = _packed(identifier), hash(record.key)
        one = _COMMAND.pack(gated_at_ms, deadline_ms, record.partition, entity)
        first = self._commanded.setdefault(root, one)
        if first is one:
            return
        others = self._commanded_again.setdefault(root, [])
        for before in (first, *others):
            before_ms, until_ms, partition, other = _COMMAND.unpack(before)
            here = partition == record.partition
            where = "in this partition" if here else f"in partition {partition}"
            if (here or other == entity) and gated_at_ms < until_ms and (here or before_ms < deadline_ms):
                told = f"the same command stands {where} with the deadline {until_ms}"
                self._find("command_twice", record, identifier, told)
                return
        told = f"the same id was commanded {where}, until {until_ms}"
        self._find("id_reused", record, identifier, f"{told}, of another entity" if other != entity else told)
        others.append(one)

    def _count(self, role: str, fields: dict[str, Any]) -> None:
        setattr(self._result, role, getattr(self._result, role) + 1)
        reasons = fields.get("reasons") if role == "reviews" else [fields.get("reason")]
        for reason in reasons if isinstance(reasons, list) else [reasons]:
            self._result.reason(role, str(reason))

    def _find(self, finding: str, record: Record, identifier: str | None, wrong: str) -> None:
        self._result.find(finding, _example(record, identifier, wrong))


def _example(record: Record, identifier: str | None, wrong: str) -> Example:
    return Example(record.topic, record.partition, record.offset, identifier, wrong)


def _made_again(record: Record, partition: Partition, index: int) -> str:
    """Says so where an input that an answer does not fit came after it: what was answered is gone with its topic."""
    at_ms = partition.appended_ms[index]
    if record.timestamp_type != LOG_APPEND_TIME or at_ms <= record.timestamp:
        return ""
    return f"; the input came {at_ms - record.timestamp} ms after the answer: its topic was made again"


def _source(value: object) -> tuple[Place, int] | None:
    if not isinstance(value, dict):
        return None
    topic, partition, offset = (value.get(name) for name in ("topic", "partition", "offset"))
    if not isinstance(topic, str) or not (is_int(partition) and is_int(offset)):
        return None
    return ((topic, partition), offset) if 0 <= offset < 2**63 else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _packed(identifier: str) -> bytes:
    """Half the memory for a well-formed command id; any other is kept as it is."""
    try:
        return bytes.fromhex(identifier.removeprefix("c-"))
    except ValueError:
        return identifier.encode("utf-8", "surrogatepass")
