"""`sluicegate worker`: what it refuses and how, and how its processes end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.runtime.broker import Broker
from streams.runtime.broker.sockets import free_port
from streams.runtime.topics import apply
from tests.kafka.harness import (
    POLICY,
    SLUICEGATE,
    Child,
    audited,
    decision,
    dispositions,
    read,
    record,
    send,
    write_policies,
)

NOWHERE = "127.0.0.1:1"


def refused(*options: str, timeout_s: float = 50) -> tuple[int, str]:
    """The exit code of `sluicegate worker OPTIONS`, and its last line."""
    done = subprocess.run(
        [*SLUICEGATE, "worker", *options], capture_output=True, text=True, timeout=timeout_s, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stderr.splitlines()[-1]


async def create(bootstrap: str, topic: str, partitions: int, **settings: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        named = {key.replace("_", "."): value for key, value in settings.items()}
        response = await admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=named)])
        assert [code for _, code, _ in response.topic_errors] == [0]
    finally:
        await admin.close()


def supervised(
    kafka: Broker, prefix: str, folder: Path, roles: str = "gate", environment: Mapping[str, str] | None = None
) -> Child:
    policies = write_policies(folder / "policies")
    arguments = [
        "worker",
        "--bootstrap",
        kafka.bootstrap,
        "--prefix",
        prefix,
        "--policies",
        str(policies),
        f"--roles={roles}",
    ]
    temporary = folder / "tmp"
    temporary.mkdir()
    return Child([*SLUICEGATE, *arguments], folder / "worker.log", {"TMPDIR": str(temporary), **(environment or {})})


def worker_of(supervisor: Child) -> psutil.Process:
    (child,) = psutil.Process(supervisor.process.pid).children()
    return child


async def gone(process: psutil.Process) -> None:
    until = time.monotonic() + 30
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until, f"{process} still runs"
        await asyncio.sleep(0.05)


def left_of(*groups: int) -> list[int]:
    """Processes that are still in one of these process groups."""
    left = []
    for pid in psutil.pids():
        with suppress(ProcessLookupError):
            if os.getpgid(pid) in groups:
                left.append(pid)
    return left


# before any broker is asked


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--roles", "gates"], "Error: Invalid value for '--roles': 'gates' is not all, or some of gate, reevaluation"),
        (
            ["--roles", "gate,reevaluation", "--group", "g"],
            "Error: Invalid value for '--group': it names the group of one role: give one with --roles",
        ),
        (
            ["--roles", "gate,gate"],
            "Error: Invalid value for '--roles': 'gate,gate' is not all, or some of gate, reevaluation",
        ),
        (["--roles", ""], "Error: Invalid value for '--roles': '' is not all, or some of gate, reevaluation"),
    ],
)
def test_roles_and_groups_that_do_not_fit_are_refused(tmp_path: Path, options: list[str], line: str) -> None:
    code, said = refused("--policies", str(write_policies(tmp_path)), "--bootstrap", NOWHERE, *options)
    assert code == 2
    assert said.startswith(line)


def test_no_folder_of_policies_is_refused(tmp_path: Path) -> None:
    code, said = refused("--policies", str(tmp_path / "none"), "--bootstrap", NOWHERE)
    assert code == 2
    assert "none is not a folder" in said


def test_bad_policies_are_refused_with_file_and_path(tmp_path: Path) -> None:
    folder = write_policies(tmp_path, POLICY.replace("10m", "ten minutes"))
    code, said = refused("--policies", str(folder), "--bootstrap", NOWHERE)
    assert code == 2
    assert "billing.yaml: freshness.budget: found 'ten minutes', expected a length of time" in said


def test_no_broker_is_said_once_and_within_a_bound(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    code, said = refused("--policies", str(write_policies(tmp_path)), "--bootstrap", address)
    assert code == 3
    assert said.startswith(f"sluicegate: no Kafka answers at {address} in 8 s")


# at the broker


def test_missing_topics_are_refused(kafka: Broker, prefix: str, tmp_path: Path) -> None:
    options = ["--bootstrap", kafka.bootstrap, "--prefix", prefix]
    code, said = refused("--policies", str(write_policies(tmp_path)), *options)
    assert code == 2
    assert f"topics are missing at {kafka.bootstrap}: {prefix}decisions" in said


async def test_unequal_counts_are_refused(kafka: Broker, prefix: str, tmp_path: Path) -> None:
    await create(kafka.bootstrap, prefix + "commands", 3)
    await apply(kafka.bootstrap, prefix, partitions=2)
    options = ["--bootstrap", kafka.bootstrap, "--prefix", prefix]
    code, said = refused("--policies", str(write_policies(tmp_path)), *options)
    assert code == 2
    assert f"{prefix}commands: partitions is 3, expected 2" in said


async def test_a_setting_that_differs_is_a_warning_and_sigterm_drains(
    kafka: Broker, prefix: str, tmp_path: Path
) -> None:
    await create(kafka.bootstrap, prefix + "commands", 1, retention_ms="3600000")
    await apply(kafka.bootstrap, prefix, partitions=1)
    with supervised(kafka, prefix, tmp_path) as supervisor:
        log = await supervisor.said("partition ready")
        assert f"{prefix}commands: retention.ms is 3600000" in log
        await send(kafka.bootstrap, [record(prefix + "decisions", decision("one"))])
        await dispositions(kafka.bootstrap, prefix, 1)
        child = worker_of(supervisor)
        assert await supervisor.stop() == 0
        assert "stopped" in supervisor.log
        assert not child.is_running()
        assert "SIGKILL" not in supervisor.log
        assert left_of(child.pid, supervisor.process.pid) == []
        assert list((tmp_path / "tmp").iterdir()) == []
    assert (await audited(kafka.bootstrap, prefix, prefix + "gate"))["ok"]


async def test_at_rest_a_worker_says_that_it_is_ready_and_nothing_else(
    kafka: Broker, prefix: str, tmp_path: Path
) -> None:
    """Its heartbeats go through the allocator's transactions, and clients told of each that had to be tried again."""
    await apply(kafka.bootstrap, prefix, partitions=2)
    quiet = {"SLUICEGATE_LOG_LEVEL": "info"}
    with supervised(kafka, prefix, tmp_path, roles="all", environment=quiet) as supervisor:
        await supervisor.said("sluicegate: ready: gate, reevaluation, reviews, exposure\n")
        await read(kafka.bootstrap, [prefix + "workers"], 16)  # of four roles, every three seconds
        assert await supervisor.stop() == 0
        assert supervisor.log.splitlines() == ["sluicegate: ready: gate, reevaluation, reviews, exposure"]


async def test_the_child_is_started_again_and_ends_with_its_supervisor(
    kafka: Broker, prefix: str, tmp_path: Path
) -> None:
    await apply(kafka.bootstrap, prefix, partitions=1)
    with supervised(kafka, prefix, tmp_path) as supervisor:
        await supervisor.said("partition ready")
        first = worker_of(supervisor)
        first.kill()
        await supervisor.said("the gate was ended by SIGKILL; it is started again in 0.1 s")
        await send(kafka.bootstrap, [record(prefix + "decisions", decision("one"))])
        await dispositions(kafka.bootstrap, prefix, 1)
        second = worker_of(supervisor)
        assert second.pid != first.pid
        supervisor.process.send_signal(signal.SIGKILL)
        await gone(second)
        assert "stopped" in supervisor.log, "without its supervisor it drains, as on SIGTERM"
        assert list((tmp_path / "tmp").iterdir()) == []
    assert (await audited(kafka.bootstrap, prefix, prefix + "gate"))["ok"]
