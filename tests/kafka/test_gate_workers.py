"""Workers that come and go, and a broker that does: nobody splits a number, nothing is forgotten, nothing is twice."""

from __future__ import annotations

import asyncio
import re
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from streams.runtime.broker import Broker, BrokerConfig
from streams.runtime.topics import apply
from tests.kafka.harness import (
    Child,
    audited,
    decision,
    dispositions,
    new_prefix,
    producer,
    record,
    seed,
    send,
    successor,
    worker,
    write_policies,
)

pytestmark = pytest.mark.kafka

# a worker that says, before it drains, what Faust has kept of all that was read
SPYING = """
import gc, sys
from agents import worker
from streams.runtime import process

drain = process._drain

async def spying_drain(app, lanes, tasks):
    kept = app.consumer
    gc.collect()
    sizes = {
        "acked": sum(map(len, kept._acked.values())),
        "index": sum(map(len, kept._acked_index.values())),
        "gaps": sum(map(len, kept._gap.values())),
        "unacked": len(kept._unacked_messages) > 2 * len(lanes.wanted()),
        "committed": len(kept._committed_offset),
    }
    print("kept by Faust:", sizes, file=sys.stderr, flush=True)
    await drain(app, lanes, tasks)

process._drain = spying_drain
sys.exit(worker.main(sys.argv[1:]))
"""
ASSIGNED = re.compile(r"assigned partitions=\[([\d, ]*)\]")


def numbers(child: Child) -> list[int]:
    """What the group gave it last."""
    last = ASSIGNED.findall(child.log)[-1]
    return [int(number) for number in last.split(", ") if number]


async def shared(children: list[Child], count: int) -> list[list[int]]:
    """Waits until the workers have all numbers among them, each one once."""
    for _ in range(600):
        if all("assigned" in child.log for child in children):
            given = [numbers(child) for child in children]
            if sorted(number for one in given for number in one) == list(range(count)) and all(given):
                return given
        await asyncio.sleep(0.1)
    raise AssertionError("\n".join(child.log for child in children))


async def test_one_three_and_one_workers_never_split_a_number(kafka: Broker, prefix: str, tmp_path: Path) -> None:
    await apply(kafka.bootstrap, prefix, partitions=5)
    write_policies(tmp_path / "policies")

    def load(name: str) -> list[str]:
        return [f"{name}-{number}" for number in range(40)]

    async def put(name: str) -> None:
        bodies = [decision(one, entity=f"acct-{number % 17}") for number, one in enumerate(load(name))]
        await send(kafka.bootstrap, [record(prefix + "decisions", body) for body in bodies])
        more = [successor(f"s-{one}", 2, entity=f"acct-{number % 17}") for number, one in enumerate(load(name))]
        await send(kafka.bootstrap, [record(prefix + "successors", body) for body in more])

    with ExitStack() as stack:
        first = stack.enter_context(worker(kafka.bootstrap, prefix, tmp_path, "first"))
        assert await shared([first], 5) == [[0, 1, 2, 3, 4]]
        await put("one")
        others = [stack.enter_context(worker(kafka.bootstrap, prefix, tmp_path, name)) for name in ("second", "third")]
        await put("growing")
        given = await shared([first, *others], 5)
        assert sorted(map(len, given)) == [1, 2, 2]
        await put("three")
        assert [await other.stop() for other in others] == [0, 0]
        await put("shrinking")
        assert await shared([first], 5) == [[0, 1, 2, 3, 4]]
        answers = await dispositions(kafka.bootstrap, prefix, 4 * 2 * 40)
        assert await first.stop() == 0
    assert {output for output, _ in answers.values()} == {"commands"}
    found = await audited(kafka.bootstrap, prefix, prefix + "gate")
    assert found["ok"], found
    assert (found["inputs"], found["pending"], found["commands"]) == (320, 0, 320)


