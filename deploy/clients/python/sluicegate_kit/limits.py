"""Every bound of an executor."""

from __future__ import annotations

from dataclasses import dataclass

from sluicegate_kit.settings import whole_number

MS_MAX = 2**31 - 1  # what Kafka and timers take: 24 days
KEEP_MS_MAX = 100 * 366 * 24 * 3_600_000  # a century
COUNT_MAX = 100_000  # each takes memory, and a thread where the function is a plain one


@dataclass(frozen=True)
class Limits:
    """Every bound of an executor; times in milliseconds.

    `concurrency`: how many commands are acted on at once, each of another entity; after a crash at most so many are
    `unknown`. `time_limit_ms`: when a function that has not returned is given up as `unknown`. `stop_within_ms`: what a
    stop grants to running actions. `lease_ms`: how long an instance may be silent before others take it for crashed.
    `margin_ms`: how long before its deadline a command counts as too late, for actions that take effect later.
    `store_patience_ms`: how long the store may fail before the executor ends. `keep_ms`: how long after its deadline a
    command is remembered. `session_ms`: after how long without a sign of life Kafka gives the partitions to others.
    `halts_patience_ms`: how long `policies` may not be readable before commands are refused, for it cannot be told
    whether a halt applies. `receipt_ms`: how long a receipt may be without an acknowledgement before the executor ends.
    """

    concurrency: int = 32
    backlog: int = 1000
    time_limit_ms: int = 60_000
    stop_within_ms: int = 20_000
    lease_ms: int = 15_000
    margin_ms: int = 0
    store_patience_ms: int = 30_000
    keep_ms: int = 30 * 24 * 3_600_000
    session_ms: int = 10_000
    halts_patience_ms: int = 30_000
    receipt_ms: int = 600_000

    def check(self) -> None:
        """Raises KitError for a bound that cannot be."""
        least = {
            "concurrency": 1,
            "backlog": 1,
            "time_limit_ms": 1,
            "lease_ms": 100,
            "session_ms": 100,
            "halts_patience_ms": 1000,
            "receipt_ms": 1000,
        }
        most = {"concurrency": COUNT_MAX, "backlog": COUNT_MAX, "keep_ms": KEEP_MS_MAX}
        for name, value in vars(self).items():
            whole_number(f"the limit {name}", value, least.get(name, 0), most.get(name, MS_MAX))
