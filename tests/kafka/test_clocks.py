"""Clocks on a real Kafka: a gate whose clock steps, or is wrong, waits and says so; nothing is forgotten meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from streams.runtime.broker import Broker
from streams.runtime.broker.sockets import free_port
from streams.runtime.topics import apply
from tests.kafka.harness import (
    SLUICEGATE,
    Child,
    audited,
    decision,
    dispositions,
    new_prefix,
    record,
    send,
    write_policies,
)
from tests.kafka.test_metrics import Running, value

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]
HOUR_MS = 3_600_000


async def test_a_clock_that_is_wrong_or_steps_is_waited_for(kafka: Broker, tmp_path: Path) -> None:
    """Behind from the start, right, ahead for a while, right again: what was commanded before is known after it."""
    prefix, port, off = new_prefix(), free_port(), tmp_path / "off-by-ms"
    await apply(kafka.bootstrap, prefix, partitions=1)
    policies = write_policies(tmp_path / "policies")
    arguments = ["worker", "--bootstrap", kafka.bootstrap, "--prefix", prefix, "--policies", str(policies)]
    arguments += ["--roles", "gate", "--metrics-port", str(port)]
    off.write_text(str(-HOUR_MS))
    with Child(
        [*SLUICEGATE, *arguments], tmp_path / "worker.log", {"SLUICEGATE_FAILPOINTS": f"clock=shift:{off}"}
    ) as child:
        await child.said("waits_for='the clocks to agree: here it is ")
        running = Running(kafka.bootstrap, prefix, port, child)
        while "the clocks to agree: here it is " not in str(await running.ready(False)):
            await asyncio.sleep(0.05)
        assert value(await running.figures(), "clocks_apart") == 1
        off.unlink()
        await running.ready(True)
        first = [record(prefix + "decisions", decision(f"d-{n}")) for n in range(3)]
        await running.put(*first)

        # the machine of an operator may be wrong: who lives, the broker knows
        for wrong_ms in (12_000, -HOUR_MS, HOUR_MS):
            theirs = tmp_path / "operator"
            theirs.write_text(str(wrong_ms))
            halt = ["halt", "--workflow", "other", "--why", "test", "--bootstrap", kafka.bootstrap, "--prefix", prefix]
            armed = {"SLUICEGATE_FAILPOINTS": f"clock=shift:{theirs}"}
            with Child([*SLUICEGATE, *halt], tmp_path / f"halt{wrong_ms}.log", armed) as operator:
                assert await operator.ended() == 0, operator.log
                assert "in force on 1 gate after" in operator.log

        off.write_text(str(HOUR_MS))
        await running.ready(False)
        await send(kafka.bootstrap, [record(prefix + "decisions", decision(f"d-{n}")) for n in range(2)])
        running.sent += 2
        await child.said("partition=0 role=gate waits_for='the clocks to agree", 2)
        assert len(await dispositions(kafka.bootstrap, prefix, 3)) == 3, "nothing is decided meanwhile"
        off.unlink()
        await running.ready(True)
        await running.put(*(record(prefix + "decisions", decision(f"d-{n}")) for n in range(2, 4)))
        assert value(await running.figures(), "clocks_apart") == 0
        assert await child.stop() == 0
    told = [body for _, body in (await dispositions(kafka.bootstrap, prefix, 7)).values()]
    assert sorted(one["reason"] for one in told) == ["duplicate.repeat"] * 3 + ["within_bounds"] * 4
    assert (await audited(kafka.bootstrap, prefix, prefix + "gate"))["ok"]
