"""What is measured, as a process of its own: started with its settings in the environment, metered, ended by its id."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from streams.errors import CheckFailed

HERE = Path(__file__).parent
HOME = HERE.parents[1]
COMPRESSED = ("snappy", "lz4", "zstd")
COMMANDS = {
    "ours": [str(HERE / "peer.sh")],
    "bare": [sys.executable, "-m", "tests.bench.bare_loop"],
    "fresh": [str(HERE / "peer.sh"), "policies-fresh"],  # ours, with context and superseding
    **{codec: ["env", f"SLUICEGATE_COMPRESSION={codec}", str(HERE / "peer.sh")] for codec in COMPRESSED},
}
STOP_S = 20.0
LOG_LINES = 15
REFRESH_EVERY = 20  # samples, until it is asked again which processes belong to it


@dataclass(frozen=True, slots=True)
class Place:
    """Where one run works: topics, group and scratch files of its own."""

    bootstrap: str
    prefix: str
    partitions: int
    folder: Path

    @property
    def group(self) -> str:
        return self.prefix + "gate"

    def topic(self, kind: str) -> str:
        return self.prefix + kind

    def environment(self) -> dict[str, str]:
        return {
            "BOOTSTRAP": self.bootstrap,
            "TOPIC_PREFIX": self.prefix,
            "GROUP_ID": self.group,
            "PARTITIONS": str(self.partitions),
            "STATE_DIR": str(self.folder),
        }


class Meter:
    """CPU seconds and resident memory of a process and its descendants."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._tree = [self._root]
        self._samples = 0
        self.peak_rss_bytes = 0

    def cpu_s(self) -> float:
        """User and system time so far, that of ended children included; 0 for what is gone."""
        if self._samples % REFRESH_EVERY == 0:
            with suppress(psutil.NoSuchProcess):
                self._tree = [self._root, *self._root.children(recursive=True)]
        self._samples += 1
        spent_s, rss_bytes = 0.0, 0
        for one in self._tree:
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied), one.oneshot():
                spent_s += sum(one.cpu_times()[:4])
                rss_bytes += one.memory_info().rss
        self.peak_rss_bytes = max(self.peak_rss_bytes, rss_bytes)
        return spent_s


def machine_cpu_s() -> float:
    """What all processors of this machine have spent on work so far."""
    times = psutil.cpu_times()
    idle_s = times.idle + getattr(times, "iowait", 0.0)
    # a guest's time is in `user` already
    guests_s = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return float(sum(times) - idle_s - guests_s)


class Peer:
    """The worker or the bare loop, for as long as the `with` block lasts; its log is in the run's folder."""

    def __init__(self, name: str, place: Place) -> None:
        self.name = name
        self._place = place
        self._log = place.folder / f"{name}.log"

    def __enter__(self) -> Self:
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                COMMANDS[self.name],
                cwd=HOME,
                env={**os.environ, **self._place.environment()},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.meter = Meter(self._process.pid)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_S)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def require_alive(self) -> None:
        """Raises CheckFailed when it ended by itself."""
        if (code := self._process.poll()) is not None:
            raise self.failed(f"ended by itself with code {code}")

    def failed(self, how: str) -> CheckFailed:
        """The error to raise: what happened, and the last lines that it wrote."""
        lines = self._log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        shown = "\n".join(f"  {line}" for line in lines) or "  (it said nothing)"
        return CheckFailed(f"{self.name} {how}; the last lines it wrote:\n{shown}")
