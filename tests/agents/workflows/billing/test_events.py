"""The pack's decisions keep the contract, are the same for the same seed, and show the surcharge of 2019."""

from __future__ import annotations

import json
from statistics import mean
from typing import Any

import pytest

from agents.workflows.billing.events import (
    Origin,
    account,
    adds_up,
    confidence_permille,
    decision,
    encode,
    plausible,
)
from agents.workflows.billing.trips import MONTHS, hundredths, month_of_trips, trips_through_the_months
from streams.ingest import refusal

NOW_MS = 1_795_000_000_000
ORIGIN = Origin(seed=7)
ALL_TRIPS = [trip for month in MONTHS for trip in month_of_trips(month)]


def made(now_ms: int = NOW_MS, origin: Origin = ORIGIN) -> list[dict[str, Any]]:
    return [decision(trip, origin, now_ms) for trip in ALL_TRIPS]


def test_every_trip_of_the_sample_makes_a_decision_that_the_gate_accepts() -> None:
    assert len(ALL_TRIPS) == 6000
    assert [refused for document in made() if (refused := refusal(encode(document)))] == []


def test_money_is_integer_cents_exactly_as_the_source_has_it() -> None:
    assert hundredths("9.8") == 980
    assert hundredths("-80.3") == -8030
    assert hundredths("1.15") == 115  # 114.99999999999999 as a float times 100
    assert hundredths("") == 0
    with pytest.raises(ValueError, match="more than two decimals"):
        hundredths("0.001")
    for document in made():
        assert type(document["value_minor"]) is int
        assert document["value_minor"] == document["action"]["total_minor"]
        assert all(type(amount) is int for amount in document["action"]["lines_minor"].values())


def test_the_same_seed_makes_the_same_bytes_and_another_makes_others() -> None:
    first, second = (b"".join(map(encode, made())) for _ in range(2))
    assert first == second
    assert first != b"".join(map(encode, made(origin=Origin(seed=8))))


def test_times_are_moved_to_now_in_their_order() -> None:
    for document in made():
        assert document["sent_at_ms"] == NOW_MS
        assert NOW_MS - 1000 < document["observed_at_ms"] < document["decided_at_ms"] < document["sent_at_ms"]
    trip = ALL_TRIPS[0]
    early, late = decision(trip, ORIGIN, NOW_MS), decision(trip, ORIGIN, NOW_MS + 5000)
    assert late["observed_at_ms"] - early["observed_at_ms"] == 5000
    assert early["id"] == late["id"]


def test_waiting_in_the_producers_queue_makes_the_observation_older_and_nothing_else() -> None:
    trip = ALL_TRIPS[0]
    prompt, queued = decision(trip, ORIGIN, NOW_MS), decision(trip, ORIGIN, NOW_MS, queued_ms=30_000)
    changed = {name for name in prompt if prompt[name] != queued[name]}
    assert changed == {"observed_at_ms", "decided_at_ms"}
    assert prompt["observed_at_ms"] - queued["observed_at_ms"] == 30_000


def test_ids_are_distinct_also_from_lap_to_lap_and_run_to_run() -> None:
    ids = [
        decision(trip, Origin(7, run), NOW_MS, lap)["id"]
        for run in ("a", "b")
        for lap, trip in trips_through_the_months(7000)
    ]
    assert len(set(ids)) == len(ids) == 14_000


def test_the_months_come_in_order_and_evenly() -> None:
    months = [trip.month for _, trip in trips_through_the_months(100)]
    assert months == sorted(months)
    assert [months.count(month) for month in MONTHS] == [33, 33, 34]


def test_the_surcharge_change_of_2019_is_in_the_data_and_the_rater_is_less_sure() -> None:
    charged = {month: sum(trip.congestion_minor != 0 for trip in month_of_trips(month)) for month in MONTHS}
    assert charged["2018-12"] == charged["2019-01"] == 0
    assert charged["2019-02"] > 1600
    sure = {month: mean(confidence_permille(trip, 7) for trip in month_of_trips(month)) for month in MONTHS}
    assert sure["2018-12"] - sure["2019-02"] > 80
    assert abs(sure["2018-12"] - sure["2019-01"]) < 20


def test_confidence_falls_with_every_kind_of_disagreement() -> None:
    trips = [trip for trip in month_of_trips("2018-12") if trip.rate_code == "1"]
    assert all(10 <= confidence_permille(trip, 7) <= 990 for trip in ALL_TRIPS)
    for disagrees in (
        [trip for trip in trips if not adds_up(trip)],
        [trip for trip in trips if not plausible(trip)],
        [trip for trip in ALL_TRIPS if trip.rate_code == "5"],
    ):
        assert disagrees
        assert mean(confidence_permille(trip, 7) for trip in disagrees) < 880


def test_accounts_are_few_enough_to_have_a_history_and_many_enough_to_spread() -> None:
    assert 100 < len({account(trip) for trip in ALL_TRIPS}) < 400


def test_what_the_policy_names_is_on_every_decision() -> None:
    document = json.loads(encode(made()[0]))
    assert all(type(value) is str for value in document["attributes"].values())
    assert set(document["attributes"]) == {"vendor", "rate_code", "payment_type"}
    assert type(document["reversible"]) is bool
    assert {document["currency"] for document in made()} == {"USD"}
