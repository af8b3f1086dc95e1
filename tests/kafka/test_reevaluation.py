"""Stale decisions asked about again on a real Kafka: by `sluicegate worker`, which starts both roles by itself."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from streams.runtime.broker import Broker
from streams.runtime.topics import apply
from tests.kafka.harness import SLUICEGATE, Child, Record, audited, decision, now_ms, read, record, send, write_policies

pytestmark = pytest.mark.kafka

POLICY = """\
workflow: billing
version: 1
freshness: {budget: 10m, total: 30m, on_stale: reevaluate}
evaluator: {function: "tests.kafka.rating:evaluate", timeout: 5s}
boundary: {rules: [{name: all, then: autonomous}]}
"""


async def test_a_stale_decision_is_decided_again_on_the_present(kafka: Broker, prefix: str, tmp_path: Path) -> None:
    await apply(kafka.bootstrap, prefix, partitions=2)
    policies = write_policies(tmp_path / "policies", POLICY)
    old_ms = now_ms() - 900_000
    ids = ["fresh", "late", "late-declined", "late-broken", "too-late"]
    ages = {"fresh": now_ms(), "too-late": now_ms() - 1_900_000}
    inputs = [
        record(prefix + "decisions", decision(name, f"acct-{name}", observed_at_ms=ages.get(name, old_ms)))
        for name in ids
    ]
    await send(kafka.bootstrap, inputs)
    command = [*SLUICEGATE, "worker", "--bootstrap", kafka.bootstrap, "--prefix", prefix, "--policies", str(policies)]
    command += ["--roles", "gate,reevaluation"]
    with Child(command, tmp_path / "worker.log") as worker:
        commands = await read(kafka.bootstrap, [prefix + "commands"], 2)
        exceptions = await read(kafka.bootstrap, [prefix + "exceptions"], 3)
        verdict = await _content(kafka.bootstrap, prefix)
        assert await worker.stop() == 0, worker.log
    assert {one["decision_id"]: one["attempt"] for one in map(_body, commands)} == {"fresh": 1, "late~2": 2}
    endings = {one["decision_id"]: (one["reason"], one["kind"]) for one in map(_body, exceptions)}
    assert endings == {
        "late-declined": ("reevaluation.failed", "followup"),
        "late-broken": ("reevaluation.failed", "followup"),
        "too-late": ("stale.age", "disposition"),
    }
    told = {one["decision_id"]: one["detail"] for one in map(_body, exceptions)}
    assert "no rate for this one" in told["late-broken"]
    assert verdict["ok"], verdict
    assert (verdict["inputs"], verdict["reevaluations"], verdict["reevaluations_answered"]) == (6, 3, 3)


async def test_what_is_no_request_is_an_exception_and_the_flow_goes_on(
    kafka: Broker, prefix: str, tmp_path: Path
) -> None:
    """Somebody else writes to `reevaluations`; what stands behind it is asked, a request of a review's as well."""
    await apply(kafka.bootstrap, prefix, partitions=1)
    policies = write_policies(tmp_path / "policies", POLICY)
    foreign: list[bytes | None] = [b"garbage", b"{}", None, b"\xff", b"x" * 100_000]
    sent = await send(kafka.bootstrap, [Record(prefix + "reevaluations", b"acct-1", value, 0) for value in foreign])
    stale = record(prefix + "decisions", decision("late", "acct-1", observed_at_ms=now_ms() - 900_000))
    await send(kafka.bootstrap, [stale])
    command = [*SLUICEGATE, "worker", "--bootstrap", kafka.bootstrap, "--prefix", prefix, "--policies", str(policies)]
    command += ["--roles", "gate,reevaluation"]
    with Child(command, tmp_path / "worker.log") as worker:
        exceptions = await read(kafka.bootstrap, [prefix + "exceptions"], len(foreign))
        (made,) = await read(kafka.bootstrap, [prefix + "commands"], 1)
        requests = await read(kafka.bootstrap, [prefix + "reevaluations"], len(foreign) + 1)
        later = {
            **requests[-1].json(),
            "kind": "followup",
            "reason": "review.outdated",
            "decision_id": "later",
            "root_id": "later",
            "caused_by": {"topic": prefix + "verdicts", "partition": 0, "offset": 0},
        }
        await send(kafka.bootstrap, [Record(prefix + "reevaluations", b"acct-1", orjson.dumps(later), 0)])
        commands = await read(kafka.bootstrap, [prefix + "commands"], 2)
        assert await worker.stop() == 0, worker.log
    assert [one.json()["decision_id"] for one in (made, commands[1])] == ["late~2", "later~2"]
    told = [one.json() for one in exceptions]
    assert [one["reason"] for one in told] == [
        *("invalid.json", "invalid.schema", "invalid.empty", "invalid.encoding", "invalid.json")
    ]
    assert [one["source"]["offset"] for one in told] == [offset for _, _, offset in sent]
    assert all(one["kind"] == "followup" and one["caused_by"] == one["source"] for one in told)
    assert (len(told[4]["raw"]), told[4]["raw_bytes"]) == (65_536, 100_000)


async def _content(bootstrap: str, prefix: str) -> dict[str, Any]:
    """The audit's verdict, once the successor of the last answer has been decided."""
    until = time.monotonic() + 30
    while not (verdict := await audited(bootstrap, prefix))["ok"] and time.monotonic() < until:
        await asyncio.sleep(0.5)
    return verdict


def _body(one: Record) -> dict[str, Any]:
    return one.json()
