"""The reviews role on a real Kafka: answers become commands, time runs out without traffic, policies change."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from schemas.published import current_key
from schemas.verdict import SIGNATURE_HEADER
from streams.governing import Signed, applied
from streams.rulebook import Rulebook
from streams.runtime.broker import Broker
from streams.runtime.policies import load
from streams.runtime.topics import apply
from streams.signatures import sign
from tests.faults.answering import SECRET, keys_file
from tests.kafka.harness import (
    Record,
    audited,
    decision,
    new_prefix,
    now_ms,
    read,
    record,
    send,
    worker,
    write_policies,
)

pytestmark = [pytest.mark.kafka, pytest.mark.asyncio]

POLICY = """\
workflow: billing
version: 3
freshness: {budget: 10m}
boundary: {rules: [{name: ask, then: escalate}]}
review: {sla: 8s, queue: desk}
"""


def verdict(review: Record, by: str = "ana", **fields: Any) -> Record:
    """A signed answer, in the review's partition."""
    asked = review.json()
    said = {"review_id": asked["review_id"], "verdict": "approve", "action_digest": asked["action_digest"]}
    value = orjson.dumps({**said, "by": by, "at_ms": now_ms(), **fields})
    headers = ((SIGNATURE_HEADER, sign("desk-1", SECRET.encode(), value)),)
    topic = review.topic.removesuffix("reviews") + "verdicts"
    return Record(topic, review.key, value, review.partition, headers)


async def test_reviews_are_answered_or_run_out(kafka: Broker, tmp_path: Path) -> None:
    bootstrap, prefix = kafka.bootstrap, new_prefix()
    await apply(bootstrap, prefix, 2)
    write_policies(tmp_path / "policies", POLICY)
    keys = ["--verdict-keys", str(keys_file(tmp_path))]
    with (
        worker(bootstrap, prefix, tmp_path) as gate,
        worker(bootstrap, prefix, tmp_path, "desk", role="reviews", more=keys) as desk,
    ):
        await asyncio.gather(gate.said("partition ready", 2), desk.said("partition ready", 2))
        await send(bootstrap, [record(prefix + "decisions", decision(f"d-{n}", f"acct-{n}")) for n in range(4)])
        opened = {one.json()["decision_id"]: one for one in await read(bootstrap, [prefix + "reviews"], 4)}
        unsigned = verdict(opened["d-2"])._replace(headers=())
        answers = [verdict(opened["d-0"]), verdict(opened["d-1"], verdict="reject"), unsigned]
        await send(bootstrap, [*answers, verdict(opened["d-0"], "bo")])
        (command,) = await read(bootstrap, [prefix + "commands"], 1)
        assert (command.json()["decision_id"], command.json()["authority"]) == ("d-0", "reviewed")
        assert command.partition == opened["d-0"].partition
        ended = [one.json() for one in await read(bootstrap, [prefix + "exceptions"], 3)]
        reasons = {one["decision_id"]: one["reason"] for one in ended}
        assert reasons == {"d-1": "review.rejected", "d-2": "review.expired", "d-3": "review.expired"}
        for one in ended:
            due_ms = opened[one["decision_id"]].json()["deadline_ms"]
            assert (one["gated_at_ms"] >= due_ms) is (one["reason"] == "review.expired")
        refused = await read(bootstrap, [prefix + "rejections"], 2)
        assert sorted(one.json()["reason"] for one in refused) == ["verdict.ended", "verdict.unsigned"]
        escalated = [one.json() for one in await read(bootstrap, [prefix + "reviews"], 6)]
        assert {one["decision_id"] for one in escalated if one.get("escalated")} >= {"d-2", "d-3"}
        verdict_of_the_audit = await audited(bootstrap, prefix)
        assert verdict_of_the_audit["ok"], verdict_of_the_audit
        assert await gate.stop() == 0
        assert await desk.stop() == 0


