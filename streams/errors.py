"""The errors that end a process. Each is one sentence for a person and an exit code for a script.

Everything else that goes wrong with a record is data: an exception record with a reason, never one of these.
"""

from __future__ import annotations


class SluicegateError(Exception):
    """A process ends with `exit_code` and prints the message; the message says what, where and what to do."""

    exit_code = 1


class CheckFailed(SluicegateError):
    """Raised when a check ran to its end and what it checked does not hold: differing topics, a red audit."""

    exit_code = 1


class ConfigurationError(SluicegateError):
    """Raised when the start is refused: a bad option, policy, topic or data folder. Not worth a retry."""

    exit_code = 2


class BrokerUnreachable(SluicegateError):
    """Raised when no broker answers at the bootstrap address in the time allowed. Worth a retry."""

    exit_code = 3


class PromiseBroken(SluicegateError):
    """Raised when going on would bend a promise, or when the worker is stuck. A restart may mend it."""

    exit_code = 4
