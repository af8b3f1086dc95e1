"""Trips as decisions of the contract: a rater proposes to post an invoice line, as sure of it as its rate card allows.

Everything is a function of the trip, a seed and `now_ms`: the same arguments make the same bytes. Times are moved so
that the decision is sent now; how long the parts before that took is drawn from the seed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson

from agents.workflows.billing.trips import Trip

WORKFLOW = "billing"
CURRENCY = "USD"
MODEL = "rater@2018-11"
PROPOSER = "rating-service"
SEGMENTS = {"1": "metered", "2": "jfk", "3": "newark", "4": "suburbs", "5": "negotiated", "6": "group"}

# The rater's card of 2018: what it expects a metered trip to cost (fitted to the trips before 2019-02), the flat
# airport fare, and the extras it knows (rush hour, night, and the airport's).
START_MINOR, MILE_MINOR, MINUTE_MINOR = 250, 175, 35
FLAT_FARES_MINOR = {"2": 5200}
KNOWN_EXTRAS_MINOR = frozenset({0, 50, 100, 450})


@dataclass(frozen=True, slots=True)
class Origin:
    """What a decision is derived from besides its trip. `run` keeps the ids of two runs apart."""

    seed: int
    run: str = "r1"


def draw(seed: int, what: str, bound: int) -> int:
    """A number from 0 to `bound` - 1 that depends on the seed and on what it is for, and on nothing else."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{what}".encode()).digest()[:8], "big") % bound


def trip_id(trip: Trip) -> str:
    return f"{trip.month}-{trip.row:04d}"


def confidence_permille(trip: Trip, seed: int) -> int:
    """How sure the rater is, from 10 to 990: 970, less what does not agree, give or take 20 drawn from the seed.

    The fare against distance and duration: the relative difference beyond 5 %, at most 500; no card for the rate code:
    250. A charge the card does not know (the congestion surcharge, an unknown extra): 150. Charges that do not add up
    to the total: 100. A distance, duration or speed that no taxi has: 300.
    """
    permille = 970 - 20 + draw(seed, f"confidence:{trip_id(trip)}", 41)
    expected = FLAT_FARES_MINOR.get(trip.rate_code)
    if trip.rate_code == "1":
        expected = START_MINOR + MILE_MINOR * trip.distance_centimiles // 100 + MINUTE_MINOR * trip.duration_s // 60
    if expected is None:
        permille -= 250
    else:
        gap_permille = abs(trip.fare_minor - expected) * 1000 // max(expected, 500)
        permille -= min(500, max(0, gap_permille - 50))
    if trip.congestion_minor or trip.extra_minor not in KNOWN_EXTRAS_MINOR:
        permille -= 150
    if not adds_up(trip):
        permille -= 100
    if not plausible(trip):
        permille -= 300
    return min(990, max(10, permille))


def adds_up(trip: Trip) -> bool:
    """Whether the charges make the total; some vendors count the congestion surcharge within `extra` as well."""
    charges = trip.fare_minor + trip.extra_minor + trip.tax_minor
    charges += trip.tip_minor + trip.tolls_minor + trip.improvement_minor
    return trip.total_minor in (charges, charges + trip.congestion_minor)


def plausible(trip: Trip) -> bool:
    """Between one minute and three hours, some distance, and at most 70 miles an hour."""
    if not 60 <= trip.duration_s <= 3 * 3600 or trip.distance_centimiles <= 0:
        return False
    return trip.distance_centimiles * 3600 <= 70 * 100 * trip.duration_s


def account(trip: Trip) -> str:
    """The entity: one account per vendor and pickup zone."""
    return f"acct-{trip.vendor}-{trip.pickup_zone}"


def invoice_line(trip: Trip) -> dict[str, Any]:
    return {
        "type": "invoice.post",
        "trip": trip_id(trip),
        "stopped_at": trip.stopped_at.isoformat(),
        "rate_code": trip.rate_code,
        "lines_minor": {
            "fare": trip.fare_minor,
            "extra": trip.extra_minor,
            "tax": trip.tax_minor,
            "tip": trip.tip_minor,
            "tolls": trip.tolls_minor,
            "improvement": trip.improvement_minor,
            "congestion": trip.congestion_minor,
        },
        "total_minor": trip.total_minor,
        "currency": CURRENCY,
    }


def decision(trip: Trip, origin: Origin, now_ms: int, lap: int = 0, queued_ms: int = 0) -> dict[str, Any]:
    """The decision on a trip, sent at `now_ms` after waiting `queued_ms` in the producer's own queue.

    Reversible is what came in while the meter was on line: a trip stored and forwarded later is in a settled period.
    """
    name = f"{origin.run}-{lap}-{trip_id(trip)}"
    decided_at_ms = now_ms - queued_ms - (3 + draw(origin.seed, f"producer:{name}", 15))
    observed_at_ms = decided_at_ms - (60 + draw(origin.seed, f"inference:{name}", 180))
    return {
        "id": f"d-{name}",
        "workflow": WORKFLOW,
        "entity": account(trip),
        "action": invoice_line(trip),
        "observed_at_ms": observed_at_ms,
        "decided_at_ms": decided_at_ms,
        "sent_at_ms": now_ms,
        "confidence": confidence_permille(trip, origin.seed) / 1000,
        "value_minor": trip.total_minor,
        "currency": CURRENCY,
        "model": MODEL,
        "proposer": PROPOSER,
        "reversible": not trip.stored_offline,
        "segment": SEGMENTS.get(trip.rate_code, "unknown"),
        "attributes": {"vendor": trip.vendor, "rate_code": trip.rate_code, "payment_type": trip.payment_type},
    }


def encode(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document)
