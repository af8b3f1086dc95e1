"""Records about reviews as the topics hold them, made of the Structs; and one long story to mix up."""

from __future__ import annotations

from typing import Any

from msgspec import Raw, Struct
from msgspec.json import encode
from msgspec.structs import replace

from schemas.common import Source
from schemas.examples import COMMAND, EXCEPTION, REEVALUATION, REJECTION, REVIEW
from schemas.identifiers import action_digest, command_id, exception_id, review_id, root_digest
from schemas.review import Review
from schemas.verdict import Verdict
from streams.runtime.store.facts import Fact, Read, fact_of
from streams.signatures import sign

PREFIX = "t."
AT_MS = REVIEW.gated_at_ms


def read(topic: str, position: int, record: Struct | bytes, at_ms: int = 0, number: int = 2, **more: Any) -> Read:
    value = record if isinstance(record, bytes) else encode(record)
    return Read(topic, PREFIX, number, position, AT_MS + (at_ms or position), value, **more)


def fact(topic: str, position: int, record: Struct | bytes, at_ms: int = 0, number: int = 2, **more: Any) -> Fact:
    found = fact_of(read(topic, position, record, at_ms, number, **more))
    assert found is not None
    return found


def source(n: int) -> Source:
    return Source(f"{PREFIX}decisions", 2, n)


def place(topic: str, position: int) -> Source:
    return Source(PREFIX + topic, 2, position)


def identifier(n: int) -> str:
    return review_id(source(n).topic, 2, n)


def review(n: int, **more: Any) -> Review:
    fields = {"review_id": identifier(n), "source": source(n), "decision_id": f"d-{n}", "entity": f"acct-{n}"}
    return replace(REVIEW, **{**fields, **more})


def verdict(n: int, by: str = "ana", said: Any = "approve", **more: Any) -> Verdict:
    fields = {"review_id": identifier(n), "verdict": said, "action_digest": REVIEW.action_digest, "by": by}
    return Verdict(**{**fields, "at_ms": AT_MS, **more})


def signed(position: int, said: Verdict, at_ms: int = 0) -> Fact:
    header = ("sluicegate-signature", sign(f"key-{said.by}", b"secret", encode(said)))
    return fact("verdicts", position, said, at_ms, headers=[header])


def command(n: int, position: int, caused_by: Source, at_ms: int = 0) -> Fact:
    fields = {"command_id": command_id(root_digest(f"d-{n}")), "review_id": identifier(n), "authority": "reviewed"}
    made = replace(COMMAND, kind="followup", source=source(n), caused_by=caused_by, **fields)
    return fact("commands", position, made, at_ms)


def exception(n: int, position: int, reason: str, caused_by: Source, at_ms: int = 0) -> Fact:
    fields = {"exception_id": exception_id(source(n).topic, 2, n, reason), "reason": reason, "stage": "review"}
    made = replace(EXCEPTION, kind="followup", source=source(n), caused_by=caused_by, **fields)
    return fact("exceptions", position, made, at_ms)


def reevaluation(n: int, position: int, caused_by: Source, at_ms: int = 0) -> Fact:
    made = replace(REEVALUATION, kind="followup", source=source(n), caused_by=caused_by)
    return fact("reevaluations", position, made, at_ms)


def rejection(verdict_position: int, position: int, reason: str, at_ms: int = 0) -> Fact:
    made = replace(REJECTION, reason=reason, detail=f"it is {reason}", source=place("verdicts", verdict_position))
    return fact("rejections", position, made, at_ms)


def told_by_all_topics() -> list[Fact]:
    """Six reviews: approved by two, rejected, expired, asked about again, modified, still open; and bad verdicts."""
    again = Raw(b'{"id":"d-5","action":{"type":"invoice.post","amount":"1.00"},"value_minor":100,"currency":"USD"}')
    new_digest = action_digest(b'{"type":"invoice.post","amount":"1.00"}')
    return [
        *(fact("reviews", n, review(n, quorum=2 if n == 1 else 1)) for n in range(1, 7)),
        fact("reviews", 40, review(1, kind="followup", quorum=2, escalated=True, caused_by=place("reviews", 1))),
        signed(1, verdict(1), 41),
        fact(
            "reviews",
            41,
            review(1, kind="followup", quorum=2, escalated=True, approvals=["ana"], caused_by=place("verdicts", 1)),
        ),
        signed(2, verdict(1, "ana", note="again"), 42),
        rejection(2, 1, "verdict.repeated"),
        signed(3, verdict(1, "ben"), 43),
        command(1, 7, place("verdicts", 3), 44),
        signed(4, verdict(2, "ben", "reject", note="not \x00 ours")),
        exception(2, 8, "review.rejected", place("verdicts", 4)),
        signed(5, verdict(2, "ana"), 50),
        rejection(5, 2, "verdict.ended", 51),
        exception(3, 9, "review.expired", place("reviews", 3), 60),
        signed(6, verdict(4), 61),
        reevaluation(4, 10, place("verdicts", 6), 62),
        signed(7, verdict(5, "eve", "modify", action=Raw(b'{"type":"invoice.post","amount":"1.00"}'))),
        fact(
            "reviews",
            63,
            review(
                5,
                kind="followup",
                approvals=["eve"],
                action_digest=new_digest,
                decision=again,
                quorum=2,
                caused_by=place("verdicts", 7),
            ),
        ),
        fact("verdicts", 8, verdict(6, "mallory"), 64),
        rejection(8, 3, "verdict.unsigned", 65),
        fact("verdicts", 9, replace(verdict(6, "dan"), review_id="r-2-" + "0" * 32), 66),
    ]
