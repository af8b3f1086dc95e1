"""What becomes of a command in one instance: the clock, the turns, the time limit, whatever the function does."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from sluicegate_kit import Command, Receipt, Refuse
from sluicegate_kit.records import read_receipt
from sluicegate_kit.sql import SqlStore

from tests.clients.conftest import STORE, WAIT_S, Start, command


async def test_it_is_acted_on_once_and_answered_with_the_same_bytes_ever_after(start: Start) -> None:
    seen: list[str] = []

    def act(one: Command) -> str:
        seen.append(one.command_id)
        return "booked"

    one = await start(act)
    first = await one.handling.settle(command(), one.holds.append)
    assert read_receipt(first) == Receipt(
        command_id="c-1",
        workflow="w",
        entity="e",
        gated_at_ms=1,
        deadline_ms=2_000,
        status="executed",
        at_ms=1_000,
        started_at_ms=1_000,
        executor="a",
        detail="booked",
    )
    one.clock.now_ms = 9_999
    assert await one.handling.settle(command(), one.holds.append) == first
    other = await start(act, "b")
    assert await other.handling.settle(command(), other.holds.append) == first
    assert seen == ["c-1"]
    assert one.turns.lanes == {}


@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize(
    ("raises", "status", "detail"),
    [
        (Refuse("credit is blocked"), "refused", "credit is blocked"),
        (Refuse(), "refused", "refused by the executor"),
        (ValueError("no such account"), "failed", "ValueError: no such account"),
        (KeyError(), "failed", "KeyError"),
        (SystemExit(3), "failed", "SystemExit: 3"),
        (asyncio.CancelledError(), "failed", "CancelledError"),
    ],
)
async def test_what_it_raises_becomes_a_status(
    start: Start, is_async: bool, raises: BaseException, status: str, detail: str
) -> None:
    calls: list[int] = []

    def act(_: Command) -> None:
        calls.append(1)
        raise raises

    async def act_async(one: Command) -> None:
        act(one)

    one = await start(act_async if is_async else act)
    for _ in range(2):
        receipt = await one.settle(command())
        assert (receipt.status, receipt.detail) == (status, detail)
        assert (receipt.started_at_ms is None) == (status == "refused")
    assert calls == [1]


async def test_a_function_that_returns_something_to_await_is_awaited(start: Start) -> None:
    async def inner() -> str:
        await asyncio.sleep(0)
        return "waited"

    one = await start(lambda _: inner())
    assert (await one.settle(command())).detail == "waited"
    assert (await (await start(lambda _: 5, "b")).settle(command("c-2"))).detail is None


@pytest.mark.parametrize(("now_ms", "margin_ms"), [(2_000, 0), (2_001, 0), (1_900, 100)])
async def test_at_or_past_the_deadline_is_too_late(start: Start, now_ms: int, margin_ms: int) -> None:
    one = await start(pytest.fail, margin_ms=margin_ms)
    one.clock.now_ms = now_ms
    receipt = await one.settle(command())
    assert (receipt.status, receipt.started_at_ms) == ("expired", None)
    one.clock.now_ms = 1_000  # the clock was set back: it stays expired
    assert await one.settle(command()) == receipt


@pytest.mark.parametrize("is_async", [True, False])
async def test_the_clock_is_read_after_the_intent_is_written(
    start: Start, is_async: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(_: Command) -> None:
        pytest.fail("acted on at its deadline")

    one = await start(never if is_async else pytest.fail)
    exchange = SqlStore.exchange

    def slow(self: SqlStore, owner: str, results: Any, intents: Any) -> Any:
        one.clock.now_ms = 2_000  # the disk took its time
        return exchange(self, owner, results, intents)

    monkeypatch.setattr(SqlStore, "exchange", slow)
    assert (await one.settle(command())).status == "expired"


async def test_the_intent_is_durable_before_the_action_starts(start: Start, tmp_path: Path) -> None:
    rows: list[Any] = []

    def act(_: Command) -> None:
        with sqlite3.connect(tmp_path / STORE) as other:
            rows.extend(other.execute("SELECT command_id, owner, receipt FROM sluicegate_intents"))
        other.close()

    one = await start(act)
    await one.settle(command())
    assert rows == [("c-1", "a", None)]


async def test_what_may_not_act_is_refused_and_not_called(start: Start) -> None:
    one = await start(pytest.fail, may_act=lambda one: f"{one.workflow} is halted")
    assert [(r := await one.settle(command())).status, r.detail] == ["refused", "w is halted"]
    broken = await start(pytest.fail, "b", may_act=lambda _: 1 / 0)
    assert (await broken.settle(command("c-2"))).status == "refused"


async def test_one_entity_at_a_time_in_order_and_others_meanwhile_up_to_the_bound(start: Start) -> None:
    running: list[str] = []
    order: list[str] = []
    most = 0

    async def act(one: Command) -> None:
        nonlocal most
        assert one.entity not in running
        running.append(one.entity)
        most = max(most, len(running))
        await asyncio.sleep(0.002)
        running.remove(one.entity)
        order.append(one.command_id)

    one = await start(act, concurrency=3)
    commands = [command(f"c-{number}", f"e{number % 7}") for number in range(70)]
    await asyncio.gather(*(one.begin(each) for each in commands))
    assert most == 3
    for entity in range(7):
        mine = [each for each in order if int(each[2:]) % 7 == entity]
        assert mine == sorted(mine, key=lambda each: int(each[2:]))


async def test_past_its_limit_a_coroutine_is_cancelled_and_unknown(start: Start) -> None:
    cancelled = asyncio.Event()

    async def act(_: Command) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    one = await start(act, limit_ms=20)
    receipt = await one.settle(command())
    assert (receipt.status, receipt.started_at_ms) == ("unknown", 1_000)
    assert receipt.detail == "it ran past its limit of 20 ms, and may still run"
    await asyncio.wait_for(cancelled.wait(), WAIT_S)


async def test_a_thread_past_its_limit_keeps_its_slot_and_its_entity_until_it_ends(start: Start) -> None:
    ends, calls = threading.Event(), []

    def act(one: Command) -> None:
        calls.append(one.command_id)
        if one.command_id == "c-hangs":
            assert ends.wait(WAIT_S)

    one = await start(act, limit_ms=20, concurrency=1)
    assert (await one.settle(command("c-hangs"))).status == "unknown"
    same, other = one.begin(command("c-2")), one.begin(command("c-3", "other", deadline_ms=90_000))
    await asyncio.sleep(0.05)
    assert calls == ["c-hangs"]
    one.clock.now_ms = 2_000
    assert (await same).status == "expired", "its deadline came while it waited"
    ends.set()
    assert (await other).status == "executed"
    assert calls == ["c-hangs", "c-3"]
    assert (await one.settle(command("c-hangs"))).status == "unknown", "for ever"


async def test_what_waits_may_be_cancelled_and_what_has_begun_says_that_it_may_not(start: Start) -> None:
    going, go = asyncio.Event(), asyncio.Event()

    async def act(_: Command) -> None:
        going.set()
        await go.wait()

    one = await start(act)
    first = one.begin(command("c-1"))
    await asyncio.wait_for(going.wait(), WAIT_S)
    assert one.holds == [True]
    second = one.begin(command("c-2"))
    await asyncio.sleep(0.01)
    assert one.holds == [True]
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    again = one.begin(command("c-1"))
    go.set()
    assert (await first).status == "executed"
    assert await again == await first
    assert one.turns.lanes == {}


async def test_a_cut_gives_up_what_runs(start: Start) -> None:
    going = asyncio.Event()

    async def act(_: Command) -> None:
        going.set()
        await asyncio.sleep(60)

    one = await start(act)
    first = one.begin(command())
    await asyncio.wait_for(going.wait(), WAIT_S)
    one.handling.cut()
    assert [(r := await first).status, r.detail] == [
        "unknown",
        "the executor was stopped while it ran, and may still run",
    ]
