"""Reviews: what people answer becomes a command, an ending, or a question to the evaluator; the clock does the rest.

Partition n of `reviews` and `verdicts` are read together. What is open lives in memory and in the changelog, written in
the transaction of the verdict's outcome; deadlines need no traffic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from streams.batch import Fetched
from streams.context import Contexts, watched
from streams.headers import HeaderSettings
from streams.metrics import only_counts
from streams.path import Snapshot
from streams.policy import Policy
from streams.review_keys import Keys
from streams.reviews import Reviews
from streams.runtime.settings import Role
from streams.runtime.stage import Batch
from streams.runtime.world import Needs

NAME = "reviews"
BATCH_RECORDS_MAX = 250  # answered within a fraction of what is kept back for a transaction


class World(Protocol):
    """`streams.runtime.world.World`, as far as reviews look at it."""

    def contexts(self, number: int) -> Contexts:
        """The present context of the entities of a partition number."""


class InForce(Protocol):
    """`streams.runtime.in_force.InForce`, as far as reviews look at it."""

    @property
    def snapshot(self) -> Snapshot:
        """The policies, halts and pre-approvals of the moment."""

    @property
    def world(self) -> World:
        """The world as far as these policies look at it."""

    async def complete(self, number: int, goes_on: Callable[[], None]) -> None:
        """Returns when all that is known of the partition number now is known here. Raises Failed."""

    def drop(self, number: int) -> None:
        """A partition number was taken away."""


def needs(policies: Iterable[Policy]) -> Needs:
    """What of the world an approval is checked against again: versions of contexts."""
    return Needs(watched(policies))


class ReviewStage:
    """One partition number: its open reviews and their answers."""

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
        return self._reviews.due_ms(self._in_force.snapshot, self._clock_ms())

    def decide(self, fetched: Sequence[Fetched], now_ms: int) -> Batch:
        """What became of the reviews, under one snapshot."""
        contexts = self._in_force.world.contexts(self._number)
        turn = self._reviews.decide(fetched, now_ms, self._in_force.snapshot, contexts)
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
