"""What ends an executor or a producer, each with the exit code of Sluicegate's own commands; and `Refuse`."""

from __future__ import annotations


class KitError(Exception):
    """Raised for a bad option, decision, topic or store. One sentence: what is wrong, where, what to do. No retry."""

    exit_code = 2


class BrokerUnreachable(KitError):
    """Raised when no broker answers, or when it stops taking records for too long. Worth a retry."""

    exit_code = 3


class StoreTrouble(KitError):
    """Raised when the store cannot say or keep what was acted on: going on might act twice. A restart may mend it."""

    exit_code = 4


class Refuse(Exception):
    """Raise it in your function to refuse a command by a rule of your own, before anything was done.

    The receipt says `refused` with the reason; the command is not offered again.
    """
