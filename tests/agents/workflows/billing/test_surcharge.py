"""The surcharge of February 2019: what the data says, and what an evaluator makes of an old rate card."""

from __future__ import annotations

from typing import Any

from agents.workflows.billing.events import trip_id
from agents.workflows.billing.rater import due_minor, evaluate, priced
from agents.workflows.billing.surcharge import IN_FORCE, NEW, OLD, RELOADED, bill, billed, contexts, trips

NOW_MS = 1_764_000_000_000


def test_the_data_knows_the_surcharge_from_the_day_it_was_in_force() -> None:
    """Two in a hundred before it, nine in ten after the first days, and mostly where the card says so."""
    before = [trip for trip in trips() if trip.started_at.isoformat() < IN_FORCE]
    after = [trip for trip in trips() if trip.started_at.isoformat() >= RELOADED]
    assert sum(trip.congestion_minor > 0 for trip in before) * 100 < len(before)
    assert sum(trip.congestion_minor == 250 for trip in after) * 100 > 85 * len(after)
    agree = sum(due_minor(trip.pickup_zone, trip.dropoff_zone, NEW) == trip.congestion_minor for trip in after)
    assert agree * 100 > 95 * len(after)


def test_a_rater_with_an_old_card_bills_too_little_and_the_evaluator_mends_it() -> None:
    late = [
        trip for trip in trips() if IN_FORCE <= trip.started_at.isoformat() < RELOADED and trip.congestion_minor > 0
    ]
    assert len(late) > 200
    for trip in late:
        made = bill(trip, NOW_MS, "t")
        assert (made["context_version"], made["value_minor"]) == (1, trip.total_minor - 250)
    trip = next(trip for trip in late if due_minor(trip.pickup_zone, trip.dropoff_zone, NEW))
    context = {"version": 2, "at_ms": NOW_MS, "state": NEW}
    answer = evaluate({"decision": bill(trip, NOW_MS, "t"), "context": context})
    assert answer is not None
    assert answer["value_minor"] == answer["action"]["total_minor"] == trip.total_minor
    assert answer["context_version"] == 2
    assert evaluate({"decision": bill(trip, NOW_MS, "t"), "context": None}) is None


def test_a_line_priced_twice_is_priced_once() -> None:
    line: dict[str, Any] = bill(trips()[0], NOW_MS, "t")["action"]
    assert priced(priced(line, NEW), OLD)["total_minor"] == line["total_minor"]


def test_every_account_has_its_card_once() -> None:
    found = list(contexts(trips(), 2, NOW_MS))
    assert len({entity for entity, _ in found}) == len(found)
    assert all(context["state"] == NEW and context["version"] == 2 for _, context in found)


def test_what_was_posted_is_held_against_the_data() -> None:
    three = trips()[:3]
    posted = {trip_id(three[0]): three[0].total_minor, trip_id(three[1]): three[1].total_minor - 250}
    found = billed(three, posted)
    assert (found.posted, found.misbilled_trips, found.misbilled_minor) == (2, 1, 250)
    assert (found.unbilled_trips, found.unbilled_minor) == (1, three[2].total_minor)
