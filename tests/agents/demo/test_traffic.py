"""The demo's traffic has every trouble in it, the same for the same seed."""

from __future__ import annotations

import json
from collections import Counter
from itertools import count

from agents.demo.traffic import QUEUED_MS_MAX, Record, Traffic, broken
from agents.workflows.billing.events import Origin, decision
from agents.workflows.billing.trips import month_of_trips
from streams.ingest import refusal

NOW_MS = 1_795_000_000_000
COUNT = 3000


def traffic(seed: int = 3) -> list[Record]:
    clock = count(NOW_MS, 5)
    return list(Traffic(COUNT, Origin(seed, "demo")).records(lambda: next(clock)))


def test_it_is_as_long_as_asked_and_the_same_every_time() -> None:
    assert len(traffic()) == COUNT
    assert traffic() == traffic()
    assert traffic() != traffic(seed=4)


def test_every_trouble_occurs_and_most_records_have_none() -> None:
    troubles = Counter(record.trouble for record in traffic())
    assert set(troubles) == {"none", "queued", "malformed", "repeated", "conflicting"}
    assert troubles["none"] > COUNT * 0.75


def test_queued_decisions_are_on_both_sides_of_the_packs_budget_of_20_s() -> None:
    waits_ms = [
        body["sent_at_ms"] - body["decided_at_ms"]
        for record in traffic()
        if record.trouble == "queued" and (body := json.loads(record.value or b""))
    ]
    assert min(waits_ms) < 20_000 < max(waits_ms) <= QUEUED_MS_MAX + 100


def test_a_repeat_has_the_bytes_of_an_earlier_decision_and_a_conflict_its_id_only() -> None:
    earlier: set[bytes | None] = set()
    ids: set[str] = set()
    for record in traffic():
        if record.trouble == "repeated":
            assert record.value in earlier
        elif record.trouble == "conflicting":
            assert record.value not in earlier
            assert json.loads(record.value or b"")["id"] in ids
        elif record.trouble != "malformed":
            earlier.add(record.value)
            ids.add(json.loads(record.value or b"")["id"])


def test_each_way_of_being_broken_is_refused_or_depends_on_key_clock_or_policy() -> None:
    """Key, a future observation and an unknown workflow are judged beside the value, where they are known."""
    document = decision(month_of_trips("2018-12")[0], Origin(3), NOW_MS)
    ways = [broken(document, number) for number in range(9)]
    reasons = Counter(refused[0] for _, value in ways if (refused := refusal(value or b"")))
    assert reasons == {"invalid.json": 1, "invalid.schema": 2, "invalid.encoding": 1, "invalid.empty": 1}
    keys = {key for key, _ in ways}
    assert keys == {b"acct-of-somebody-else", None, document["entity"].encode()}
    assert len(set(ways)) == 9
