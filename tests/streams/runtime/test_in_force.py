"""What is in force in a process, on a real broker: swapped with the world that it looks at, known at a hand-over."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from agents.governing import Waiting, not_using
from schemas.heartbeat import Heartbeat
from schemas.policy import PolicyDocument
from schemas.published import Scope
from streams.errors import ConfigurationError
from streams.governing import Signed, applied, halted, resumed
from streams.runtime import heartbeats as heartbeats_module
from streams.runtime.broker import Broker
from streams.runtime.clock import Clock
from streams.runtime.heartbeats import Heartbeats
from streams.runtime.in_force import InForce
from streams.runtime.living import Workers
from streams.runtime.metrics import Meter
from streams.runtime.metrics_board import Board
from streams.runtime.policies_topic import change, read_edition
from streams.runtime.settings import Kafka
from streams.runtime.topics import apply
from streams.runtime.world import Needs
from tests.kafka.appending import append
from tests.kafka.harness import now_ms, producer, send
from tests.streams.runtime.batching import LZ4, bomb
from tests.streams.runtime.test_world import comes_true, context

ANA = Signed("ana", "a test", 1_000)


def document(version: int, **freshness: Any) -> PolicyDocument:
    fields = {"workflow": "billing", "version": version, "freshness": {"budget": "10m", **freshness}, "boundary": {}}
    return msgspec.convert(fields, PolicyDocument)


@pytest.fixture
async def topics(kafka: Broker, prefix: str) -> Kafka:
    await apply(kafka.bootstrap, prefix, partitions=2)
    return Kafka(kafka.bootstrap, prefix)


async def publish(kafka: Kafka, *documents: PolicyDocument) -> int:
    return (await change(kafka, lambda edition: applied(edition, documents, "keep", ANA)))[1].behind


def made(kafka: Kafka, **options: Any) -> InForce:
    return InForce(kafka, Needs.of_gate, now_ms, Meter(Board.private()), **options)


@asynccontextmanager
async def running(kafka: Kafka, **options: Any) -> AsyncIterator[InForce]:
    in_force = made(kafka, **options)
    await in_force.start()
    task = asyncio.create_task(in_force.run())
    try:
        yield in_force
        assert not task.done(), task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_it_does_not_start_without_a_policy(topics: Kafka) -> None:
    with pytest.raises(ConfigurationError, match=r"no policy is in force on .*policies: publish some"):
        await made(topics).start()


async def test_a_hand_over_knows_all_that_was_published_before_it(topics: Kafka) -> None:
    await publish(topics, document(1))
    async with running(topics) as in_force:
        assert in_force.snapshot.by_workflow["billing"].name == "billing@1"
        for version in range(2, 7):
            behind = await publish(topics, document(version))
            await in_force.complete(0)
            assert (in_force.snapshot.by_workflow["billing"].name, in_force.offset) == (f"billing@{version}", behind)


async def test_a_policy_that_looks_at_more_of_the_world_waits_until_that_is_known(topics: Kafka) -> None:
    await publish(topics, document(1))
    await send(topics.bootstrap, [context(topics.topic("context"), f"e-{n}", 7) for n in range(500)])
    async with running(topics) as in_force:
        await in_force.complete(0)
        first = in_force.world
        assert first.contexts(0).version("e-1") is None, "nobody looks at it"
        await publish(topics, document(2, context=["card"]))

        def swapped() -> bool:
            """The view is whole at the moment from which on it is looked at."""
            is_new = in_force.snapshot.by_workflow["billing"].name == "billing@2"
            assert is_new == (in_force.world is not first)
            assert in_force.world.contexts(0).version("e-499") == (7 if is_new else None)
            return is_new

        await comes_true(swapped)
        again = in_force.world
        await publish(topics, document(3, context=["card"]))
        await comes_true(lambda: in_force.snapshot.by_workflow["billing"].name == "billing@3")
        assert in_force.world is again, "it knows all that is looked at"
        await in_force.complete(1)
        in_force.drop(1)


async def test_a_halt_does_not_wait_for_a_policy_that_is_still_made_ready(topics: Kafka) -> None:
    await publish(topics, document(1))
    held, let_go = asyncio.Event(), asyncio.Event()

    async def slow(snapshot: object) -> list[str]:
        held.set()
        await let_go.wait()
        return ["the evaluator is not there"]

    let_go.set()
    async with running(topics, ready=slow) as in_force:
        let_go.clear()
        held.clear()
        await publish(topics, document(2))
        await held.wait()
        behind = (await change(topics, lambda edition: halted(Scope("billing"), ANA)))[1].behind
        await comes_true(lambda: bool(in_force.snapshot.halts))
        assert in_force.snapshot.by_workflow["billing"].name == "billing@1"
        let_go.set()
        await comes_true(lambda: in_force.offset == behind)
        assert in_force.snapshot.by_workflow["billing"].name == "billing@2"
        assert in_force.snapshot.halts.over("billing", None, None, None) is not None
        assert in_force.troubles == ["the evaluator is not there"], "and it is told until the policies change again"


async def test_heartbeats_acknowledge_what_is_in_force_once_it_has_settled(
    topics: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeats_module, "EVERY_MS", 200)
    await publish(topics, document(1))
    settled = asyncio.Event()
    settled.set()

    async def settle() -> None:
        await settled.wait()

    async with running(topics) as in_force, Waiting(topics) as waiting:
        beats = Heartbeats(topics, "gate", "g", in_force, settle, Clock())
        task = asyncio.create_task(beats.run())
        await comes_true(lambda: in_force.offset > 0)
        while not waiting.workers.beats:
            await waiting.read(100)
        settled.clear()
        behind = await publish(topics, document(2))
        await comes_true(lambda: in_force.offset == behind)
        assert not (await waiting.until(behind, 0.3)).having, "what was decided before is not committed yet"
        settled.set()
        found = await waiting.until(behind, 30)
        assert (found.of_roles(), not_using(found, {"billing": 2})) == ("1 gate", [])
        assert not_using(found, {"billing": 3}) == [
            f"{beats.worker} goes on with billing@2: it does not say why",
        ]
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        while waiting.workers.living(now_ms()):
            await waiting.read(100)


def test_who_is_silent_for_three_beats_does_not_live() -> None:
    workers = Workers()
    beat = Heartbeat(worker="w", role="gate", at_ms=0, every_ms=1_000, policies_offset=4)
    workers.take(msgspec.json.encode(beat), 10_000)
    workers.take(b"no heartbeat", 10_000)
    workers.take(None, 10_000)
    assert [one.worker for one in workers.living(14_999)] == ["w"]
    assert workers.living(15_000) == []
    workers.take(msgspec.json.encode(msgspec.structs.replace(beat, ended=True)), 16_000)
    assert workers.living(16_000) == []


async def test_what_cannot_be_read_may_have_been_a_halt_and_stops_everything_until_somebody_resumes(
    topics: Kafka,
) -> None:
    await publish(topics, document(1))
    async with running(topics) as in_force:
        assert not in_force.snapshot.halts
        async with producer(topics.bootstrap) as client:
            await append(client, topics.topic("policies"), bomb(0, LZ4, 100))
        await comes_true(lambda: Scope() in in_force.snapshot.halts.by_scope)
        (halt,) = in_force.snapshot.halts.by_scope.values()
        assert "cannot be read" in halt.why
        assert halt.why.endswith("resume everything when it is known what stood there")
        edition = await read_edition(topics)
        assert edition.halts == in_force.snapshot.halts.by_scope, "tools and workers say the same"
        await change(topics, lambda edition: resumed(edition, Scope(), ANA))
        await comes_true(lambda: not in_force.snapshot.halts and not in_force.troubles)
