"""Whole workers, with supervisor and port, that Prometheus scrapes and a test breaks."""

from __future__ import annotations

import asyncio
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import psutil

from streams.runtime import topics
from streams.runtime.broker.sockets import free_port
from tests.faults.fleet import SLUICEGATE
from tests.faults.prometheus import Prometheus
from tests.kafka.harness import Child, Record, decision, now_ms, record, send, write_policies

POLICY = """\
workflow: billing
version: 1
freshness: {budget: 10s, total: 10m}
boundary:
  rules: [{name: small, then: autonomous, limits: {value_minor_at_most: 5000, currency: USD}}]
"""
ENTITIES = {0: "acct-1", 1: "acct-2"}  # by the partition, of two, that their keys are in
# children that run tests.kafka.mistaken: a program with a mistake in it
MISTAKEN = (
    sys.executable,
    "-c",
    "import functools, sys; import agents.cli.worker as w; "
    "w.Child = functools.partial(w.Child, command=(sys.executable, '-m', 'tests.kafka.mistaken')); "
    "from agents.cli.main import main; main()",
)


class Workers:
    """The workers of one job on topics of their own; all of them are ended in the end."""

    def __init__(self, prometheus: Prometheus, bootstrap: str, job: str, folder: Path, policy: str = POLICY) -> None:
        self.prometheus, self.bootstrap, self.job, self.prefix = prometheus, bootstrap, job, f"{job}."
        self.folder = folder / job
        self.policies = write_policies(self.folder / "policies", policy)
        self.ports: list[int] = []
        self._children: list[Child] = []
        self._sent = 0
        asyncio.run(topics.apply(bootstrap, self.prefix, 2))

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.prometheus.scrape(self.job, [])
        for child in self._children:
            for process in _tree(child):
                process.kill()
            child.__exit__(None, None, None)

    def start(
        self,
        *more: str,
        roles: str = "gate",
        port: int | None = None,
        scraped: bool = True,
        command: Sequence[str] = SLUICEGATE,
        failpoints: str = "",
    ) -> Child:
        """A worker, scraped from now on; returns when it is ready."""
        port = port or free_port()
        arguments = ["worker", "--bootstrap", self.bootstrap, "--prefix", self.prefix, "--roles", roles, *more]
        arguments += ["--policies", str(self.policies), "--metrics-port", str(port)]
        log = self.folder / f"worker-{len(self._children)}.log"
        child = Child([*command, *arguments], log, {"SLUICEGATE_FAILPOINTS": failpoints})
        self._children.append(child)
        if scraped:
            self.ports = [*self.ports, port] if port not in self.ports else self.ports
            self.prometheus.scrape(self.job, self.ports)
        until = time.monotonic() + 90
        while not self.readyz(port).get("ready"):
            assert child.process.poll() is None and time.monotonic() < until, child.log
            time.sleep(0.1)
        return child

    def readyz(self, port: int | None = None) -> dict[str, Any]:
        """What /readyz of a worker says, of the first if none is named; nothing where nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port or self.ports[0]}/readyz", timeout=5) as answer:
                said: dict[str, Any] = json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                said = json.loads(error.read())
        except OSError:
            return {}
        return said

    def waits_for(self) -> str:
        """All that the first worker waits for, in its own words."""
        return "; ".join(wait["for"] for role in self.readyz()["roles"] for wait in role["waits"])

    def kill(self, child: Child) -> None:
        """SIGKILL to a worker and all of its processes, as when its machine goes."""
        for process in _tree(child):
            process.kill()
        child.process.wait()

    def child_of(self, worker: Child, role: str) -> psutil.Process:
        """The process of a role."""
        (found,) = [one for one in psutil.Process(worker.process.pid).children() if role in one.cmdline()]
        return found

    def send(self, count: int = 1, partition: int = 0, **more: Any) -> None:
        """Decisions with ids of their own, that run by themselves unless `more` says otherwise."""
        self.put(self.decision(partition, **more) for _ in range(count))

    def put(self, records: Iterable[Record]) -> None:
        asyncio.run(send(self.bootstrap, records))

    def decision(self, partition: int = 0, **more: Any) -> Record:
        """One of them; its entity lies in the partition by the default partitioner."""
        self._sent += 1
        fields = {"entity": ENTITIES[partition], "observed_at_ms": now_ms(), **more}
        return record(f"{self.prefix}decisions", decision(f"d-{self._sent}", **fields), partition)

    def cli(self, *arguments: str) -> tuple[int, str]:
        """What a command of ours says about these topics, as a reader of the runbook types it."""
        return asyncio.run(_run(*arguments, "--bootstrap", self.bootstrap, "--prefix", self.prefix))


async def _run(*arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *SLUICEGATE, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode is not None
    return process.returncode, said.decode()


def _tree(child: Child) -> list[psutil.Process]:
    if child.process.poll() is not None:
        return []
    whole = psutil.Process(child.process.pid)
    return [whole, *whole.children(recursive=True)]
