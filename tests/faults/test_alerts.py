"""Each alert on workers fires once for real: Prometheus with the shipped rules scrapes workers that are really broken.

Each test breaks one thing, waits for its alerts, looks where the runbook says to look, mends it as that says, and waits
until they are gone. Durations are divided (tests/faults/prometheus.py); what is a number of seconds is not.
"""

from __future__ import annotations

import asyncio
import functools
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import psutil
import pytest
from aiokafka.admin import AIOKafkaAdminClient

from streams.runtime.broker import Broker, BrokerConfig
from tests.conftest import QUICK_GROUPS
from tests.faults.monitored import ENTITIES, MISTAKEN, POLICY, Workers
from tests.faults.prometheus import RULES, Prometheus, binary
from tests.kafka.harness import Record, now_ms, remove_before
from tests.kafka.mistaken import LARGE, MISTAKE

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(binary() is None, reason="no prometheus here: apt-get install prometheus"),
]

KEYS = """\
keys: {desk: {secret: "sixteen bytes or more", by: {ana: [clerk]}}}
"""

POISON = 'ALERTS{alertname="SluicegatePoison", alertstate="firing", job="ours"}'


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with Prometheus(tmp_path_factory.mktemp("prometheus")) as running:
        yield running


def test_nobody_is_there_then_somebody_and_then_nobody_again(
    prometheus: Prometheus, kafka: Broker, tmp_path: Path
) -> None:
    prometheus.fires(None, ("NoGate", "gate"))
    with Workers(prometheus, kafka.bootstrap, "gone", tmp_path) as workers:
        worker = workers.start(roles="gate,reviews")
        prometheus.resolves(None, ("NoGate", "gate"))
        prometheus.resolves("gone")

        workers.kill(worker)
        absent = [("RoleAbsent", "gate"), ("RoleAbsent", "reviews")]
        prometheus.fires("gone", ("WorkerDown", ""), *absent)
        time.sleep(20)  # as long as 400 s: whatever looks at what is there has forgotten by now
        prometheus.fires("gone", ("WorkerDown", ""), *absent, within_s=1)
        workers.start(roles="gate,reviews", port=workers.ports[0])
        prometheus.resolves("gone")


