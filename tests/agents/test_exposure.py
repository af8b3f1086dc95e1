"""The allocator's stage: what it answers among all that stands on `workers`, and what the next owner knows."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from agents.exposure import ExposureStage, role
from schemas.heartbeat import Heartbeat
from schemas.lease import Lease, demand_key
from streams.batch import Fetched, Unread
from streams.path import Snapshot
from streams.runtime.in_force import InForce
from tests.streams.exposing import limited
from tests.streams.making import NOW_MS
from tests.streams.test_exposure_leases import demand

ACCOUNT = "0" * 32


def in_force(at_most: int = 400) -> InForce:
    policy = limited({"name": "hourly", "window": "1h", "count_at_most": at_most})
    return cast(InForce, SimpleNamespace(snapshot=Snapshot([policy]), drop=lambda number: None))


def on_workers(*records: tuple[str | None, Any]) -> Fetched:
    values = [one if isinstance(one, bytes) or one is None else msgspec.json.encode(one) for _, one in records]
    many = len(records)
    return Fetched(
        topic="t.workers",
        input="workers",
        partition=0,
        offsets=list(range(many)),
        timestamps_ms=[NOW_MS] * many,
        keys=[None if key is None else key.encode() for key, _ in records],
        values=values,
        broker_time=True,
        read_ms=NOW_MS,
    )


def asked(**about: Any) -> tuple[str, Any]:
    one = demand(**about)
    return demand_key(one.partition, one.account.id), one


def test_it_answers_demands_alone_in_their_order() -> None:
    stage = ExposureStage(0, in_force(), 4)
    beat = Heartbeat(worker="w", role="gate", at_ms=NOW_MS, every_ms=3000, policies_offset=0)
    batch = stage.decide([on_workers(("w", beat), asked(), (None, b"{}"), asked(partition=3), asked())], NOW_MS)
    assert [(one.output, one.key) for one in batch.records] == [
        ("workers", f"lease/{ACCOUNT}/{number}".encode()) for number in (0, 3, 0)
    ]
    leases = [msgspec.json.decode(one.value, type=Lease) for one in batch.records]
    assert [(one.total, one.left, one.at_most) for one in leases] == [(20, 300, 400), (18, 282, 400), (20, 282, 400)]
    assert batch.exposed == {("leased", "billing", "hourly"): 38}
    assert stage.decide([on_workers(*[(one.key.decode(), one.value) for one in batch.records if one.key])], NOW_MS) == (
        [],
        {},
        None,
        None,
        None,
        {},
    )


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b'{"account": 1}', None])
def test_a_demand_that_cannot_be_read_is_passed_over(value: bytes | None) -> None:
    batch = ExposureStage(0, in_force(), 4).decide([on_workers(("demand/0/x", value), asked())], NOW_MS)
    assert len(batch.records) == 1


def test_what_cannot_be_decided_is_rejected_by_its_place() -> None:
    batch = on_workers(asked(), asked())
    (told, lease) = (
        ExposureStage(0, in_force(), 4)
        .decide([replace(batch, unread={1: Unread("invalid.poison", 1, "KeyError")})], NOW_MS)
        .records
    )
    assert (told.output, lease.output) == ("rejections", "workers")
    body = msgspec.json.decode(told.value)
    assert (body["reason"], body["source"]["offset"], body["raw"]) == ("invalid.poison", 1, None)


def test_the_next_owner_knows_what_was_granted_and_a_new_limit_is_taken_up() -> None:
    policies = in_force()
    stage = ExposureStage(0, policies, 4)
    changelog = stage.decide([on_workers(asked())], NOW_MS).changelog
    heir = role("g", policies, 4).new_stage(0)
    heir.restore({slot: value for slot, value in changelog.items() if value is not None}, NOW_MS)
    (again,) = heir.decide([on_workers(asked())], NOW_MS).records
    assert msgspec.json.decode(again.value, type=Lease).total == 20
    cast(Any, policies).snapshot = in_force(40).snapshot
    (more,) = heir.decide([on_workers(asked(held=20))], NOW_MS).records
    lease = msgspec.json.decode(more.value, type=Lease)
    assert (lease.total, lease.left, lease.at_most) == (21, 11, 40)
