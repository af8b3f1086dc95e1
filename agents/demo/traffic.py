"""What the demo sends: the billing pack's decisions in order, with the troubles that real producers have.

Twice during a run the rater's own queue backs up, and half of what it sends then is up to 45 s old. Now and then a
record is no decision at all, a producer sends the same decision again, or uses an id for another one. Which record
gets which trouble depends on the seed alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from agents.workflows.billing.events import Origin, decision, draw, encode
from agents.workflows.billing.trips import MONTHS, Trip, trips_through_the_months

QUEUED_MS_MAX = 45_000  # about twice the pack's budget, so that some of what waited is still in time
BACKED_UP_PERCENT = ((20, 32), (60, 72))  # of the run
MALFORMED_PERMILLE = 20
REPEAT_PERMILLE = 15
CONFLICT_PERMILLE = 3
REPEATABLE_MAX = 500  # how far back a repeat may reach

Document = dict[str, Any]
Broken = tuple[bytes | None, bytes | None]  # key, value


@dataclass(frozen=True, slots=True)
class Record:
    """`trouble` is "none", "queued", "malformed", "repeated" or "conflicting"."""

    key: bytes | None
    value: bytes | None
    trouble: str


@dataclass(slots=True)
class Traffic:
    """`count` records, of which most are decisions made anew."""

    count: int
    origin: Origin

    def records(self, clock_ms: Callable[[], int]) -> Iterator[Record]:
        """`clock_ms` is asked once for each record, when it is about to be sent."""
        sent_before: deque[Document] = deque(maxlen=REPEATABLE_MAX)
        for number, (lap, trip) in enumerate(trips_through_the_months(self.count)):
            lot = self._draw("trouble", number, 1000)
            if lot < MALFORMED_PERMILLE:
                document = self._decide(trip, lap, clock_ms(), 0)
                key, value = broken(document, number)
                yield Record(key, value, "malformed")
            elif lot < MALFORMED_PERMILLE + REPEAT_PERMILLE and sent_before:
                again = sent_before[self._draw("which", number, len(sent_before))]
                clock_ms()
                yield Record(_key(again), encode(again), "repeated")
            elif lot < MALFORMED_PERMILLE + REPEAT_PERMILLE + CONFLICT_PERMILLE and sent_before:
                other = sent_before[-1] | {"value_minor": sent_before[-1]["value_minor"] + 1, "sent_at_ms": clock_ms()}
                yield Record(_key(other), encode(other), "conflicting")
            else:
                queued_ms = self._queued_ms(number)
                document = self._decide(trip, lap, clock_ms(), queued_ms)
                sent_before.append(document)
                yield Record(_key(document), encode(document), "queued" if queued_ms else "none")

    def scene(self, number: int) -> str:
        """What the record of this number belongs to, for a person who watches."""
        month = MONTHS[min(number * len(MONTHS) // self.count, len(MONTHS) - 1)]
        return f"{month}, rater backed up" if self._backed_up(number) else month

    def _backed_up(self, number: int) -> bool:
        percent = number * 100 // self.count
        return any(begin <= percent < end for begin, end in BACKED_UP_PERCENT)

    def _decide(self, trip: Trip, lap: int, now_ms: int, queued_ms: int) -> Document:
        return decision(trip, self.origin, now_ms, lap, queued_ms)

    def _queued_ms(self, number: int) -> int:
        if not self._backed_up(number) or self._draw("waits", number, 2):
            return 0
        return 1 + self._draw("queued", number, QUEUED_MS_MAX)

    def _draw(self, what: str, number: int, bound: int) -> int:
        return draw(self.origin.seed, f"demo:{what}:{number}", bound)


def broken(document: Document, number: int) -> Broken:
    """One of the ways in which a record is no decision, in turn."""
    return _WAYS[number % len(_WAYS)](document)


def _key(document: Document) -> bytes:
    entity: str = document["entity"]
    return entity.encode()


def _with(document: Document, **changed: Any) -> Broken:
    return _key(document), encode(document | changed)


_WAYS: tuple[Callable[[Document], Broken], ...] = (
    lambda document: (_key(document), encode(document)[:-25]),
    lambda document: _with(document, value_minor=document["value_minor"] / 100),
    lambda document: (b"acct-of-somebody-else", encode(document)),
    lambda document: (None, encode(document)),
    lambda document: (_key(document), encode(document).replace(b"invoice.post", b"invoice.\xffost")),
    lambda document: _with(document, observed_at_ms=document["observed_at_ms"] + 3_600_000),
    lambda document: _with(document, workflow="biling"),
    lambda document: (_key(document), None),
    lambda document: (_key(document), encode({name: document[name] for name in document if name != "id"})),
)