def test_a_role_that_fails_whenever_it_is_started_while_the_other_works(
    prometheus: Prometheus, kafka: Broker, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.yaml"
    keys.write_text(KEYS)
    with Workers(prometheus, kafka.bootstrap, "fails", tmp_path) as workers:
        worker = workers.start("--verdict-keys", str(keys), roles="gate,reviews")
        prometheus.resolves("fails")
        keys.write_text("keys: [")  # somebody edits the file, and later the child ends for another reason
        workers.child_of(worker, "reviews").kill()
        wanted = ("BackingOff", "reviews"), ("ChildRestarts", "reviews"), ("NotReady", "reviews")
        prometheus.fires("fails", *wanted)
        assert "waits to be started again" in workers.waits_for() or "reads policies" in workers.waits_for()
        assert "keys.yaml" in worker.log, "the line before each attempt says why"
        workers.send()
        prometheus.resolves("fails", ("ChildRestarts", "reviews"))  # they are further and further apart
        assert {alert for alert, role in prometheus.firing("fails") if role == "gate"} == set(), "it works on"
        prometheus.fires("fails", ("BackingOff", "reviews"), ("NotReady", "reviews"), within_s=1)
        keys.write_text(KEYS)
        prometheus.resolves("fails", within_s=120)


def test_a_frozen_child_and_a_partition_that_only_somebody_unseen_owns(
    prometheus: Prometheus, kafka: Broker, tmp_path: Path
) -> None:
    with Workers(prometheus, kafka.bootstrap, "frozen", tmp_path) as workers:
        worker = workers.start()
        prometheus.resolves("frozen")
        child = workers.child_of(worker, "gate")
        child.suspend()
        workers.send(5)
        prometheus.fires("frozen", ("ChildSilent", "gate"), ("NotReady", "gate"))
        assert "has not reported for" in workers.waits_for()
        assert child.status() == psutil.STATUS_STOPPED, "as `ps -o stat=` says"
        child.kill()
        prometheus.resolves("frozen")

        unseen = workers.start(scraped=False)
        prometheus.fires("frozen", ("PartitionUnowned", "gate"))
        assert unseen.process.poll() is None
        assert workers.readyz()["ready"]
        unseen.process.send_signal(signal.SIGTERM)
        prometheus.resolves("frozen")


def test_most_of_the_input_cannot_be_read(prometheus: Prometheus, kafka: Broker, tmp_path: Path) -> None:
    with Workers(prometheus, kafka.bootstrap, "bad", tmp_path) as workers:
        workers.start()
        prometheus.resolves("bad")
        wanted = {
            *(("InvalidRising", ""), ("InvalidMost", ""), ("WrongPartition", ""), ("UnknownWorkflow", "")),
            *(("FreshnessBurn1h", ""), ("ClockAdjusted", "")),
        }
        seen: set[tuple[str, str]] = set()
        until = time.monotonic() + 150
        while not wanted <= seen:  # a producer gone wrong, for minutes
            assert time.monotonic() < until, wanted - seen
            seen |= prometheus.firing("bad")
            wrong = workers.decision()._replace(key=b"somebody else")
            broken = [Record("bad.decisions", ENTITIES[0].encode(), b"{", 0)] * 20
            late = [workers.decision(observed_at_ms=now_ms() - 60_000) for _ in range(4)]
            odd = [workers.decision(decided_at_ms=now_ms() - 9_000) for _ in range(4)]
            workers.put([*broken, wrong, workers.decision(workflow="unheard-of"), *late, *odd])
            time.sleep(0.5)
        code, said = workers.cli("tail", "exceptions", "--from-beginning", "-n", "30", "--output", "json")
        assert code == 0
        reasons = {orjson.loads(line)["value"]["reason"] for line in said.splitlines()}
        assert {"invalid.json", "invalid.key", "invalid.unknown_workflow", "stale.age"} <= reasons
        for expression in _dashboard():
            prometheus.query(expression)  # it is refused, if it is none
        workers.send(50)
        prometheus.resolves("bad", *(wanted - {("FreshnessBurn1h", ""), ("ClockAdjusted", "")}))


def test_more_comes_than_is_decided_and_the_window_is_too_small(
    prometheus: Prometheus, kafka: Broker, tmp_path: Path
) -> None:
    policy = POLICY.replace("budget: 10s", "budget: 60s")  # all are in time: only what is commanded needs a place
    with Workers(prometheus, kafka.bootstrap, "small", tmp_path, policy) as workers:
        workers.start("--capacity", "4", "--window-ids", "60")
        prometheus.resolves("small")
        workers.send(200)  # 50 s: the window is full long enough before all of them expire
        prometheus.fires("small", ("LagNearBudget", ""))
        prometheus.fires("small", ("WindowEvicts", "gate"), ("WindowNearlyFull", "gate"), within_s=120)
        prometheus.resolves("small", ("LagNearBudget", ""), ("WindowEvicts", "gate"))


def test_a_mistake_of_ours_and_commits_that_take_longer_than_commands_live(
    prometheus: Prometheus, kafka: Broker, tmp_path: Path
) -> None:
    gate = tmp_path / "held"
    policy = POLICY.replace("budget: 10s", "budget: 1s")
    with Workers(prometheus, kafka.bootstrap, "ours", tmp_path, policy) as workers:
        worker = workers.start(command=MISTAKEN, failpoints=f"before_transaction=hold:{gate}")
        prometheus.resolves("ours")
        for about in (MISTAKE, LARGE):
            workers.send(model=about.decode())
        prometheus.fires("ours", ("Poison", "gate"))
        until = time.monotonic() + 30
        while {one["metric"]["cause"] for one in prometheus.query(POISON)} != {"decide", "send"}:
            assert time.monotonic() < until, worker.log[-4000:]
        assert "poison" in worker.log, "which names the error"
        until = time.monotonic() + 150
        while ("DecidesAgain", "gate") not in prometheus.firing("ours"):
            assert time.monotonic() < until, worker.log[-4000:]
            gate.touch()
            workers.send(partition=0)
            workers.send(partition=1)
            time.sleep(1.2)
            gate.unlink()
            time.sleep(0.3)
        prometheus.resolves("ours", ("DecidesAgain", "gate"))


def test_records_are_removed_before_they_are_read(prometheus: Prometheus, kafka: Broker, tmp_path: Path) -> None:
    with Workers(prometheus, kafka.bootstrap, "lost", tmp_path) as workers:
        worker = workers.start()
        prometheus.resolves("lost")
        workers.send(30)
        time.sleep(2)
        worker.process.send_signal(signal.SIGTERM)
        worker.process.wait(30)
        workers.send(40)
        asyncio.run(remove_before(kafka.bootstrap, "lost.decisions", 60))
        workers.start(port=workers.ports[0])
        prometheus.fires("lost", ("RecordsLost", "gate"))
        (lost,) = prometheus.query('ALERTS{alertname="SluicegateRecordsLost", job="lost"}')
        assert lost["metric"]["input"] == "decisions"
        code, said = workers.cli("audit")
        assert code == 1, said
        assert "lost 30 (lost.decisions/0 30 to 59)" in said


def test_a_clock_that_is_behind_and_then_an_hour_ahead(prometheus: Prometheus, kafka: Broker, tmp_path: Path) -> None:
    off_by_ms = tmp_path / "off-by-ms"
    with Workers(prometheus, kafka.bootstrap, "clock", tmp_path) as workers:
        workers.start(failpoints=f"clock=shift:{off_by_ms}")
        prometheus.resolves("clock")
        off_by_ms.write_text("-1500")  # tolerated, and still more than a tenth of the budget
        wanted = {("ClockBehindBroker", ""), ("ClockFarBehindBroker", "")}
        until = time.monotonic() + 120
        while not wanted <= prometheus.firing("clock"):
            assert time.monotonic() < until, prometheus.query("sluicegate_broker_clock_offset_seconds")
            workers.send(3)
            time.sleep(0.2)
        off_by_ms.unlink()
        workers.send(3)
        workers.send(3, partition=1)
        prometheus.resolves("clock", *wanted)

        off_by_ms.write_text("3600000")
        prometheus.fires("clock", ("ClocksApart", "gate"), ("NotReady", "gate"))
        assert "the clocks to agree" in workers.waits_for()
        off_by_ms.unlink()
        prometheus.resolves("clock")


def test_an_evaluator_that_does_not_answer(prometheus: Prometheus, kafka: Broker, tmp_path: Path) -> None:
    again = "total: 10m, on_stale: reevaluate}\nevaluator: {url: 'http://127.0.0.1:1/nobody', timeout: 1s}"
    policy = POLICY.replace("total: 10m}", again)
    with Workers(prometheus, kafka.bootstrap, "asked", tmp_path, policy) as workers:
        workers.start(roles="gate,reevaluation")
        prometheus.resolves("asked")
        wanted = {("EvaluatorFails", ""), ("EvaluatorDown", "")}
        until = time.monotonic() + 120
        while not wanted <= prometheus.firing("asked"):
            assert time.monotonic() < until, prometheus.firing("asked")
            workers.send(5, observed_at_ms=now_ms() - 60_000)
            time.sleep(0.5)
        results = {
            one["metric"]["result"] for one in prometheus.query('sluicegate_evaluator_calls_total{job="asked"} > 0')
        }
        assert results <= {"failed", "timeout", "breaker_open"}, "which of them says what to do"
        prometheus.resolves("asked", *wanted)


def test_a_topic_on_which_a_halt_would_come_is_gone(prometheus: Prometheus, kafka: Broker, tmp_path: Path) -> None:
    with Workers(prometheus, kafka.bootstrap, "deaf", tmp_path) as workers:
        workers.start()
        prometheus.resolves("deaf")
        asyncio.run(_delete(kafka.bootstrap, "deaf.policies"))
        prometheus.fires("deaf", ("NotReady", "gate"), within_s=120)
        assert "no halt would be heard" in workers.waits_for()


def test_a_broker_that_hangs_is_no_progress_anywhere(prometheus: Prometheus, tmp_path: Path) -> None:
    with Broker(BrokerConfig(properties=QUICK_GROUPS)) as broker:
        (node,) = [
            one
            for one in psutil.Process().children(recursive=True)
            if f":{broker.bootstrap.split(':')[1]}" in _listens(one)
        ]
        with Workers(prometheus, broker.bootstrap, "stuck", tmp_path) as workers:
            workers.start()
            prometheus.resolves("stuck")
            node.suspend()
            try:
                prometheus.fires("stuck", ("NotReady", "gate"))
                prometheus.fires("stuck", ("NoProgress", "gate"), within_s=120)
                assert f"the broker at {broker.bootstrap}" in workers.waits_for()
            finally:
                node.resume()
            prometheus.resolves("stuck")


def _dashboard() -> Iterator[str]:
    """What the panels ask, with a value for each of their variables."""
    values = {"$__rate_interval": "5s", "$job": ".*", "$instance": ".*", "$workflow": ".*"}
    for panel in json.loads((RULES.parent / "dashboards" / "sluicegate.json").read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield functools.reduce(lambda text, one: text.replace(*one), values.items(), target["expr"])


def _listens(process: psutil.Process) -> str:
    places = process.net_connections(kind="tcp")
    return " ".join(f":{place.laddr.port}" for place in places if place.status == psutil.CONN_LISTEN)


async def _delete(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([topic])
    finally:
        await admin.close()
