"""Reviews: what people answer becomes a command, an ending, or a question to the evaluator; the clock does the rest.

Partition n of `reviews` and `verdicts` are read together. What is open lives in memory and in the changelog, written in
the transaction of the verdict's outcome; deadlines need no traffic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from streams.batch import Fetched
from streams.headers import HeaderSettings
from streams.metrics import only_counts
from streams.review_keys import Keys
from streams.reviews import Reviews
from streams.runtime.in_force import InForce
from streams.runtime.settings import Role
from streams.runtime.stage import Batch

NAME = "reviews"
BATCH_RECORDS_MAX = 250  # answered within a fraction of what is kept back for a transaction


class ReviewStage:
    """One partition number: its open reviews and their answers."""

    intact = False  # reviews change one after the other

    def __init__(
        self, number: int, in_force: InForce, clock_ms: Callable[[], int], keys: Keys, headers: HeaderSettings
    ) -> None:
        self._number = number
        self._in_force = in_force
        self._clock_ms = clock_ms
        self._reviews = Reviews(number, keys, headers)

    def restore(self, changelog: Mapping[str, bytes], now_ms: int) -> None:
        """Takes over the open reviews."""
        self._reviews.restore(changelog, now_ms)

    async def learn(self, goes_on: Callable[[], None]) -> None:
        """Reads what is in force, and the present context of its entities."""
        await self._in_force.complete(self._number, goes_on)

    async def prepare(self, fetched: Sequence[Fetched]) -> None:
        """Nothing takes time here."""

    def due_ms(self) -> int | None:
        """The next deadline or escalation; now, where policies may have changed what is open."""
        return self._reviews.due_ms(
            self._in_force.snapshot, self._clock_ms(), self._in_force.world.commanded(self._number)
        )

    def committed(self) -> None:
        """Nothing is left to do."""

    def undone(self) -> bool:
        """Open reviews are changed as they are decided."""
        return False

    def decide(self, fetched: Sequence[Fetched], now_ms: int, commit_ms: int = 0) -> Batch:
        """What became of the reviews, under one snapshot."""
        in_force, number = self._in_force, self._number
        world = in_force.world
        turn = self._reviews.decide(fetched, now_ms, in_force.snapshot, world.contexts(number), world.commanded(number))
        return Batch(turn.records, turn.changelog, turn.earliest_deadline_ms, only_counts(turn.counts))


def role(group: str, in_force: InForce, clock_ms: Callable[[], int], keys: Keys, headers: HeaderSettings) -> Role:
    """The role that answers for reviews. `keys`: whose verdicts count."""
    return Role(
        NAME,
        group,
        ("reviews", "verdicts"),
        lambda number: ReviewStage(number, in_force, clock_ms, keys, headers),
        BATCH_RECORDS_MAX,
        in_force.drop,
    )
