"""The one clock of a process."""

from __future__ import annotations

import time


def clock_ms() -> int:
    """Now, in epoch milliseconds."""
    return time.time_ns() // 1_000_000
