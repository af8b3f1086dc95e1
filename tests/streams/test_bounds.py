"""The largest record of each family that any input can lead to fits into the topic that takes it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import msgspec
import orjson
import pytest

from schemas.common import VALUE_BYTES_MAX
from schemas.heartbeat import Heartbeat
from schemas.identifiers import action_digest
from schemas.policy import PolicyDocument
from schemas.topics import BY_KIND
from streams.batch import Fetched, Refused, Sent
from streams.bounds import KEY_BYTES_MAX, bounded_key
from streams.headers import DEFAULTS
from streams.memory import Memory
from streams.policy import Policy, compile_policy
from streams.reevaluation import pending, sent_exception, sent_successor, successor
from streams.rejections import rejection
from streams.requests import Ended
from streams.review_reading import arrived, held
from streams.runtime.heartbeats import HEARTBEAT_BYTES_MAX, beat_bytes
from streams.runtime.settings import BATCH_RECORDS_MAX
from tests.streams.making import NOW_MS, decided, decision, encoded, fetched
from tests.streams.reviewing import ACTION, Desk, records, verdict

NAME = "\x01" * 200  # six bytes each where it stands in JSON
HUGE = 1024 * 1024  # what a broker takes as a key or a header
CLIMBING = {"budget": "10m", "total": "30m", "on_stale": "reevaluate", "max_attempts": 100}
CAME = [("traceparent", b"\xff" * 1_024), *((f"__dlq.errors.{one}", b"x" * HUGE) for one in ("topic", "message"))]


def size_bytes(sent: Sent) -> int:
    """As the broker counts it: a batch of one record, each length a few bytes."""
    headers = sum(len(name.encode()) + len(value) + 10 for name, value in sent.headers)
    return 61 + 30 + len(sent.key or b"") + len(sent.value) + headers


def fits(sent: Iterable[Sent]) -> dict[str, int]:
    """The sizes by output, each within what its topic takes."""
    sizes: dict[str, int] = {}
    for one in sent:
        sizes[one.output] = max(size_bytes(one), sizes.get(one.output, 0))
        limit = int(BY_KIND[one.output].settings["max.message.bytes"].value)
        assert size_bytes(one) <= limit, f"{one.output}: {size_bytes(one)} bytes, {limit} are taken"
    return sizes


def policy(rules: list[dict[str, Any]], **freshness: Any) -> Policy:
    """One whose own names are as long as they may be, and that has as many limits as it may."""
    exposure = [{"name": NAME[3:] + f"{at:03}", "window": "1h", "count_at_most": 1_000} for at in range(100)]
    whole = {
        "workflow": NAME,
        "version": 2**53,
        "freshness": {"budget": "10m", **freshness},
        "boundary": {"rules": rules, "exposure": exposure, "audit_sample": 1.0},
        "evaluator": {"url": "http://127.0.0.1:9/"},
        "review": {"queue": NAME},
    }
    made, problems = compile_policy(msgspec.convert(whole, PolicyDocument), 0)
    assert made is not None, problems
    return made


RUN = policy([{"name": NAME, "then": "autonomous"}])
ASK = policy([{"name": NAME, "then": "escalate"}])
AGAIN = policy([{"name": NAME, "then": "autonomous"}], **CLIMBING)


def filled(fields: dict[str, Any], field: str) -> bytes:
    """The same in exactly as many bytes as a value may have, `field` of them filled with what is escaped."""
    room = VALUE_BYTES_MAX - len(encoded({**fields, field: ""}))
    value = encoded({**fields, field: "\x01" * (room // 6)})
    return value[:-1] + b" " * (VALUE_BYTES_MAX - len(value)) + b"}"


def came(value: bytes | None, key: bytes = NAME.encode(), **about: Any) -> Fetched:
    return replace(fetched([value], keys=[key], **about), headers=[CAME])


WHOLE = decision(workflow=NAME, entity=NAME, id="\x01" * 200)
PARTS = ("action", "model", "segment", "proposer", "attributes")


@pytest.mark.parametrize("field", PARTS)
@pytest.mark.parametrize(
    ("under", "outputs"), [(RUN, {"commands", "reviews"}), (ASK, {"reviews"}), (AGAIN, {"reevaluations"})]
)
def test_what_becomes_of_the_largest_decision(field: str, under: Policy, outputs: set[str]) -> None:
    stale = {"observed_at_ms": NOW_MS - 700_000} if under is AGAIN else {}
    fields = {**WHOLE, **stale, "id": "i" * 200}
    value = filled({**fields, "attributes": {}} if field != "attributes" else fields, "model")
    if field != "attributes":
        value = filled(fields, field)
    found = decided(came(value), [under])
    sizes = fits([*found.records, *found.samples])
    assert set(sizes) == outputs


@pytest.mark.parametrize("key", [b"k" * HUGE, b"\xff" * HUGE, NAME.encode()])
@pytest.mark.parametrize("value", [b"\x01" * HUGE, b"\xff" * HUGE, b'"' * HUGE, filled(WHOLE, "action")])
def test_what_cannot_be_read_becomes_a_record_that_can_be_sent(key: bytes, value: bytes) -> None:
    for source in ("decisions", "successors"):
        found = decided(came(value, key, source=source), [RUN])
        assert set(fits(found.records)) <= {"exceptions", "commands"}
    batch = replace(records("reevaluations", value), keys=[key], headers=[CAME])
    ended = pending(batch, 0, {}, NOW_MS)
    assert isinstance(ended, Ended)
    fits([sent_exception(batch, 0, ended, {}, NOW_MS, DEFAULTS)[0]])
    desk = Desk()
    for topic in ("reviews", "verdicts"):
        batch = replace(records(topic, value), keys=[key], headers=[CAME])
        turn = desk.reviews.decide([batch], NOW_MS, desk.snapshot(), desk.contexts)
        assert set(fits(turn.records)) == {"rejections"}
    fits([rejection(batch.place(0), key, value, "invalid.key", "why " * HUGE, DEFAULTS)])


def test_a_history_that_grows_to_its_last_attempt_fits() -> None:
    """100 attempts under the longest name: what an evaluator answers has to leave room for them."""
    fields: dict[str, Any] = {**WHOLE, "id": "i" * 200, "observed_at_ms": NOW_MS - 700_000}
    now_ms, source = NOW_MS, "decisions"
    for attempt in range(1, 100):
        found = decided(came(encoded(fields), source=source), [AGAIN], now_ms=now_ms)
        (request,) = found.records
        assert request.output == "reevaluations", request.value[:500]
        fits([request])
        batch = replace(records("reevaluations", request.value), keys=[NAME.encode()], headers=[CAME])
        asked = pending(batch, 0, {NAME: AGAIN}, now_ms)
        assert not isinstance(asked, Ended), asked
        size = 230_000 if attempt == 50 else 10
        said = {"action": {"type": "invoice.post", "x": "x" * size}, "observed_at_ms": fields["observed_at_ms"] + 1}
        made = successor(asked, encoded(said), None, now_ms)
        if attempt == 50:
            assert isinstance(made, Refused) and "the answer and what goes with it have" in made.detail
            fits([sent_exception(batch, 0, asked.ended(made), {NAME: AGAIN}, now_ms, DEFAULTS)[0]])
            made = successor(asked, encoded({**said, "action": {"type": "invoice.post"}}), None, now_ms)
        assert not isinstance(made, Refused), made
        sent = sent_successor(asked, made, DEFAULTS)
        fits([sent])
        assert len(sent.value) <= VALUE_BYTES_MAX, "the gate reads no larger one"
        fields, source = orjson.loads(sent.value), "successors"
    ended = decided(came(encoded(fields), source="successors"), [AGAIN], now_ms=now_ms)
    assert set(fits(ended.records)) == {"exceptions"}
    assert len(orjson.loads(ended.records[0].value)["trace"]) == 100


def test_what_a_review_leads_to_and_leaves_in_the_changelog_fits() -> None:
    desk = Desk(policy([{"name": NAME, "then": "escalate"}]))
    value = filled({**WHOLE, "id": "i" * 200}, "proposer")
    (review,) = decided(came(value), [desk.policy]).records
    batch = replace(records("reviews", review.value), keys=[NAME.encode()], headers=[CAME])
    turn = desk.reviews.decide([batch], NOW_MS, desk.snapshot(), desk.contexts)
    assert turn.records == []
    _kept(turn.changelog)
    for at_ms in (NOW_MS + 300_000, NOW_MS + 10**9):  # told again, escalated; expired
        turn = desk.reviews.decide([], at_ms, desk.snapshot(), desk.contexts)
        assert turn.records
        fits(turn.records)
        _kept(turn.changelog)


def test_an_action_that_makes_the_decision_too_large_is_no_modification() -> None:
    desk = Desk()
    name = desk.opens(1, attributes={"note": "x" * 200_000})
    action = {**ACTION, "note": "y" * 100_000}
    (told,) = desk.says(verdict(name, "modify", action=action))
    assert (told["output"], told["reason"]) == ("rejections", "invalid.oversized")
    assert action_digest(b"") not in told["detail"]


def test_a_verdict_that_is_held_fits_the_changelog() -> None:
    batch = replace(records("verdicts", b"\xff" * VALUE_BYTES_MAX, signature=b"s" * HUGE), keys=[b"k" * KEY_BYTES_MAX])
    _kept({"held/7": held(arrived(batch, 0), "r-2-" + "0" * 32)})


def test_the_largest_batch_fits_the_changelog() -> None:
    memory = Memory()
    many = [decision(number, workflow=NAME, entity=f"e-{number}") for number in range(BATCH_RECORDS_MAX)]
    found = decided(fetched(many), [RUN], memory=memory)
    _kept(memory.commit(found.remembered, NOW_MS))


def _kept(changelog: Any) -> None:
    limit = int(BY_KIND["state"].settings["max.message.bytes"].value)
    assert changelog
    for slot, value in changelog.items():
        assert len(slot) + len(value or b"") + 200 <= limit, f"{slot}: {len(value)} bytes"


def test_a_heartbeat_with_every_trouble_and_many_policies_fits() -> None:
    beat = Heartbeat(
        worker=NAME,
        role="gate",
        at_ms=NOW_MS,
        every_ms=3_000,
        policies_offset=1,
        policies={f"{NAME}{at}": 2**53 for at in range(700)},
        troubles=["\x01" * 100_000] * 1_000,
    )
    value = beat_bytes(beat)
    assert len(value) <= HEARTBEAT_BYTES_MAX < int(BY_KIND["workers"].settings["max.message.bytes"].value) - 10_000
    said = msgspec.json.decode(value, type=Heartbeat)
    assert said.policies == beat.policies
    assert said.troubles


def test_a_key_longer_than_any_entity_becomes_its_hash_and_length() -> None:
    assert bounded_key(None) is None
    assert bounded_key("é".encode() * 200) == "é".encode() * 200
    assert bounded_key(b"k" * HUGE) == bounded_key(b"k" * HUGE) != bounded_key(b"l" * HUGE)
    assert len(bounded_key(b"k" * HUGE) or b"") < 100
