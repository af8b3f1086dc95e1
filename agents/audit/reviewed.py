"""Reviews and how they ended: each at most once, and a command that people let through belongs to its review."""

from __future__ import annotations

import hashlib
import sys
from typing import Any

from agents.audit.inputs import Record, is_int
from agents.audit.report import Example, Result

STAGE = "review"  # of an exception that ends a review
_NEVER_MS = 2**63
_Source = tuple[Any, Any, Any]


class Reviewed:
    """Takes every output once, whatever their order."""

    def __init__(self, result: Result) -> None:
        self._result = result
        self._opened: dict[_Source, tuple[bytes, int]] = {}  # its id's digest, and the last deadline it can have
        self._ended: dict[_Source, int] = {}
        self._commands: list[tuple[_Source, bytes, int, Example]] = []

    def take(self, role: str, record: Record, fields: dict[str, Any], identifier: str | None) -> None:
        """A review that was opened, or a step of one that ends it."""
        source = _source(fields.get("source"))
        if source is None:
            return  # of a disposition, somebody else says so
        kind = fields.get("kind")
        if role == "reviews":
            if kind == "disposition":
                ends = [at for name in ("final_deadline_ms", "deadline_ms") if is_int(at := fields.get(name))]
                self._opened[source] = _digest(fields.get("review_id")), max(ends, default=_NEVER_MS)
            return
        reviewed = role == "commands" and fields.get("authority") == "reviewed"
        asked = role == "reevaluations" and kind == "followup"
        if not (reviewed or asked or (role == "exceptions" and kind == "followup" and fields.get("stage") == STAGE)):
            return
        if reviewed:
            deadline_ms = fields.get("deadline_ms")
            told = Example(record.topic, record.partition, record.offset, identifier, "")
            known = (source, _digest(fields.get("review_id")), deadline_ms if is_int(deadline_ms) else 0, told)
            self._commands.append(known)
        ended = self._ended[source] = self._ended.get(source, 0) + 1
        if ended > 1:
            self._find("ended_twice", record, identifier, f"the review of {_told(source)} has ended before")

    def finish(self) -> None:
        """What can be said once everything is read."""
        for source, review, deadline_ms, example in self._commands:
            opened = self._opened.get(source)
            if opened is None or opened[0] != review:
                wrong = f"no review with its review_id was opened for {_told(source)}"
            elif deadline_ms > opened[1]:
                wrong = f"its deadline_ms {deadline_ms} is past that of its review, {opened[1]}"
            else:
                continue
            at = (example.topic, example.partition, example.offset, example.id)
            self._result.find("unexplained", Example(*at, wrong))

    def _find(self, finding: str, record: Record, identifier: str | None, wrong: str) -> None:
        self._result.find(finding, Example(record.topic, record.partition, record.offset, identifier, wrong))


def _source(value: object) -> _Source | None:
    if not isinstance(value, dict):
        return None
    topic, partition, offset = (value.get(name) for name in ("topic", "partition", "offset"))
    if not (isinstance(topic, str) and is_int(partition) and is_int(offset)):
        return None
    return sys.intern(topic), partition, offset


def _told(source: _Source) -> str:
    return "/".join(map(str, source))


def _digest(review_id: object) -> bytes:
    return hashlib.sha256(str(review_id).encode("utf-8", "surrogatepass")).digest()[:16]
