"""Instances of an executor without Kafka: the real store and journal, a clock that stands until it is set."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sluicegate_kit import Command, Receipt, open_store
from sluicegate_kit.acting import Acting, Halted
from sluicegate_kit.handling import Handling, MayAct, Means
from sluicegate_kit.journal import Journal, Keeping
from sluicegate_kit.records import read_receipt
from sluicegate_kit.turns import Turns

WAIT_S = 30.0
STORE = "acted.db"
FOR_EVER_MS = 10**14  # these commands' deadlines are in 1970


def command(command_id: str = "c-1", entity: str = "e", deadline_ms: int = 2_000) -> Command:
    more = {"workflow": "w", "action_json": msgspec.Raw(b"{}"), "gated_at_ms": 1}
    return Command(command_id=command_id, entity=entity, deadline_ms=deadline_ms, **more)  # type: ignore[arg-type]  # of several types


class Clock:
    """Stands until it is set."""

    def __init__(self) -> None:
        self.now_ms = 1_000

    def __call__(self) -> int:
        return self.now_ms


class Bench:
    """One instance; what it settles is read as receipts."""

    def __init__(self, handling: Handling, journal: Journal, clock: Clock, turns: Turns) -> None:
        self.handling, self.journal, self.clock, self.turns = handling, journal, clock, turns
        self.holds: list[bool] = []

    async def settle(self, one: Command) -> Receipt:
        value = await asyncio.wait_for(self.handling.settle(one, self.holds.append), WAIT_S)
        return read_receipt(value)

    def begin(self, one: Command) -> asyncio.Task[Receipt]:
        return asyncio.create_task(self.settle(one))


@asynccontextmanager
async def bench(
    store: Path,
    act: Any,
    owner: str,
    *,
    limit_ms: int = 20_000,
    concurrency: int = 2,
    lease_ms: int = 60_000,
    margin_ms: int = 0,
    may_act: MayAct = lambda _: None,
    halted: Halted = lambda _: None,
) -> AsyncIterator[Bench]:
    clock, turns = Clock(), Turns(concurrency)
    journal = Journal(open_store(f"sqlite:///{store}"), owner, Keeping(lease_ms, 500, FOR_EVER_MS))
    await journal.open()
    acting = Acting(act, clock, margin_ms, halted)
    handling = Handling(Means(journal, acting, turns, halted, may_act, clock, owner, limit_ms, margin_ms))
    yield Bench(handling, journal, clock, turns)
    acting.close()
    await journal.close()


Start = Callable[..., Any]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts an instance on this test's store, ended with the test."""
    async with AsyncExitStack() as stack:

        async def started(act: Any, owner: str = "a", **options: Any) -> Bench:
            return await stack.enter_async_context(bench(tmp_path / STORE, act, owner, **options))

        yield started
