"""What the topics recorded of one workflow: each decision with its answer, and what became of the commands.

The answers say at which reading of the gate's clock each decision was decided, so a replay needs no clock of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from schemas.reasons import WITHIN_BOUNDS
from streams.foreign import object_of

Place = tuple[str, int, int]
"""Topic, partition, offset."""

DECISIONS_MAX = 1_000_000  # about a gigabyte; a longer range tells hardly more
Headers = Sequence[tuple[str, bytes | None]]


class Answer(NamedTuple):
    """The disposition of one input, as far as a replay needs it. `attempt_id` is the decision's or successor's id."""

    attempt_id: str
    output: str
    reason: str
    gated_at_ms: int
    age_ms: int
    value_minor: int
    currency: str | None
    segment: str | None
    entity: str
    context_seen: int | None
    command_id: str | None


class Input(NamedTuple):
    """The input record of an answer."""

    place: Place
    timestamp_ms: int
    broker_time: bool
    key: bytes | None
    value: bytes | None
    headers: Headers


class Acted(NamedTuple):
    """A command that was acted on and whose outcome is known."""

    age_ms: int  # when the action was started
    promised_minor: int
    realised_minor: int
    currency: str


@dataclass
class Recording:
    """One workflow in one range of time. `gone`: answers whose input has been deleted; `vain`: ids of attempts that
    were asked about again and came to nothing. `others`: what else was decided in the range.
    """

    workflow: str
    from_ms: int
    to_ms: int
    answers: dict[Place, Answer] = field(default_factory=dict)
    inputs: list[Input] = field(default_factory=list)
    vain: set[str] = field(default_factory=set)
    others: set[str] = field(default_factory=set)
    actuation_ms: list[int] = field(default_factory=list)
    gone: int = 0
    oldest_ms: int | None = None
    _started_ms: dict[str, int] = field(default_factory=dict)
    _outcomes: dict[str, tuple[int, int, str | None]] = field(default_factory=dict)

    def add_answer(self, output: str, value: bytes | None) -> None:
        """Takes one record of an output topic. What cannot be read, or is no disposition, is left out."""
        body = _object(value)
        if body is None:
            return
        if body.get("workflow") != self.workflow:
            if isinstance(other := body.get("workflow"), str):
                self.others.add(other)
            return
        if output == "exceptions" and body.get("kind") == "followup":
            if str(body.get("reason")).startswith("reevaluation.") and isinstance(body.get("decision_id"), str):
                self.vain.add(body["decision_id"])
            return
        answer, source = _answer(output, body), body.get("source")
        if answer is not None and body.get("kind") == "disposition" and isinstance(source, dict):
            self.answers[source["topic"], source["partition"], source["offset"]] = answer

    def add_receipt(self, value: bytes | None) -> None:
        """Takes one record of `receipts`."""
        body = _object(value)
        if body is None or body.get("workflow") != self.workflow or type(body.get("started_at_ms")) is not int:
            return
        if body.get("command_id") not in self._started_ms:
            self._started_ms[str(body["command_id"])] = body["started_at_ms"]
            if type(body.get("gated_at_ms")) is int:
                self.actuation_ms.append(max(0, body["started_at_ms"] - body["gated_at_ms"]))

    def add_outcome(self, value: bytes | None) -> None:
        """Takes one record of `outcomes`; a later revision replaces an earlier one."""
        body = _object(value)
        name = None if body is None else body.get("command_id") or body.get("decision_id")
        if body is None or not isinstance(name, str) or type(body.get("value_minor")) is not int:
            return
        revision = body["revision"] if type(body.get("revision")) is int else 0
        if name not in self._outcomes or self._outcomes[name][0] <= revision:
            self._outcomes[name] = (revision, body["value_minor"], body.get("currency"))

    def acted(self) -> list[Acted]:
        """The commands whose start and outcome are both on record, in the same currency."""
        found = []
        for answer in self.answers.values():
            if answer.command_id is None or answer.currency is None:
                continue
            outcome = self._outcomes.get(answer.command_id) or self._outcomes.get(answer.attempt_id)
            started_ms = self._started_ms.get(answer.command_id)
            if outcome is None or started_ms is None or outcome[2] != answer.currency:
                continue
            age_ms = max(0, started_ms - answer.gated_at_ms) + answer.age_ms
            found.append(Acted(age_ms, answer.value_minor, outcome[1], answer.currency))
        return found


def _object(value: bytes | None) -> dict[str, Any] | None:
    return object_of(value)


def _answer(output: str, body: dict[str, Any]) -> Answer | None:
    inner = body.get("decision")
    known = {**inner, **body} if isinstance(inner, dict) else body
    numbers = (body.get("gated_at_ms"), body.get("age_ms"))
    if not isinstance(body.get("decision_id"), str) or not all(type(number) is int for number in numbers):
        return None  # no decision, or one that was never measured: no budget changes that
    reasons = body.get("reasons") or [body.get("reason") or WITHIN_BOUNDS]
    value_minor = known.get("value_minor")
    return Answer(
        attempt_id=body["decision_id"],
        output=output,
        reason="+".join(map(str, reasons)),
        gated_at_ms=body["gated_at_ms"],
        age_ms=body["age_ms"],
        value_minor=value_minor if type(value_minor) is int else 0,
        currency=known.get("currency"),
        segment=known.get("segment"),
        entity=str(body.get("entity")),
        context_seen=_context_seen(body),
        command_id=body.get("command_id"),
    )


def _context_seen(body: dict[str, Any]) -> int | None:
    attempts = body.get("attempts") or body.get("trace") or [{}]
    seen = body.get("context_version_seen", attempts[-1].get("context_version_seen"))
    return seen if type(seen) is int else None
