"""An executor of the kit that a fault test kills: its action appends a line to a file and takes a while."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from sluicegate_kit import Command, Limits, run
from sluicegate_kit.clock import now_ms

# The witness reads its own clock after the kit has read its: a machine that does something else in between must not
# make an action that was started in time look late.
MARGIN_MS = 100
# short, so that a test sees leases and sessions run out many times
LIMITS: dict[str, Any] = {"concurrency": 8, "lease_ms": 1500, "session_ms": 1500, "margin_ms": MARGIN_MS}


def main(prefix: str, store: str, acted: str) -> None:
    lines = os.open(acted, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def act(command: Command) -> str:
        os.write(lines, f"{command.command_id} {now_ms()} {command.deadline_ms}\n".encode())
        time.sleep(0.005 + int(command.command_id[-2:], 16) % 16 / 1000)
        if command.action["fails"]:
            raise RuntimeError("as it was told to")
        return "done"

    run(act, prefix=prefix, group=prefix + "acting", store=store, limits=Limits(**LIMITS))


if __name__ == "__main__":
    main(*sys.argv[1:])