async def test_a_repeat_is_known_after_a_restart_by_any_worker(kafka: Broker, prefix: str, tmp_path: Path) -> None:
    """The window comes back from `state`; the third life is another process with a scratch folder of its own."""
    await apply(kafka.bootstrap, prefix, partitions=2)
    bodies = [decision(f"again-{number}", entity=f"acct-{number}") for number in range(30)]
    records = [record(prefix + "decisions", body) for body in bodies]
    for life, name in enumerate(("worker", "worker", "another")):
        with worker(kafka.bootstrap, prefix, tmp_path, name) as child:
            await send(kafka.bootstrap, records)
            answers = await dispositions(kafka.bootstrap, prefix, 30 * (life + 1))
            assert await child.stop() == 0
    reasons = [body.get("reason") for _, body in answers.values()]
    assert (reasons.count("within_bounds"), reasons.count("duplicate.repeat")) == (30, 60)
    found = await audited(kafka.bootstrap, prefix, prefix + "gate")
    assert (found["ok"], found["commands"], found["id_reused"]) == (True, 30, 0)


async def test_another_group_goes_on_where_the_first_one_ended(kafka: Broker, prefix: str, tmp_path: Path) -> None:
    """As a group does whose offsets have expired: the changelog knows what was read last."""
    await apply(kafka.bootstrap, prefix, partitions=2)
    for life, group in enumerate(("first", "second")):
        bodies = [decision(f"{group}-{number}", entity=f"acct-{number}") for number in range(20)]
        with worker(kafka.bootstrap, prefix, tmp_path, group, group=prefix + group) as child:
            await send(kafka.bootstrap, [record(prefix + "decisions", body) for body in bodies])
            await dispositions(kafka.bootstrap, prefix, 20 * (life + 1))
            assert await child.stop() == 0
    found = await audited(kafka.bootstrap, prefix, prefix + "second")
    assert (found["ok"], found["inputs"], found["commands"], found["duplicates"]) == (True, 40, 40, 0)


async def test_faust_keeps_no_books(kafka: Broker, prefix: str, tmp_path: Path) -> None:
    """Holes in the offsets and acks made its book-keeping grow, and commit past what was not done."""
    await apply(kafka.bootstrap, prefix, partitions=1)
    seed(kafka.bootstrap, prefix, write_policies(tmp_path / "policies"))
    arguments = ["gate", f"--bootstrap={kafka.bootstrap}", f"--prefix={prefix}", f"--group={prefix}gate"]
    with Child([sys.executable, "-c", SPYING, *arguments], tmp_path / "spy.log") as child:
        async with producer(kafka.bootstrap, transactional_id=prefix) as client:
            for number in range(30):  # the marker of each transaction is a hole
                await client.begin_transaction()
                body = decision(f"hole-{number}")
                one = record(prefix + "decisions", body)
                await client.send_and_wait(one.topic, one.value, key=one.key)
                if number % 3:
                    await client.commit_transaction()
                else:
                    await client.abort_transaction()
        await dispositions(kafka.bootstrap, prefix, 20)
        assert await child.stop() == 0
        said = next(line for line in child.log.splitlines() if line.startswith("kept by Faust:"))
    assert said == "kept by Faust: {'acked': 0, 'index': 0, 'gaps': 0, 'unacked': False, 'committed': 0}"
    assert (await audited(kafka.bootstrap, prefix, prefix + "gate"))["ok"]


async def test_a_broker_that_is_away_is_waited_for_and_then_it_goes_on(tmp_path: Path) -> None:
    """The same process, before and after; its log says what it waits for."""
    prefix = new_prefix()
    with Broker(BrokerConfig(data=tmp_path / "kafka")) as kafka:
        await apply(kafka.bootstrap, prefix, partitions=2)
        with worker(kafka.bootstrap, prefix, tmp_path) as child:
            await send(
                kafka.bootstrap, [record(prefix + "decisions", decision(f"a-{n}", f"acct-{n}")) for n in range(10)]
            )
            await dispositions(kafka.bootstrap, prefix, 10)
            kafka.stop()
            await asyncio.sleep(12)
            assert child.process.poll() is None, child.log
            said = child.log
            kafka.start()
            await child.said("the broker answers again")
            await send(
                kafka.bootstrap, [record(prefix + "decisions", decision(f"b-{n}", f"acct-{n}")) for n in range(10)]
            )
            await dispositions(kafka.bootstrap, prefix, 20)
            found = await audited(kafka.bootstrap, prefix, prefix + "gate")
            kafka.kill()
            assert await child.stop() == 0, "it drains, within its bound, also when nobody answers"
    assert f"waits_for='the broker at {kafka.bootstrap}'" in said
    assert len(said.splitlines()) < 60, "its library says the same many times a second; the log does not"
    assert (found["ok"], found["commands"], found["pending"]) == (True, 20, 0)
