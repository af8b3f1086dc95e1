"""The reviews role killed again and again while people answer: each review ends once, and only as it was answered."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.faults.answering import People, keys_file
from tests.faults.conftest import Report
from tests.faults.fleet import PARTITIONS, Fleet, wait_until
from tests.faults.load import Load
from tests.faults.stranger import ours

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

POLICY = """\
workflow: payout
version: 1
freshness: {budget: 30s}
boundary: {rules: [{name: ask, then: escalate}]}
review:
  quorum: 2
  approvers: [{role: clerk}, {role: controller}]
"""
ROUNDS = 4
KINDS = ("reviews", "commands", "exceptions", "rejections")


async def _read(bootstrap: str, prefix: str) -> dict[str, list[dict[str, Any]]]:
    """All committed records of the outputs."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    places = [TopicPartition(prefix + kind, number) for kind in KINDS for number in range(PARTITIONS)]
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    await consumer.start()
    try:
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        while any([await consumer.position(place) < ends[place] for place in places]):
            for place, records in (await consumer.getmany(timeout_ms=300)).items():
                read = [ours(record.value) for record in records]
                found[place.topic.removeprefix(prefix)] += [one for one in read if one is not None]
    finally:
        await consumer.stop()
    return found


def issues_more(fleet: Fleet) -> None:
    """Returns when commands have been issued from now on: whoever answers for reviews is at work again."""
    before = len(fleet.command_times_ms())
    wait_until(lambda: len(fleet.command_times_ms()) > before, 60, "no command was issued", fleet)


def source_of(record: dict[str, Any]) -> tuple[str, int, int]:
    source = record["source"]
    return source["topic"], source["partition"], source["offset"]


def test_reviews_survive_the_death_of_who_answers_for_them(fleet: Fleet, report: Report) -> None:
    rnd = random.Random(3)
    (fleet.policies / "payout.yaml").write_text(POLICY)
    keys = ["--verdict-keys", str(keys_file(fleet.folder))]
    fleet.start()
    worker, kills = fleet.start(role="reviews", more=keys), 0
    with People(fleet.bootstrap, fleet.prefix) as people:
        with Load(fleet, "people", per_s=20):
            for _ in range(ROUNDS):
                issues_more(fleet)
                time.sleep(rnd.uniform(0.5, 3))
                worker.kill()
                kills += 1
                time.sleep(rnd.uniform(0.1, 1.0))
                worker = fleet.start(role="reviews", more=keys)
            issues_more(fleet)
        fleet.wait_until_done()

        def all_ended() -> bool:
            found = asyncio.run(_read(fleet.bootstrap, fleet.prefix))
            opened = {source_of(one) for one in found["reviews"] if one["kind"] == "disposition"}
            ended = {source_of(one) for kind in ("commands", "exceptions") for one in found[kind]}
            return len(opened) > 0 and opened <= ended

        wait_until(all_ended, 120, "not every review has ended", fleet)
    time.sleep(2)  # what would come twice comes now
    found = asyncio.run(_read(fleet.bootstrap, fleet.prefix))
    judge(found, people)
    reasons = Counter(one["reason"] for one in found["exceptions"] if one["kind"] == "followup")
    report(
        f"kills: {kills}; reviews {sum(one['kind'] == 'disposition' for one in found['reviews'])}, told again "
        f"{sum(one['kind'] == 'followup' for one in found['reviews'])}; verdicts {len(people.verdicts)}; commands "
        f"{len(found['commands'])}, endings {dict(reasons)}; refused "
        f"{dict(Counter(one['reason'] for one in found['rejections']))}; two endings 0, two commands 0, commands "
        "without two approvals 0"
    )


def judge(found: dict[str, list[dict[str, Any]]], people: People) -> None:
    """The promises, counted from the topics and from what people know that they have said."""
    opened = {source_of(one): one for one in found["reviews"] if one["kind"] == "disposition"}
    endings = Counter(
        source_of(one) for kind in ("commands", "exceptions") for one in found[kind] if one["kind"] == "followup"
    )
    assert set(endings) == set(opened)
    assert set(endings.values()) == {1}
    assert max(Counter(one["command_id"] for one in found["commands"]).values()) == 1
    approvals: dict[str, set[str]] = {}
    for said in people.verdicts.values():
        if said["verdict"] == "approve" and said["signed"] and said["by"] in ("ana", "bo", "cy"):
            approvals.setdefault(said["review_id"] + said["action_digest"], set()).add(said["by"])
    for command in found["commands"]:
        review = opened[source_of(command)]
        assert command["review_id"] == review["review_id"]
        assert command["action"] == review["decision"]["action"]
        assert len(approvals.get(review["review_id"] + review["action_digest"], set())) >= 2
        assert command["gated_at_ms"] < command["deadline_ms"] == review["fresh_until_ms"]
        cause = people.verdicts[command["caused_by"]["partition"], command["caused_by"]["offset"]]
        assert (cause["review_id"], cause["verdict"], cause["signed"]) == (review["review_id"], "approve", True)
