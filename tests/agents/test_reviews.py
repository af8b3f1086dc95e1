"""The stage of reviews: one snapshot a batch, its timers, and what the next owner is left with."""

from __future__ import annotations

import orjson
import pytest

from agents.reviews import NAME, ReviewStage, role
from streams.headers import DEFAULTS
from streams.path import Snapshot
from streams.runtime.in_force import InForce
from streams.runtime.metrics import Meter
from streams.runtime.metrics_board import Board
from streams.runtime.settings import Kafka
from streams.runtime.world import Needs
from tests.streams.making import NOW_MS, decision
from tests.streams.reviewing import KEYS, PLAIN, gate, policy, records, verdict


@pytest.fixture
def in_force() -> InForce:
    made = InForce(Kafka("nowhere:1", "t."), Needs.of_reviews, lambda: NOW_MS, Meter(Board.private()))
    made.snapshot = Snapshot([PLAIN])
    return made


def staged(in_force: InForce) -> ReviewStage:
    made = role("g", in_force, lambda: NOW_MS, KEYS, DEFAULTS)
    assert (made.name, made.inputs) == (NAME, ("reviews", "verdicts"))
    stage = made.new_stage(2)
    assert isinstance(stage, ReviewStage)
    return stage


async def test_a_review_is_answered_by_the_next_owner_of_its_partition(in_force: InForce) -> None:
    stage, value = staged(in_force), gate(decision(), PLAIN)
    await stage.prepare([])
    assert stage.due_ms() is None
    changelog = stage.decide([records("reviews", value)], NOW_MS).changelog
    heir = staged(in_force)
    heir.restore({slot: one for slot, one in changelog.items() if one is not None}, NOW_MS)
    assert heir.due_ms() == NOW_MS, "it has not looked at what is in force yet"
    batch = heir.decide([records("verdicts", verdict(orjson.loads(value)["review_id"]))], NOW_MS)
    assert [sent.output for sent in batch.records] == ["commands"]
    assert batch.earliest_deadline_ms == NOW_MS - 1_000 + 600_000
    assert batch.observed is not None
    assert batch.observed.counts == {("billing", "commands", "approved"): 1}


def test_a_new_snapshot_is_looked_at_once(in_force: InForce) -> None:
    stage = staged(in_force)
    stage.decide([records("reviews", gate(decision(), PLAIN))], NOW_MS)
    later = stage.due_ms()
    assert later is not None
    assert later > NOW_MS
    in_force.snapshot = Snapshot([policy(4)])
    assert stage.due_ms() == NOW_MS
    assert stage.decide([], NOW_MS).records == []
    assert stage.due_ms() == later


def test_versions_of_contexts_are_read_where_a_policy_looks_at_them() -> None:
    assert Needs.of_reviews([PLAIN]) == Needs(None)
    assert Needs.of_reviews([policy(freshness={"context": ["rate"]})]) == Needs(frozenset({"rate"}))
    superseding = policy(freshness={"supersede": True})
    assert Needs.of_reviews([superseding]) == Needs(None, superseding=frozenset({"billing"}))
