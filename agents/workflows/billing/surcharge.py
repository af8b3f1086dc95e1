"""The congestion surcharge of February 2019 as a change of context, from the data's own totals.

On 2 February 2019 every account's rate card changed: 2.50 USD more for most trips. A rater that reloads its cards once
a week bills by the old one until the 8th. The same decisions can go through a gate that does not look at context, one
that drops what rests on an old card, and one that asks the rater again; what was misbilled is the difference between
what was posted and the total that the data has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from agents.workflows.billing.events import CURRENCY, PROPOSER, WORKFLOW, account, trip_id
from agents.workflows.billing.rater import priced
from agents.workflows.billing.trips import Trip, month_of_trips

IN_FORCE = "2019-02-02"  # the surcharge; the records' times are New York's, and so are these
RELOADED = "2019-02-08"  # the rater's cards: it does so every Friday
OLD = {"rate_card": "2019-01", "congestion_minor": 0}
NEW = {"rate_card": "2019-02-02", "congestion_minor": 250}
MONTHS = ("2019-01", "2019-02")


@dataclass(frozen=True, slots=True)
class Billed:
    """What became of the trips, in cents and trips."""

    trips: int
    posted: int
    misbilled_trips: int
    misbilled_minor: int
    unbilled_trips: int
    unbilled_minor: int


def trips() -> list[Trip]:
    """The sample's trips in the order in which they began; those whose clock is outside of the two months left out."""
    found = [trip for month in MONTHS for trip in month_of_trips(month)]
    inside = [trip for trip in found if "2019-01" <= trip.started_at.isoformat() < "2019-03"]
    return sorted(inside, key=lambda trip: (trip.started_at, trip.month, trip.row))


def known_card(trip: Trip) -> tuple[int, dict[str, Any]]:
    """The card that the rater has when it bills this trip, and its version."""
    return (1, OLD) if trip.started_at.isoformat() < RELOADED else (2, NEW)


def bill(trip: Trip, now_ms: int, run: str) -> dict[str, Any]:
    """The rater's decision on a trip, sent at `now_ms`, by the card it has."""
    version, card = known_card(trip)
    line = priced(
        {
            "type": "invoice.post",
            "trip": trip_id(trip),
            "pickup_zone": trip.pickup_zone,
            "dropoff_zone": trip.dropoff_zone,
            "lines_minor": {"metered": trip.total_minor - trip.congestion_minor, "congestion": 0},
            "total_minor": trip.total_minor - trip.congestion_minor,
            "currency": CURRENCY,
        },
        card,
    )
    return {
        "id": f"d-{run}-{trip_id(trip)}",
        "workflow": WORKFLOW,
        "entity": account(trip),
        "action": line,
        "observed_at_ms": now_ms - 120,
        "decided_at_ms": now_ms - 10,
        "sent_at_ms": now_ms,
        "confidence": 0.97,
        "value_minor": line["total_minor"],
        "currency": CURRENCY,
        "model": f"rater@{card['rate_card']}",
        "proposer": PROPOSER,
        "context_version": version,
        "reversible": True,
        "attributes": {"vendor": trip.vendor, "rate_code": trip.rate_code, "payment_type": trip.payment_type},
    }


def contexts(many: Sequence[Trip], version: int, now_ms: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each account and its rate card of this version, as records of `context`."""
    state = {1: OLD, 2: NEW}[version]
    for entity in sorted({account(trip) for trip in many}):
        yield entity, {"entity": entity, "version": version, "at_ms": now_ms, "state": state}


def billed(many: Sequence[Trip], posted: dict[str, int]) -> Billed:
    """What was posted (trip id -> cents) held against the data's totals."""
    wrong = {trip_id(trip): abs(posted[trip_id(trip)] - trip.total_minor) for trip in many if trip_id(trip) in posted}
    missing = [trip for trip in many if trip_id(trip) not in posted]
    return Billed(
        trips=len(many),
        posted=len(wrong),
        misbilled_trips=sum(minor > 0 for minor in wrong.values()),
        misbilled_minor=sum(wrong.values()),
        unbilled_trips=len(missing),
        unbilled_minor=sum(trip.total_minor for trip in missing),
    )
