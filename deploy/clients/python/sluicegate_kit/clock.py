"""The one clock that deadlines are read against."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Integer epoch milliseconds by this machine's clock."""
    return time.time_ns() // 1_000_000
