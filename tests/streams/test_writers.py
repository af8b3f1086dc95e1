"""All writers of what governs the gate, each with each of its fields below, at and beyond every bound: what comes out
can be read by the readers, and what cannot be read does not come out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import pytest

from schemas.common import MONEY_MINOR_MAX, TIME_MS_MAX, Source
from schemas.heartbeat import Heartbeat
from schemas.lease import Account, Demand, Lease
from schemas.policy import Limits, PolicyDocument
from schemas.published import Preapproval, Scope, preapproval_key
from schemas.verdict import Verdict
from streams.encoding import Unwritable, readable
from streams.errors import ConfigurationError
from streams.governing import Signed, Write, applied, halted, recalled, resumed, rolled_back, written
from streams.review_life import Refusal
from streams.review_reading import Arrived, verdict_in
from streams.rulebook import Compiler, Rulebook

TEXTS = ["", "x", "x" * 3, "x" * 4, "x" * 200, "x" * 201, "x" * 1_000, "x" * 1_001, "x" * 70_000]
TEXTS += ["é" * 200, "é" * 201, "\0", "\x1f" * 1_000, "\ud800", "a\udcff", "\U0001f600" * 1_000, '"\\', "a/b%*"]
NUMBERS = [-(2**63) - 1, -1, 0, 1, 2**31, MONEY_MINOR_MAX, MONEY_MINOR_MAX + 1, TIME_MS_MAX + 1]
NUMBERS += [2**63 - 1, 2**63, 2**64, 10**20]
SHARES = [-0.1, 0.0, 0.5, 1.0, 1.1, math.nan, math.inf]
VALUES: dict[type, Sequence[Any]] = {str: TEXTS, int: NUMBERS, float: SHARES}


class Writer(NamedTuple):
    """What writes: from fields with their usual values to what would be written, and what is wrong with that for its
    readers (None: nothing).
    """

    usual: dict[str, Any]
    write: Callable[..., Sequence[Write]]
    refused: Callable[[Sequence[Write]], object]


def document(**fields: Any) -> PolicyDocument:
    """One as a writer makes it who checks nothing."""
    usual = msgspec.convert(
        {"workflow": "billing", "version": 1, "freshness": {"budget": "10m"}, "boundary": {}}, PolicyDocument
    )
    return msgspec.structs.replace(usual, **fields)


def signed(by: str = "ana", why: str = "a reason", at_ms: int = 1_000) -> Signed:
    return Signed(by, why, at_ms)


def book_of(*writes: Write) -> Rulebook:
    book = Rulebook()
    for offset, one in enumerate(writes):
        book.take(offset, one.key.encode(), one.value, one.headers)
    return book


def rulebook_refuses(writes: Sequence[Write]) -> object:
    """What whoever reads `policies` anew says about these records."""
    return Compiler().snapshot(book_of(*writes).edition())[1]


BEFORE = [*applied(book_of().edition(), [document()], "keep", signed())]
BEFORE += applied(book_of(*BEFORE).edition(), [document(version=2)], "keep", signed())
SIGNED = {"by": "ana", "why": "a reason", "at_ms": 1_000}


def write_policy(
    workflow: str, version: int, sample: float, rule: str, most: int, sure: float, **who: Any
) -> list[Write]:
    rules = [{"name": "small", "then": "autonomous"}]
    boundary = msgspec.convert({"rules": rules, "audit_sample": 0.5}, type(document().boundary))
    limits = msgspec.structs.replace(Limits(), value_minor_at_most=most, currency="USD", confidence_at_least=sure)
    first = msgspec.structs.replace(boundary.rules[0], name=rule, limits=limits)
    boundary = msgspec.structs.replace(boundary, rules=[first], audit_sample=sample)
    made = document(workflow=workflow, version=version, boundary=boundary)
    return applied(book_of().edition(), [made], "keep", signed(**who))


def write_rollback(workflow: str, version: int, **who: Any) -> list[Write]:
    return [*BEFORE, *rolled_back(book_of(*BEFORE).edition(), workflow, version, "keep", signed(**who))[1]]


def write_halt(workflow: str, segment: str, model: str, action_type: str, **who: Any) -> list[Write]:
    return halted(Scope(workflow, segment, model, action_type), signed(**who))


def write_resume(workflow: str, **who: Any) -> list[Write]:
    before = halted(Scope(workflow), signed())
    return [*before, *resumed(book_of(*before).edition(), Scope(workflow), signed(**who))]


def write_recall(command: str, **who: Any) -> list[Write]:
    return recalled(command, signed(**who))


def write_preapproval(**fields: Any) -> list[Write]:
    return [written(preapproval_key(fields["id"]), Preapproval(**fields))]


def write_verdict(**fields: Any) -> list[Write]:
    return [Write("a", readable(Verdict(**fields, verdict="modify", action=msgspec.Raw(b'{"type":"t"}'))))]


def verdict_refused(writes: Sequence[Write]) -> object:
    found = verdict_in(Arrived(Source("t.verdicts", 0, 0), None, writes[0].value, None, 0))
    return found if isinstance(found, Refusal) else None


def plain(kind: type[msgspec.Struct], **more: Any) -> tuple[Callable[..., list[Write]], Callable[..., object]]:
    """A writer and a reader of a record that nothing but its own schema is held against."""

    def write(**fields: Any) -> list[Write]:
        return [Write("k", readable(kind(**fields, **more)))]

    def refused(writes: Sequence[Write]) -> object:
        msgspec.json.Decoder(kind).decode(writes[0].value)
        return None

    return write, refused


PREAPPROVAL = {"id": "holidays", "workflow": "billing", "segment": "s", "action_type": "t", "entity": "e", "by": "ana"}
ACCOUNT = Account(id="0" * 32, workflow="billing", limit="a-day", window_ms=1, window_start_ms=0)
BEAT = {"worker": "gate/1", "role": "gate", "at_ms": 1, "every_ms": 3_000, "policies_offset": 0}
WRITERS = {
    "policy apply": Writer(
        {"workflow": "w", "version": 3, "sample": 0.5, "rule": "r", "most": 5, "sure": 0.5, **SIGNED},
        write_policy,
        rulebook_refuses,
    ),
    "policy rollback": Writer({"workflow": "billing", "version": 1, **SIGNED}, write_rollback, rulebook_refuses),
    "halt": Writer(
        {"workflow": "w", "segment": "s", "model": "m", "action_type": "t", **SIGNED}, write_halt, rulebook_refuses
    ),
    "resume": Writer({"workflow": "w", **SIGNED}, write_resume, rulebook_refuses),
    "recall": Writer({"command": "c-" + "0" * 32, **SIGNED}, write_recall, rulebook_refuses),
    "reviews preapprove": Writer(
        {**PREAPPROVAL, "value_minor_at_most": 5, "currency": "USD", "from_ms": 1, "until_ms": 2, **SIGNED},
        write_preapproval,
        rulebook_refuses,
    ),
    "reviews modify": Writer(
        {"review_id": "r-0-1", "action_digest": "sha256:0", "by": "ana", "at_ms": 1, "note": "n", "value_minor": 5}
        | {"currency": "USD", "observed_at_ms": 1, "context_version": 1},
        write_verdict,
        verdict_refused,
    ),
    "heartbeat": Writer(BEAT, *plain(Heartbeat)),
    "demand": Writer({"partition": 0, "held": 0, "needed": 1, "at_ms": 1}, *plain(Demand, account=ACCOUNT)),
    "lease": Writer({"partition": 0, "total": 1, "left": 1, "at_most": 9, "at_ms": 1}, *plain(Lease, account=ACCOUNT)),
}
FIELDS = [(name, field) for name, writer in WRITERS.items() for field in writer.usual]


@pytest.mark.parametrize(("name", "field"), FIELDS, ids=[f"{name}: {field}" for name, field in FIELDS])
def test_what_is_written_can_be_read_and_what_cannot_is_not_written(name: str, field: str) -> None:
    writer = WRITERS[name]
    outcomes = set()
    for value in [writer.usual[field], *VALUES[type(writer.usual[field])]]:
        try:
            writes = writer.write(**{**writer.usual, field: value})
        except (ConfigurationError, Unwritable, UnicodeEncodeError):
            outcomes.add("refused")
            continue
        assert not (trouble := writer.refused(writes)), f"{field}={value!r:.60} was written, and: {trouble}"
        assert all(len(one.value) < 1_000_000 for one in writes)
        outcomes.add("read")
    assert "read" in outcomes, "some value must be right, or nothing is shown"


@pytest.mark.parametrize("name", WRITERS)
def test_the_usual_is_written(name: str) -> None:
    writer = WRITERS[name]
    assert not writer.refused(writer.write(**writer.usual))


@pytest.mark.parametrize(
    ("name", "field", "value", "told"),
    [
        ("halt", "why", "x" * 1_001, "length <= 1000 at why"),
        ("halt", "by", "", "length >= 1 at by"),
        ("resume", "why", "", "length >= 1 at why"),
        ("recall", "by", "x" * 201, "length <= 200 at by"),
        ("policy apply", "why", "", "length >= 1 at why"),
        ("policy apply", "version", 20261127213000123456, "<= 9223372036854775807"),
        ("policy apply", "sure", math.nan, "would read otherwise"),
        ("policy rollback", "by", "", "length >= 1 at by"),
        ("reviews preapprove", "currency", "euro", "length <= 3 at currency"),
        ("reviews preapprove", "value_minor_at_most", 9007199254740993, "<= 9007199254740992"),
        ("reviews modify", "by", "", "length >= 1 at by"),
    ],
)
def test_a_refusal_names_the_field_and_its_limit(name: str, field: str, value: object, told: str) -> None:
    writer = WRITERS[name]
    with pytest.raises((ConfigurationError, Unwritable)) as refused:
        writer.write(**{**writer.usual, field: value})
    assert told in str(refused.value)
