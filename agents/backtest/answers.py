"""Outputs read back, just as far as a replay needs them: a million of them are decoded, most of each is skipped."""

from __future__ import annotations

import re
from typing import Any

from msgspec import Raw, Struct

from schemas.common import Source
from schemas.lease import ExposureSeen
from streams.backtest import Shape
from streams.foreign import Reader, Unreadable
from streams.freshness import TRANSACTION

_KEPT_BACK = re.compile(rf"(\d+) ms are kept back for the (executor|{TRANSACTION})")
UNACTIONABLE = "stale.unactionable"
HALTED = "halted"


class _Output(Struct, gc=False):
    kind: str
    source: Source
    gated_at_ms: int
    workflow: str | None = None
    entity: str | None = None
    decision_id: str | None = None
    policy: str | None = None
    rule: str | None = None
    reason: str = ""
    context_version_seen: int | None = None
    value_minor: int | None = None
    currency: str | None = None
    exposure_seen: dict[str, ExposureSeen] | None = None


class _Command(_Output, gc=False):
    command_id: str | None = None
    deadline_ms: int = 0


class _Review(_Output, kw_only=True, gc=False):
    reasons: list[str]
    fresh_until_ms: int = 0
    decision: Raw = Raw(b"null")


class _Ended(_Output, gc=False):
    detail: str = ""
    decision: Raw = Raw(b"null")


class _Worth(Struct, gc=False):
    value_minor: int | None = None
    currency: str | None = None


class Origin(Struct, gc=False):
    """What halts are about."""

    segment: str | None = None
    model: str | None = None


_READERS: dict[str, Reader[Any]] = {
    "commands": Reader(_Command, again=False),
    "reviews": Reader(_Review, again=False),
    "exceptions": Reader(_Ended, again=False),
    "reevaluations": Reader(_Ended, again=False),
}
_worth = Reader(_Worth, again=False)
_origin = Reader(Origin, again=False)


class Answer(Struct, gc=False):
    """The disposition of one input. `written`: its offset in the output topic.

    `slack_ms`: how long after it was decided it was still fresh, where it went out; `kept_back_ms`: what the gate says
    it kept back for the executor, where that was too much, and `commit_ms` for the transaction of its batch; `origin`:
    of one that was halted.
    """

    shape: Shape
    source: Source
    gated_at_ms: int
    written: int
    entity: str | None
    decision_id: str | None
    command_id: str | None
    value_minor: int | None
    currency: str | None
    context_seen: int | None
    exposure_seen: dict[str, ExposureSeen] | None
    slack_ms: int | None = None
    kept_back_ms: int | None = None
    commit_ms: int | None = None
    origin: Origin | None = None


class Answers:
    """Decodes outputs; shapes that are equal are one object."""

    def __init__(self) -> None:
        self._shapes: dict[Shape, Shape] = {}

    def read(self, output: str, value: bytes | None, written: int = 0) -> Answer | None:
        """The disposition in this record; None for what is none, or cannot be read."""
        found = _READERS[output](value)
        if isinstance(found, Unreadable) or found.kind != "disposition":
            return None
        answer = self._answer(found, output, written)
        if output == "commands":
            answer.command_id, answer.slack_ms = found.command_id, found.deadline_ms - found.gated_at_ms
        elif output == "reviews":
            worth = _worth(found.decision)
            if not isinstance(worth, Unreadable):
                answer.value_minor, answer.currency = worth.value_minor, worth.currency
            if found.fresh_until_ms:
                answer.slack_ms = found.fresh_until_ms - found.gated_at_ms
        elif found.reason == UNACTIONABLE and (told := _KEPT_BACK.search(found.detail)):
            if told[2] == TRANSACTION:
                answer.commit_ms = int(told[1])
            else:
                answer.kept_back_ms = int(told[1])
        elif found.reason == HALTED:
            origin = _origin(found.decision)
            answer.origin = None if isinstance(origin, Unreadable) else origin
        return answer

    def _answer(self, found: Any, output: str, written: int) -> Answer:
        reason = "+".join(found.reasons) if output == "reviews" else found.reason
        shape = Shape(found.workflow, output, reason, found.rule, found.policy)
        return Answer(
            self._shapes.setdefault(shape, shape),
            found.source,
            found.gated_at_ms,
            written,
            found.entity,
            found.decision_id,
            None,
            found.value_minor,
            found.currency,
            found.context_version_seen,
            found.exposure_seen,
        )
