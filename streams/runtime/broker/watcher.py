"""Ends a broker whose owner is gone, however it went: a JVM must not outlive the test, demo or command that made it.

Runs as a small process of its own beside the broker (`python -I -S watcher.py PID OWNER FOLDER`), imports the standard
library alone, and is in a session of its own so that what kills the owner's whole process group does not reach it.
The kernel's own means (a signal at the parent's death) is tied to the thread that started the child, which may end
long before the owner does.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import time

LOOK_EVERY_S = 0.25
# for a data folder that is kept: Kafka closes its files in order, and the next start need not recover them
GRACE_S = 10.0


class Watched:
    """The broker: never confused with a later process of the same number where the system has pidfds (Linux)."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.fd = os.pidfd_open(pid) if sys.platform == "linux" else -1

    def ended_within(self, wait_s: float) -> bool:
        if self.fd >= 0:
            return bool(select.select([self.fd], [], [], wait_s)[0])
        time.sleep(wait_s)
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def signal(self, number: signal.Signals) -> None:
        if sys.platform == "linux":
            signal.pidfd_send_signal(self.fd, number)
        else:
            os.kill(self.pid, number)


def watch(pid: int, owner: int, temporary_folder: str) -> None:
    try:
        broker = Watched(pid)
        while os.getppid() == owner:
            if broker.ended_within(LOOK_EVERY_S):
                return
        if not temporary_folder:
            broker.signal(signal.SIGTERM)
            if broker.ended_within(GRACE_S):
                return
        broker.signal(signal.SIGKILL)
        broker.ended_within(GRACE_S)
    except ProcessLookupError:
        pass  # it ended by itself, which is all that is wanted
    if temporary_folder:
        shutil.rmtree(temporary_folder, ignore_errors=True)


if __name__ == "__main__":
    watch(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
