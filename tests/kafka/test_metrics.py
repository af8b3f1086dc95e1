"""A worker with its port open, on a real broker: the figures are those of what was sent, also after a SIGKILL."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from streams.runtime.broker import Broker
from streams.runtime.broker.sockets import free_port
from streams.runtime.topics import apply
from tests.kafka.harness import (
    SLUICEGATE,
    WAIT_S,
    Child,
    Record,
    decision,
    dispositions,
    new_prefix,
    now_ms,
    record,
    send,
    write_policies,
)

pytestmark = [pytest.mark.kafka, pytest.mark.asyncio(loop_scope="module")]
Figures = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Running:
    """The worker under test, its port, and how much was sent to it."""

    def __init__(self, bootstrap: str, prefix: str, port: int, child: Child) -> None:
        self.bootstrap, self.prefix, self.port, self.child = bootstrap, prefix, port, child
        self.sent = 0

    async def put(self, *records: Record) -> None:
        self.sent += len(records)
        await send(self.bootstrap, records)
        await dispositions(self.bootstrap, self.prefix, self.sent)
        until = time.monotonic() + WAIT_S
        while total(await self.figures(), "decisions_total") < self.sent:  # counted just after they can be read
            assert time.monotonic() < until, await self.figures()
            await asyncio.sleep(0.02)

    async def get(self, path: str) -> tuple[int, str]:
        return await asyncio.to_thread(fetched, f"http://127.0.0.1:{self.port}{path}")

    async def figures(self) -> Figures:
        return figures_of((await self.get("/metrics"))[1])

    async def ready(self, wanted: bool) -> dict[str, Any]:
        """Waits until /readyz says so; what it said."""
        until = time.monotonic() + WAIT_S
        while True:
            status, body = await self.get("/readyz")
            said: dict[str, Any] = json.loads(body)
            assert said["ready"] == (status == 200)
            if said["ready"] == wanted:
                return said
            assert time.monotonic() < until, said
            await asyncio.sleep(0.02)


def fetched(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def figures_of(text: str) -> Figures:
    return {
        (sample.name.removeprefix("sluicegate_"), frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(figures: Figures, name: str, **labels: str) -> float:
    return figures[name, frozenset({"role": "gate", **labels}.items())]


def total(figures: Figures, name: str) -> float:
    return sum(number for (found, _), number in figures.items() if found == name)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    prefix, folder, port = new_prefix(), tmp_path_factory.mktemp("metrics"), free_port()
    await apply(kafka.bootstrap, prefix, partitions=2)
    policies = write_policies(folder / "policies")
    arguments = ["worker", "--bootstrap", kafka.bootstrap, "--prefix", prefix, "--policies", str(policies)]
    arguments += ["--roles", "gate"]
    with Child([*SLUICEGATE, *arguments, "--metrics-port", str(port)], folder / "worker.log") as child:
        await child.said("partition ready", 2)
        yield Running(kafka.bootstrap, prefix, port, child)
        assert await child.stop() == 0


async def test_the_figures_are_those_of_what_was_sent(running: Running) -> None:
    await running.ready(True)
    topic = running.prefix + "decisions"
    fine = [decision(f"fine-{number}", f"acct-{number}") for number in range(40)]
    stale = [decision(f"stale-{number}", observed_at_ms=now_ms() - 1_200_000) for number in range(7)]
    dear = [decision(f"dear-{number}", value_minor=9_000) for number in range(5)]
    await running.put(*(record(topic, body) for body in (*fine, *stale, *dear, fine[0])), Record(topic, b"k", b"{", 0))
    figures = await running.figures()
    dispositions_by = {
        ("billing", "commands", "within_bounds"): 40,
        ("billing", "reviews", "value_over_limit"): 5,
        ("billing", "exceptions", "stale.age"): 7,
        ("billing", "exceptions", "duplicate.repeat"): 1,
        ("unknown", "exceptions", "invalid.json"): 1,
    }
    for (workflow, output, reason), count in dispositions_by.items():
        assert value(figures, "dispositions_total", workflow=workflow, output=output, reason=reason) == count
    assert total(figures, "dispositions_total") == running.sent == 54
    assert value(figures, "decisions_total", input="decisions") == 54
    assert value(figures, "batch_records_sum") == 54
    transactions = value(figures, "transactions_total", result="committed")
    assert value(figures, "transaction_seconds_count") == value(figures, "batch_records_count") == transactions
    # repeats and what cannot be read have no age that means anything
    assert value(figures, "decision_age_seconds_count", workflow="billing") == 52
    assert value(figures, "age_budget_ratio_bucket", workflow="billing", le="1.0") == 45
    assert value(figures, "stage_seconds_count", stage="gate") == 52
    assert value(figures, "stage_seconds_count", stage="inference") == 0, "nobody said when it was decided"
    assert value(figures, "policy_budget_seconds", workflow="billing") == 600


async def test_gauges_show_what_is_caught_up(running: Running) -> None:
    until = time.monotonic() + WAIT_S
    while True:  # the ends are asked every 5 s
        figures = await running.figures()
        lag = {key: number for key, number in figures.items() if key[0].startswith("lag_")}
        if len(lag) == 6 and not any(lag.values()):  # two partitions: seconds, and offsets of two inputs
            break
        assert time.monotonic() < until, lag
        await asyncio.sleep(0.1)
    assert value(figures, "partitions") == 2
    assert value(figures, "ready") == 1
    assert 0 <= value(figures, "report_age_seconds") < 60
    fill = [value(figures, "window_ids", partition=n) for n in "01"]
    assert 0 < sum(fill) <= 52
    assert value(figures, "window_ids_max") == 250_000


async def test_hundreds_of_workflows_and_models_make_no_series(running: Running) -> None:
    before = await running.figures()
    topic, lines = running.prefix + "decisions", len(running.child.log.splitlines())
    names = [f"name-{number}" for number in range(300)]
    unknown = [decision(f"u-{name}", name, workflow=name, model=name) for name in names]
    known = [decision(f"k-{name}", name, model=name, segment=name, proposer=name) for name in names]
    await running.put(*(record(topic, body) for body in (*unknown, *known)))
    after = await running.figures()
    new = {name for name, _ in after.keys() - before.keys()}
    assert new <= {"dispositions_total"}
    assert len(after) - len(before) <= 1
    labels = {"workflow": "unknown", "output": "exceptions", "reason": "invalid.unknown_workflow"}
    assert value(after, "dispositions_total", **labels) == 300
    assert not any("name-" in str(labels) for _, labels in after)
    assert len(running.child.log.splitlines()) < lines + 20, "no line a decision"


async def test_counters_survive_a_sigkill_and_readyz_goes_and_comes_back(running: Running) -> None:
    await running.ready(True)
    before = await running.figures()
    (child,) = psutil.Process(running.child.process.pid).children()
    child.kill()
    said = await running.ready(False)
    (role,) = said["roles"]
    assert role["role"] == "gate"
    assert role["waits"], "it says what it waits for"
    assert (await running.get("/healthz"))[0] == 200
    await running.ready(True)
    await running.put(record(running.prefix + "decisions", decision("after")))
    after = await running.figures()
    assert value(after, "child_restarts_total") == 1
    assert total(after, "dispositions_total") == total(before, "dispositions_total") + 1 == running.sent
    fallen = {key for key, number in before.items() if key[0].endswith(("_total", "_bucket")) and after[key] < number}
    assert fallen == set()


async def test_a_child_that_hangs_hangs_no_scrape(running: Running) -> None:
    await running.ready(True)
    (child,) = psutil.Process(running.child.process.pid).children()
    child.suspend()
    try:
        said = await running.ready(False)
        assert "has not reported for" in said["roles"][0]["waits"][0]["for"]
        figures = await running.figures()
        assert value(figures, "ready") == 0
        assert value(figures, "report_age_seconds") > 5
        assert total(figures, "dispositions_total") == running.sent
    finally:
        child.resume()
    await running.ready(True)


async def test_a_port_in_use_is_refused(running: Running, tmp_path: Path) -> None:
    policies = write_policies(tmp_path / "policies")
    arguments = ["worker", "--bootstrap", "127.0.0.1:1", "--policies", str(policies), "--metrics-port"]
    with Child([*SLUICEGATE, *arguments, str(running.port)], tmp_path / "second.log") as second:
        assert await second.ended() == 2
        assert second.log.startswith(f"sluicegate: --metrics-port: 127.0.0.1:{running.port} is in use")
