"""A worker with a mistake in it, for tests: it raises on every record that holds MISTAKE, and makes of one that holds
LARGE an answer that no topic takes. `python -m tests.kafka.mistaken ROLE ...`, as `agents.worker`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from agents import exposure, gate, reevaluation, worker
from streams.batch import Decided, Fetched
from streams.reviews import Reviews, Turn

MISTAKE, LARGE = b"a mistake of ours", b"an answer that is too large"
ROLES: Any = {"gate": gate, "exposure": exposure, "reevaluation": reevaluation, "reviews": Reviews}
_decide, _pending = ROLES["gate"].decide, ROLES["reevaluation"].pending
_demands, _turn = exposure.demands, Reviews.decide


def _look(fetched: Sequence[Fetched]) -> None:
    if _holding(fetched, MISTAKE):
        raise ZeroDivisionError("with the whole record: " + repr(fetched))


def _holding(fetched: Sequence[Fetched], what: bytes) -> list[int]:
    """Where such records stand that are still to be looked at."""
    rows = [(batch, index) for batch in fetched for index in range(len(batch))]
    return [
        at
        for at, (batch, index) in enumerate(rows)
        if batch.why_unread(index) is None and what in (batch.values[index] or b"")
    ]


def decide(fetched: Sequence[Fetched], *more: Any) -> Decided:
    _look(fetched)
    decided: Decided = _decide(fetched, *more)
    for at in _holding(fetched, LARGE):
        decided.records[at] = msgspec.structs.replace(decided.records[at], value=b"x" * (3 << 20))
    return decided


def demands(fetched: Sequence[Fetched]) -> Any:
    _look(fetched)
    return _demands(fetched)


def pending(fetched: Fetched, index: int, *more: Any) -> Any:
    if index in _holding([fetched], MISTAKE):
        raise ZeroDivisionError
    return _pending(fetched, index, *more)


def turn(self: Reviews, fetched: Sequence[Fetched], *more: Any) -> Turn:
    done = _turn(self, fetched, *more)  # what it changes is changed already
    _look(fetched)
    return done


if __name__ == "__main__":
    ROLES["gate"].decide, ROLES["reevaluation"].pending = decide, pending
    ROLES["exposure"].demands, ROLES["reviews"].decide = demands, turn
    sys.exit(worker.main(sys.argv[1:]))
