"""A node as a process: one JVM that is broker and controller, and its watcher, which ends it when its owner is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from streams.errors import ConfigurationError
from streams.runtime.broker import watcher
from streams.runtime.broker.config import HOST, Address, server_properties
from streams.runtime.broker.folder import DataFolder
from streams.runtime.broker.jars import OWN_KAFKA
from streams.runtime.broker.sockets import refusal
from streams.runtime.children import DEVNULL, Process, start

FORMAT_TIMEOUT_S = 60.0
LOG_BYTES_MAX = 10 << 20
TAIL_LINES = 12


class Node:
    """One JVM: made ready, started, stopped, killed, started again. `inside` is its place in the data folder."""

    def __init__(self, address: Address, data: DataFolder, inside: str) -> None:
        self.address = address
        self._data = data
        self._inside = inside
        self._process: Process | None = None
        self._watcher: Process | None = None

    @property
    def folder(self) -> Path:
        return self._data.path / self._inside

    @property
    def log_path(self) -> Path:
        return self.folder / "kafka.log"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.code is None

    def refuse_taken_ports(self) -> None:
        """Raises ConfigurationError when something else listens on a port of this node."""
        for port, option in (
            (self.address.port, "--port"),
            (self.address.controller_port, "another controller port"),
        ):
            reason = refusal(port)
            if reason is not None:
                node = f" for node {self.address.number}" if self._inside else ""
                raise ConfigurationError(
                    f"cannot listen on {HOST}:{port}{node}: {reason}; stop what listens there, choose another port "
                    f"with {option}, or, if it is a Kafka, use it as it is: {OWN_KAFKA}"
                )

    def prepare(self, java: list[str], cluster_id: str, everyone: Sequence[Address], extra: Mapping[str, str]) -> None:
        """Writes server.properties and formats the folder once. Raises ConfigurationError when Kafka refuses it."""
        self.folder.mkdir(exist_ok=True)
        text = server_properties(self.address, everyone, extra)
        (self.folder / "server.properties").write_text(text, encoding="utf-8")
        if self.log_path.exists() and self.log_path.stat().st_size > LOG_BYTES_MAX:
            self.log_path.replace(self.log_path.with_suffix(".log.1"))
        if not (self.folder / "log" / "meta.properties").exists():
            self._format(java, cluster_id)

    def _format(self, java: list[str], cluster_id: str) -> None:
        tool = ["kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", "server.properties"]
        with self.log_path.open("ab") as log:
            done = subprocess.run(
                [*java, *tool],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                timeout=FORMAT_TIMEOUT_S,
                check=False,
            )
        if done.returncode != 0:
            raise ConfigurationError(f"Kafka cannot use the data folder {self.folder}:\n{self.log_tail()}")

    def launch(self, java: list[str], claim: int) -> None:
        """In a session of its own: Ctrl-C ends what uses the broker first, and then, in order, the broker."""
        self._reap()  # one that ended by itself
        with self.log_path.open("ab") as log:
            self._process = start(
                [*java, "kafka.Kafka", "server.properties"],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                pass_fds=[claim],  # the claim on the folder lasts at least as long as the JVM
            )
        temporary = str(self._data.path) if self._data.temporary else ""
        self._watcher = start(
            [sys.executable, "-I", "-S", watcher.__file__, str(self._process.pid), str(os.getpid()), temporary],
            stdout=DEVNULL,
            stderr=DEVNULL,
        )

    def refuse_if_ended(self) -> None:
        """Raises ConfigurationError when the JVM ended while it was waited for."""
        code = self._process.code if self._process else None
        if code is not None:
            raise ConfigurationError(
                f"Kafka ended with code {code} while starting; the end of {self.log_path}:\n{self.log_tail()}"
            )

    def terminate(self) -> None:
        """Tells it to stop in order; `wait` follows."""
        if self._process is not None:
            self._process.signal(signal.SIGTERM)

    def wait(self, until: float) -> None:
        """Until `until` (of the monotonic clock); what has not ended by then is killed."""
        if self._process is None:
            return
        if self._process.wait(max(0.0, until - time.monotonic())) is None:
            self._process.kill()
        self._reap()

    def kill(self) -> None:
        """Sends SIGKILL; `wait` follows."""
        if self._process is not None:
            self._process.kill()

    def log_tail(self) -> str:
        """The last lines of its log without Java's stack frames, for a message about why it is not there."""
        try:
            text = self.log_path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return "(no log)"
        telling = [line for line in text.splitlines() if line.strip() and not line.startswith("\tat ")]
        return "\n".join(f"  {line}" for line in telling[-TAIL_LINES:]) or "(an empty log)"

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait()
            self._process = None
        if self._watcher is not None:
            self._watcher.kill()
            self._watcher.wait()
            self._watcher = None
