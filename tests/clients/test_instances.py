"""Several instances on one store, and a store that fails: who waits, who is given up, what stands."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sluicegate_kit import Acting as ActingElsewhere
from sluicegate_kit import Command, Done, Intent, KitError, Receipt, StoreTrouble, now_ms, open_store
from sluicegate_kit.journal import Journal, Keeping
from sluicegate_kit.sql import SqlStore

from tests.clients.conftest import STORE, WAIT_S, Start, command


async def test_another_instance_waits_for_the_result_while_the_first_lives(start: Start) -> None:
    going, go = asyncio.Event(), asyncio.Event()

    async def act(_: Command) -> None:
        going.set()
        await go.wait()

    first, second = await start(act, "a", lease_ms=1000), await start(pytest.fail, "b", lease_ms=1000)
    acting = first.begin(command())
    await asyncio.wait_for(going.wait(), WAIT_S)
    waiting = second.begin(command())
    await asyncio.sleep(1.3)  # more than the lease: the first lives and says so
    assert not waiting.done()
    assert second.holds == [True, False], "who waits for another may be cancelled"
    go.set()
    assert await waiting == await acting
    assert (await acting).executor == "a"


async def test_who_lets_its_lease_run_out_is_given_up(start: Start, tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / STORE}")
    store.open()
    store.beat("crashed", 100, 1)
    store.exchange("crashed", {}, [Intent("c-1", 2_000)])
    second = await start(pytest.fail, "c", lease_ms=200)
    receipt = await second.settle(command())
    assert receipt.status == "unknown"
    assert receipt.detail == "crashed began it and never said how it ended: it crashed or was cut off"
    assert store.look("crashed", ["c-1"]) == {"c-1": Done(msgspec.json.encode(receipt))}
    store.close()


async def test_without_its_lease_nothing_is_started(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await start(pytest.fail)
    monkeypatch.setattr(one.journal, "is_ours", lambda _: False)
    receipt = await one.settle(command())
    assert [receipt.status, receipt.started_at_ms] == ["failed", None]


async def test_a_lease_that_lapsed_stays_lost_after_it_is_renewed(start: Start) -> None:
    """A paused process that wakes up beats again; what it had intended before may have been given up meanwhile."""
    journal = (await start(pytest.fail, lease_ms=1000)).journal
    before = journal.lease
    assert journal.is_ours(before)
    time.sleep(1.1)  # nothing of this process runs
    assert not journal.is_ours(before)
    while not journal.is_ours(journal.lease):
        await asyncio.sleep(0.01)
    assert not journal.is_ours(before)


async def test_who_was_given_up_sends_what_stands(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(f"sqlite:///{tmp_path / STORE}")
    store.open()

    stands = Receipt(
        command_id="c-1", workflow="w", entity="e", gated_at_ms=1, deadline_ms=2, status="unknown", at_ms=5
    )

    async def act(each: Command) -> None:
        found = store.look("b", [each.command_id])[each.command_id]
        assert isinstance(found, ActingElsewhere)
        value = msgspec.json.encode(stands)
        store.abandon(each.command_id, found, value)

    paused = await start(act, "paused")
    assert await paused.settle(command()) == stands
    assert "it had been given up" in caplog.text
    store.close()


async def test_a_store_that_fails_for_a_moment_is_tried_again_and_one_that_stays_away_ends_it(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    async def act(one: Command) -> None:
        calls.append(one.command_id)

    one = await start(act)
    exchange, failures = SqlStore.exchange, [2]

    def failing(self: SqlStore, owner: str, results: Any, intents: Any) -> Any:
        done = exchange(self, owner, results, intents)
        if failures[0]:
            failures[0] -= 1
            raise StoreTrouble("the answer was lost")
        return done

    monkeypatch.setattr(SqlStore, "exchange", failing)
    assert (await one.settle(command())).status == "executed"
    assert calls == ["c-1"]
    failures[0] = 10**6
    waiting = one.begin(command("c-2"))
    (ended,), _ = await asyncio.wait(one.journal.tasks, timeout=WAIT_S, return_when=asyncio.FIRST_COMPLETED)
    with pytest.raises(StoreTrouble, match=r"failed for 500 ms.*the answer was lost.*start again") as trouble:
        await ended
    assert trouble.value.exit_code == 4
    assert calls == ["c-1"]
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_a_store_that_cannot_be_opened_refuses_the_start(tmp_path: Path) -> None:
    journal = Journal(open_store(f"sqlite:///{tmp_path}/no/file.db"), "a", Keeping(1000, 500, 1))
    with pytest.raises(KitError, match=r"the store cannot be opened: .*file.db: unable to open") as refused:
        await journal.open()
    assert refused.value.exit_code == 2
    await journal.close()


def test_time_is_read_in_milliseconds() -> None:
    assert abs(now_ms() - time.time() * 1000) < 60_000
