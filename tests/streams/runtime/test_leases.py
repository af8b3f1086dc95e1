"""Leases as a gate sees them, without a broker: what it keeps of what it reads, and what it asks for how often."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiokafka import TopicPartition

from schemas.lease import Demand, Lease, lease_key
from streams.exposure import Held
from streams.runtime import leases
from streams.runtime.leases import Leases
from streams.runtime.settings import Kafka
from tests.streams.exposing import limited
from tests.streams.making import NOW_MS
from tests.streams.test_exposure_leases import demand

WORKERS = TopicPartition("t.workers", 0)
ACCOUNT = bytes(16)


class Turned(Exception):
    """Raised in place of the pause after each sending."""


def following() -> Leases:
    return Leases(Kafka("127.0.0.1:1", "t."), 4, lambda: NOW_MS)


def granted(total: int, partition: int = 2, left: int = 5, **about: Any) -> Any:
    account = demand(**about).account
    lease = Lease(account=account, partition=partition, total=total, left=left, at_most=400, at_ms=NOW_MS)
    return record(lease_key(account.id, partition), msgspec.json.encode(lease))


def record(key: str | None, value: bytes | None) -> Any:
    return SimpleNamespace(key=None if key is None else key.encode(), value=value, offset=0)


def test_totals_are_kept_whatever_is_read_again_or_late() -> None:
    known = following()
    held = known.held(2)
    known._take(WORKERS, [granted(20), granted(38, left=3), granted(20)])
    assert held == {ACCOUNT: Held(38, 3, 400)}
    assert known.held(1) == {}


def test_what_is_no_lease_or_of_an_ended_window_or_another_cluster_is_passed_over() -> None:
    known = following()
    ended = granted(20, at_ms=NOW_MS - 2 * 3_600_000)
    others = [record("gate/host", b"{}"), record(None, b"{}"), record("lease/x", b"{"), record("lease/x", None)]
    known._take(WORKERS, [ended, granted(20, partition=4), *others])
    assert [known.held(number) for number in range(4)] == [{}] * 4


def test_no_more_leases_are_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "LEASES_MAX", 1)
    known = following()
    known._take(WORKERS, [granted(20), granted(20, id="a" * 32), granted(38)])
    assert known.held(2) == {ACCOUNT: Held(38, 5, 400)}


@pytest.mark.asyncio
async def test_without_a_shared_limit_nothing_is_read_and_no_connection_opened() -> None:
    known = following()
    await known.complete([limited(), limited({"name": "x", "window": "1h", "per": ["entity"], "count_at_most": 1})])
    await Leases(Kafka("127.0.0.1:1", "t."), 1, lambda: NOW_MS).complete(
        [limited({"name": "x", "window": "1h", "count_at_most": 1})]
    )
    assert not known._tail._places


@pytest.mark.asyncio
async def test_demands_are_coalesced_and_the_same_one_is_sent_again_only_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known, sent = following(), list[list[Demand]]()
    now_s = 100.0
    monkeypatch.setattr(leases, "time", SimpleNamespace(monotonic=lambda: now_s))

    async def publish(demands: list[Demand]) -> None:
        sent.append(list(demands))

    async def pause(seconds: float) -> None:
        raise Turned

    monkeypatch.setattr(known, "_publish", publish)
    monkeypatch.setattr(leases, "asyncio", SimpleNamespace(sleep=pause))

    async def go(*demands: Demand) -> None:
        for one in demands:
            known.want(2, {ACCOUNT: one})
        if known._wanted:
            with pytest.raises(Turned):
                await known._send()

    first, second = demand(), demand(needed=3)
    await go(first, second)
    assert sent == [[second]]
    await go(second)
    assert len(sent) == 1
    await go(demand(held=20))
    assert len(sent) == 2
    now_s = 101.5
    await go(demand(held=20))
    assert len(sent) == 3
