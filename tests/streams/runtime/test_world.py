"""The world on a real broker: a view that is complete when asked, follows what is written, and outlives the broker."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from structlog.testing import capture_logs

from streams.errors import PromiseBroken
from streams.policy import Policy
from streams.runtime import lookup as lookup_module
from streams.runtime import tail as tail_module
from streams.runtime import world as world_module
from streams.runtime.broker import Broker, BrokerConfig
from streams.runtime.broker.sockets import free_port
from streams.runtime.metrics import Meter
from streams.runtime.metrics_board import Board
from streams.runtime.settings import Kafka
from streams.runtime.tail import Tail
from streams.runtime.topics import apply
from streams.runtime.transactions import Failed
from streams.runtime.world import REJECTIONS_MAX, REJECTIONS_TAKEN_MAX, Needs, World
from tests.kafka.harness import WAIT_S, Record, now_ms, producer, send
from tests.streams.making import policy

CARD = policy(context=["card"], allowance={"initial": "2s", "at_most": "5s"})


def context(topic: str, entity: str, version: int | None, card: str = "a", partition: int = 0) -> Record:
    """Without a version: the entity is removed."""
    value = None
    if version is not None:
        value = json.dumps({"entity": entity, "version": version, "at_ms": 1, "state": {"card": card}}).encode()
    return Record(topic, entity.encode(), value, partition)


def receipt(topic: str, number: int, took_ms: int = 300) -> Record:
    fields = {"command_id": f"c-{number}", "workflow": "billing", "entity": "a", "gated_at_ms": 1_000}
    fields |= {"deadline_ms": 9_000, "status": "executed", "started_at_ms": 1_000 + took_ms, "at_ms": 9_000}
    return Record(topic, b"a", json.dumps(fields).encode(), 0)


@asynccontextmanager
async def running(world: World) -> AsyncIterator[World]:
    """Its task must not end by itself."""
    task = asyncio.create_task(world.run())
    try:
        yield world
        assert not task.done(), task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def has_version(seen: World, version: int) -> bool:
    return seen.contexts(0).version("a") == version


async def comes_true(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < until
        await asyncio.sleep(0.02)


@pytest.fixture
async def topic(kafka: Broker, prefix: str) -> str:
    await apply(kafka.bootstrap, prefix, partitions=2)
    return prefix + "context"


def world(kafka: Broker, prefix: str, *policies: Policy, **options: Any) -> World:
    needs = options.pop("needs", None) or Needs.of_gate(policies or (CARD,))
    return World(Kafka(kafka.bootstrap, prefix), needs, now_ms, **options)


async def test_it_is_complete_with_all_that_was_there_and_follows_what_comes(
    kafka: Broker, prefix: str, topic: str
) -> None:
    await send(kafka.bootstrap, [context(topic, f"e-{n}", 1 + n) for n in range(2_000)])
    await send(kafka.bootstrap, [context(topic, "e-0", 5, "b"), context(topic, "e-1", None)])
    await send(kafka.bootstrap, [context(topic, "other", 1, partition=1)])
    async with running(world(kafka, prefix)) as seen:
        assert seen.contexts(0).version("e-0") is None
        steps: list[int] = []
        await seen.complete(0, lambda: steps.append(len(seen.contexts(0))))
        view = seen.contexts(0)
        assert (view.version("e-0"), view.version("e-1"), view.version("e-1999")) == (5, None, 2_000)
        assert len(view) == 1_999
        assert seen.contexts(1).version("other") is None, "not ours"
        await send(kafka.bootstrap, [context(topic, "e-0", 6, "b"), context(topic, "e-2", 9, "c")])
        await comes_true(lambda: view.version("e-2") == 9)
        assert view.version("e-0") == 6
        assert not view.changed("e-0", 5, frozenset({"card"}))
        assert view.changed("e-2", 3, frozenset({"card"}))


async def test_partitions_come_and_go_without_the_others_noticing(
    kafka: Broker, prefix: str, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world_module, "RELEASED_S", 0.0)
    monkeypatch.setattr(world_module, "SHOW_S", 0.05)
    await send(kafka.bootstrap, [context(topic, "a", 1), context(topic, "b", 1, partition=1)])
    board = Board.private()
    async with running(world(kafka, prefix, meter=Meter(board))) as seen:
        await seen.complete(0)
        await asyncio.gather(seen.complete(1), seen.complete(0))
        assert (seen.contexts(0).version("a"), seen.contexts(1).version("b")) == (1, 1)
        seen.drop(0)
        seen.drop(0)
        await comes_true(lambda: seen.contexts(0).version("a") is None)
        await send(kafka.bootstrap, [context(topic, "a", 2), context(topic, "b", 2, partition=1)])
        await comes_true(lambda: seen.contexts(1).version("b") == 2)
        await seen.complete(0)
        assert seen.contexts(0).version("a") == 2
        seen.drop(0)
        seen.drop(1)
        await seen.complete(1)
        assert seen.contexts(1).version("b") == 2
        assert ("context_refused", ("version.falling",)) not in board.read(), "a record was read twice"


async def test_a_partition_that_comes_back_after_a_rebalance_is_not_read_again(
    kafka: Broker, prefix: str, topic: str
) -> None:
    await send(kafka.bootstrap, [context(topic, "a", 1)])
    board = Board.private()
    async with running(world(kafka, prefix, meter=Meter(board))) as seen:
        await seen.complete(0)
        view = seen.contexts(0)
        seen.drop(0)
        seen.drop(1)
        await send(kafka.bootstrap, [context(topic, "a", 2), context(topic, "a", 1)])
        await comes_true(lambda: ("context_refused", ("version.falling",)) in board.read())
        await seen.complete(0)
        assert seen.contexts(0) is view
        assert view.version("a") == 2
        assert seen.take_rejections(0) == [], "the owner in between told it"
        assert board.read()["context_refused", ("version.falling",)][0] == 1


async def test_what_nobody_committed_is_neither_seen_nor_waited_for(kafka: Broker, prefix: str, topic: str) -> None:
    async with producer(kafka.bootstrap, transactional_id=prefix) as client, running(world(kafka, prefix)) as seen:
        await client.begin_transaction()
        await client.send_and_wait(
            *context(topic, "a", 1)[:1], value=context(topic, "a", 1).value, key=b"a", partition=0
        )
        await client.abort_transaction()
        await client.begin_transaction()
        await client.send_and_wait(topic, context(topic, "a", 2).value, key=b"a", partition=0)
        await seen.complete(0)
        assert seen.contexts(0).version("a") is None
        await client.commit_transaction()
        await comes_true(lambda: seen.contexts(0).version("a") == 2)


async def test_without_a_policy_that_looks_nothing_is_read_and_nobody_is_asked() -> None:
    blind = World(Kafka(f"127.0.0.1:{free_port()}", "t."), Needs.of_gate([policy(evaluator=None)]), now_ms)
    async with running(blind):
        await blind.complete(0)
        assert blind.contexts(0).version("a") is None
        assert blind.allowances_ms(0) == {}
        assert blind.take_rejections(0) == []


def test_each_role_reads_what_its_policies_need() -> None:
    evaluator = {"function": "rater:evaluate"}
    looks, asks = policy(context="any"), policy(workflow="b", index=1, context=["card"], evaluator=evaluator)
    assert Needs.of_gate([policy()]) == Needs(None)
    assert Needs.of_gate([looks, asks, CARD]) == Needs(frozenset({"card"}), (CARD,))
    assert Needs.of_reevaluation([looks]) == Needs(None, keep_state=True)
    assert Needs.of_reevaluation([looks, policy(evaluator=evaluator)]) == Needs(frozenset(), keep_state=True)
    assert Needs.of_reevaluation([looks, asks]) == Needs(frozenset(), keep_state=True)


async def test_the_evaluators_role_has_states_and_tells_no_rejections(kafka: Broker, prefix: str, topic: str) -> None:
    async with running(world(kafka, prefix, needs=Needs(frozenset(), keep_state=True))) as seen:
        await seen.complete(0)
        await send(kafka.bootstrap, [context(topic, "a", 2), context(topic, "a", 1), context(topic, "b", 1)])
        await comes_true(lambda: seen.contexts(0).version("b") == 1)
        present = seen.contexts(0).present("a")
        assert present is not None
        assert json.loads(bytes(present.state)) == {"card": "a"}
        assert seen.take_rejections(0) == []


async def test_only_what_is_refused_after_the_rebuild_is_told_and_told_again_after_a_failure(
    kafka: Broker, prefix: str, topic: str
) -> None:
    await send(kafka.bootstrap, [context(topic, "a", 5), context(topic, "a", 4), Record(topic, b"b", b"{", 0)])
    board = Board.private()
    async with running(world(kafka, prefix, meter=Meter(board))) as seen:
        await seen.complete(0)
        assert seen.take_rejections(0) == []
        bad = [Record(topic, b"a", b"\xff", 0), context(topic, "a", 5), context(topic, "z", 1)]
        places = await send(kafka.bootstrap, bad)
        await comes_true(lambda: seen.contexts(0).version("z") == 1)
        first = seen.take_rejections(0)
        told = [json.loads(one.value) for one in first]
        assert [one["reason"] for one in told] == ["invalid.json", "version.falling"]
        assert told[0]["raw_base64"] == "/w=="
        assert told[1]["raw"] == (bad[1].value or b"").decode()
        assert [tuple(one["source"].values()) for one in told] == places[:2]
        assert [(one.output, one.key) for one in first] == [("rejections", b"a")] * 2
        assert dict(first[0].headers)["ce_type"] == b"sluicegate.rejection.v1"
        await seen.complete(0)
        assert seen.take_rejections(0) == first, "the transaction failed"
        assert seen.take_rejections(0) == []
        counted = {
            labels: int(numbers[0]) for (name, labels), numbers in board.read().items() if name == "context_refused"
        }
        assert counted == {("version.falling",): 2, ("invalid.json",): 2}


async def test_rejections_that_wait_are_bounded(kafka: Broker, prefix: str, topic: str) -> None:
    async with running(world(kafka, prefix)) as seen:
        await seen.complete(0)
        await send(kafka.bootstrap, [Record(topic, b"a", b"{", 0) for _ in range(REJECTIONS_MAX + 5)])
        await send(kafka.bootstrap, [context(topic, "z", 1)])
        await comes_true(lambda: seen.contexts(0).version("z") == 1)
        found = []
        while taken := seen.take_rejections(0):
            assert len(taken) <= REJECTIONS_TAKEN_MAX
            found += taken
        assert len(found) == REJECTIONS_MAX


async def test_what_there_is_no_room_for_is_counted(kafka: Broker, prefix: str, topic: str) -> None:
    await send(kafka.bootstrap, [context(topic, f"e-{n}", 1) for n in range(5)])
    board = Board.private()
    with capture_logs() as logs:
        async with running(world(kafka, prefix, meter=Meter(board), entities_max=3)) as seen:
            await seen.complete(0)
            assert seen.contexts(0).overflowed
    assert board.read()["context_not_kept", ()][0] == 2
    assert [one["event"] for one in logs] == ["the context view is full"]


async def test_receipts_make_the_allowance_of_their_partition(kafka: Broker, prefix: str, topic: str) -> None:
    await send(kafka.bootstrap, [receipt(prefix + "receipts", number) for number in range(60)])
    async with running(world(kafka, prefix)) as seen:
        assert seen.allowances_ms(0) == {}
        await asyncio.gather(seen.complete(0), seen.complete(1))
        assert (seen.allowances_ms(0), seen.allowances_ms(1)) == ({0: 300}, {0: 2_000})
        await send(kafka.bootstrap, [receipt(prefix + "receipts", 100 + number, 900) for number in range(60)])
        await comes_true(lambda: seen.allowances_ms(0) == {0: 900})


async def test_receipts_older_than_the_window_are_not_read(kafka: Broker, prefix: str, topic: str) -> None:
    """Time is an argument: to a worker whose clock says that they came an hour ago they say nothing."""
    await send(kafka.bootstrap, [receipt(prefix + "receipts", number) for number in range(60)])
    board = Board.private()
    later = World(Kafka(kafka.bootstrap, prefix), Needs.of_gate([CARD]), lambda: now_ms() + 3_600_000, Meter(board))
    async with running(later) as seen:
        await seen.complete(0)
        assert seen.allowances_ms(0) == {0: 2_000}
        assert not any(name == "measured_receipts" for name, _ in board.read())


async def test_a_broker_that_is_not_there_is_a_failure_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail_module, "IDLE_S", 0.6)
    lost = World(Kafka(f"127.0.0.1:{free_port()}", "t."), Needs.of_gate([CARD]), now_ms)
    async with running(lost):
        with pytest.raises(Failed, match="brings nothing"):
            await lost.complete(0)


async def test_a_topic_that_was_made_again_ends_the_task(kafka: Broker, prefix: str, topic: str) -> None:
    """Offsets past its end: what the view knows is of another topic."""
    await send(kafka.bootstrap, [context(topic, "a", 1)])
    tail = Tail(Kafka(kafka.bootstrap, prefix), lambda partition, records: None, now_ms)
    partition = TopicPartition(topic, 0)
    tail.add(partition)
    tail._places[partition].position = 1_000
    with pytest.raises(PromiseBroken, match="made again"):
        await asyncio.wait_for(tail.run(), WAIT_S)


async def test_a_chunk_that_comes_while_its_partition_is_taken_anew_is_read_from_the_start(
    kafka: Broker, prefix: str, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was fetched for the old place must not move the new one, nor be handed on."""
    await send(kafka.bootstrap, [context(topic, "a", version) for version in range(5)])
    partition, heard = TopicPartition(topic, 0), list[int]()
    tail = Tail(Kafka(kafka.bootstrap, prefix), lambda _, records: heard.extend(one.offset for one in records), now_ms)

    class Interrupted(AIOKafkaConsumer):  # type: ignore[misc]  # untyped
        chunks = 0

        async def getmany(self, *partitions: Any, **options: Any) -> Any:
            found = await super().getmany(*partitions, **options)
            Interrupted.chunks += bool(found)
            if found and Interrupted.chunks == 2:
                tail.drop(partition)
                tail.add(partition)
            return found

    monkeypatch.setattr(lookup_module, "AIOKafkaConsumer", Interrupted)
    monkeypatch.setattr(tail_module, "CHUNK_RECORDS_MAX", 2)
    tail.add(partition)
    task = asyncio.create_task(tail.run())
    await comes_true(lambda: len(heard) >= 5)
    await tail.reach(partition, lambda: None, lambda end: None)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert heard == [0, 1, 0, 1, 2, 3, 4]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Broker]:
    with Broker(BrokerConfig(data=tmp_path / "kafka")) as broker:
        yield broker


async def test_it_reads_on_where_it_was_when_the_broker_comes_back(own: Broker, prefix: str) -> None:
    topic, board = prefix + "context", Board.private()
    await apply(own.bootstrap, prefix, partitions=1)
    await send(own.bootstrap, [context(topic, "a", 1)])
    async with running(world(own, prefix, meter=Meter(board))) as seen:
        await seen.complete(0)
        for version, end in ((2, own.stop), (3, own.kill)):
            await asyncio.to_thread(end)
            assert seen.contexts(0).version("a") == version - 1
            await asyncio.to_thread(own.start)
            await send(own.bootstrap, [context(topic, "a", version)])
            await comes_true(partial(has_version, seen, version))
            await seen.complete(0)
        assert ("context_refused", ("version.falling",)) not in board.read(), "a record was read twice"