async def test_a_change_of_policy_ends_what_is_pending_without_traffic(kafka: Broker, tmp_path: Path) -> None:
    bootstrap, prefix = kafka.bootstrap, new_prefix()
    await apply(bootstrap, prefix, 1)
    write_policies(tmp_path / "policies", POLICY.replace("8s", "5m"))
    keys = ["--verdict-keys", str(keys_file(tmp_path))]
    with (
        worker(bootstrap, prefix, tmp_path) as gate,
        worker(bootstrap, prefix, tmp_path, "desk", role="reviews", more=keys) as desk,
    ):
        await asyncio.gather(gate.said("partition ready"), desk.said("partition ready"))
        await send(bootstrap, [record(prefix + "decisions", decision("d-1"))])
        (opened,) = await read(bootstrap, [prefix + "reviews"], 1)
        book = Rulebook()
        there = await read(bootstrap, [prefix + "policies"], 2)
        for offset, one in enumerate(there):
            book.take(offset, one.key, one.value, one.headers)
        later = write_policies(tmp_path / "later", POLICY.replace("8s", "5m").replace("version: 3", "version: 4"))
        documents = [policy.document for policy in load(later).by_index]
        writes = applied(book.edition(), documents, "invalidate", Signed("ops", "a test", now_ms()))
        assert [one.key for one in writes][-1] == current_key("billing")
        await send(bootstrap, [Record(prefix + "policies", one.key.encode(), one.value, 0) for one in writes])
        (ended,) = await read(bootstrap, [prefix + "exceptions"], 1)
        assert (ended.json()["reason"], ended.json()["policy"]) == ("review.invalidated", "billing@4")
        await send(bootstrap, [verdict(opened)])
        (refused,) = await read(bootstrap, [prefix + "rejections"], 1)
        assert refused.json()["reason"] == "verdict.ended"


async def test_a_later_command_retires_an_open_review_also_one_of_before(kafka: Broker, tmp_path: Path) -> None:
    bootstrap, prefix = kafka.bootstrap, new_prefix()
    await apply(bootstrap, prefix, 1)
    text = POLICY.replace("budget: 10m", "budget: 10m, supersede: true").replace("8s", "5m")
    rule = "{name: small, then: autonomous, limits: {value_minor_at_most: 500, currency: USD}}"
    write_policies(tmp_path / "policies", text.replace("{name: ask, then: escalate}", rule))
    keys = ["--verdict-keys", str(keys_file(tmp_path))]
    dear = [decision(f"dear-{n}", f"acct-{n}", value_minor=900, observed_at_ms=now_ms() - 9_000) for n in range(3)]

    async def superseded(count: int) -> dict[str, str]:
        found = [one.json() for one in await read(bootstrap, [prefix + "exceptions"], count)]
        assert {(one["reason"], one["kind"]) for one in found} == {("superseded", "followup")}
        assert {one["caused_by"]["topic"] for one in found} == {prefix + "commands"}
        return {one["decision_id"]: one["detail"] for one in found}

    with worker(bootstrap, prefix, tmp_path) as gate:
        await gate.said("partition ready")
        await send(bootstrap, [record(prefix + "decisions", one) for one in dear])
        await read(bootstrap, [prefix + "reviews"], 3)
        await send(bootstrap, [record(prefix + "decisions", decision("cheap-0", "acct-0"))])
        await read(bootstrap, [prefix + "commands"], 1)
        with worker(bootstrap, prefix, tmp_path, "desk", role="reviews", more=keys) as desk:
            assert list(await superseded(1)) == ["dear-0"]
            await send(bootstrap, [record(prefix + "decisions", decision("cheap-1", "acct-1"))])
            assert set(await superseded(2)) == {"dear-0", "dear-1"}
            assert await desk.stop() == 0
        verdict_of_the_audit = await audited(bootstrap, prefix)
        assert verdict_of_the_audit["ok"], verdict_of_the_audit
        assert await gate.stop() == 0
