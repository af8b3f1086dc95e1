"""The executor that `tests.bench.halts` looks at: it writes down when it started each action, and takes its time."""

from __future__ import annotations

import os
import sys
import time

from sluicegate_kit import Command, Limits, run


def main(bootstrap: str, prefix: str, folder: str, action_ms: str, concurrency: str) -> None:
    lines = os.open(f"{folder}/started", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def act(_: Command) -> None:
        os.write(lines, b"%d\n" % time.time_ns())
        time.sleep(int(action_ms) / 1000)

    limits = Limits(concurrency=int(concurrency), backlog=4 * int(concurrency))
    store = f"sqlite:///{folder}/acted.db"
    run(act, bootstrap=bootstrap, prefix=prefix, group=prefix + "acting", store=store, limits=limits)


if __name__ == "__main__":
    main(*sys.argv[1:])
