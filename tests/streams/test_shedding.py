"""Shedding: what is shed, in which order, what it becomes, and what is never shed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import jsonschema
import msgspec
import orjson
import pytest

from schemas.exception import ExceptionRecord
from schemas.generate import FOLDER
from schemas.identifiers import exception_id
from streams.admission import Flow, Learnt
from streams.batch import Decided, Fetched
from streams.choosing import LATE, LEAST, PASSED
from streams.headers import HeaderSettings
from streams.memory import Memory
from streams.path import Snapshot, decide
from streams.shed_text import SHED
from streams.shedding import Admission
from tests.streams.making import NOW_MS, decided, decision, encoded, fetched, outcomes, policy, successor

ALL = {"name": "all", "then": "autonomous"}
OVERLOAD = policy(
    [ALL], budget="10s", overload={"start": 0.25}
)  # from 2.5 s; held at 6.25 s, where all records come as they are observed
NEWEST = policy([ALL], budget="10s", overload={"start": 0.25, "newest_first": True})
VALIDATOR = jsonschema.Draft202012Validator(orjson.loads((FOLDER / "exception.schema.json").read_bytes()))


def overloaded(arrivals_per_s: float = 6_000, capacity_per_s: float = 2_000) -> Memory:
    admission = Admission(capacity_per_s)
    flow = Flow(capacity_per_s, True, arrivals_per_s, sampled_ms=NOW_MS)
    admission.learnt = Learnt(flow, {})
    return Memory(admission=admission)


def queue(fields: Sequence[dict[str, Any]], age_ms: int = 6_000, **about: Any) -> Fetched:
    """Decisions observed as they came, so long ago."""
    made = [{"id": f"d-{number}", "observed_at_ms": NOW_MS - age_ms, **one} for number, one in enumerate(fields)]
    return fetched([decision(**one) for one in made], broker_ms=NOW_MS - age_ms, read_ms=NOW_MS, **about)


def shed(found: Decided) -> list[int]:
    return [place for place, outcome in enumerate(outcomes(found)) if outcome == SHED]


def record(found: Decided, place: int) -> dict[str, Any]:
    whole: dict[str, Any] = orjson.loads(found.records[place].value)
    return whole


def test_two_thirds_of_three_times_the_capacity_are_shed_and_they_are_worth_least() -> None:
    values = [(number * 37) % 90 for number in range(90)]
    found = decided(queue([{"value_minor": value} for value in values], 6_250), [OVERLOAD], memory=overloaded())
    kept = sorted((values[place] for place in range(90) if place not in shed(found)), reverse=True)
    assert 28 <= len(kept) <= 34
    assert kept == sorted(values, reverse=True)[: len(kept)]


def test_below_the_start_nothing_is_shed_and_nothing_above_it_in_a_workflow_without_overload() -> None:
    many: list[dict[str, Any]] = [{"value_minor": number} for number in range(60)]
    assert shed(decided(queue(many, 2_500), [OVERLOAD], memory=overloaded())) == []
    assert shed(decided(queue(many), [policy([ALL], budget="10s")], memory=overloaded())) == []
    assert shed(decided(queue(many), [OVERLOAD], memory=Memory())) == []
    assert shed(decided(queue(many), [OVERLOAD], memory=overloaded())) != []


def test_a_loss_counts_as_much_as_a_gain_and_no_value_counts_least() -> None:
    fields: list[dict[str, Any]] = [{"value_minor": -900}, {"value_minor": 5}, {"value_minor": ...}] * 20
    gone = shed(decided(queue(fields), [OVERLOAD], memory=overloaded(arrivals_per_s=3_000)))
    assert gone
    assert all(place % 3 == 2 for place in gone)


def test_each_currency_keeps_its_share_however_large_its_unit_is() -> None:
    fields = [{"value_minor": 50 + number // 2, "currency": ("JPY", "USD")[number % 2]} for number in range(200)]
    for one in fields[::2]:
        one["value_minor"] = 1_000 * int(str(one["value_minor"]))
    gone = shed(decided(queue(fields), [OVERLOAD], memory=overloaded()))
    assert abs(sum(place % 2 for place in gone) - len(gone) / 2) <= 2


def test_of_equal_values_the_share_that_goes_is_spread_and_every_currency_keeps_some() -> None:
    fields: list[dict[str, Any]] = [{"value_minor": number} for number in range(60)]
    fields += [{"value_minor": 7, "currency": "EUR"}] * 60
    kept = set(range(120)) - set(shed(decided(queue(fields), [OVERLOAD], memory=overloaded())))
    assert 10 <= sum(place >= 60 for place in kept) <= 25


def test_what_cannot_make_its_deadline_goes_first_whatever_it_is_worth() -> None:
    fields: list[dict[str, Any]] = [{"value_minor": 1}] * 80
    fields[3] = {"value_minor": 5_000, "expires_at_ms": NOW_MS + 50}  # not published by then
    fields[7] = {"value_minor": 5_000, "expires_at_ms": NOW_MS - 1}
    fields[9] = {"value_minor": 5_000, "expires_at_ms": NOW_MS + 600}
    found = decided(queue(fields, 2_600), [OVERLOAD], memory=overloaded())
    assert {3, 7} <= set(shed(found))
    assert 9 not in shed(found)
    assert LATE in record(found, 3)["detail"]
    assert "2600 ms" in record(found, 3)["detail"]


def test_what_is_kept_back_for_the_executor_counts_against_the_deadline() -> None:
    fields = [{"expires_at_ms": NOW_MS + 900}]
    memory = overloaded(100)
    assert shed(decided(queue(fields), [OVERLOAD], memory=memory)) == []
    memory.allowances_ms[0] = 850
    assert shed(decided(queue(fields), [OVERLOAD], memory=memory)) == [0]


def test_newest_first_sheds_in_place_what_a_later_observation_waits_behind_and_never_a_tie() -> None:
    came = [("a", 0), ("b", 5), ("a", 2), ("a", 1), ("b", 5), ("a", 2)]
    fields = [{"entity": entity, "observed_at_ms": NOW_MS - 6_000 + at} for entity, at in came]
    found = decided(queue(fields), [NEWEST], memory=overloaded(100))
    assert shed(found) == [0, 3]
    assert PASSED in record(found, 0)["detail"]
    assert [record(found, place)["source"]["offset"] for place in range(6)] == list(range(6))
    assert shed(decided(queue(fields), [OVERLOAD], memory=overloaded(100))) == []


def test_a_shed_record_holds_id_source_and_hash_but_not_the_body() -> None:
    batch = queue([{"value_minor": 3, "segment": "s"}, {"value_minor": 9}] * 30)
    found = decided(batch, [OVERLOAD], memory=overloaded())
    place = shed(found)[0]
    one, value = record(found, place), batch.values[place] or b""
    VALIDATOR.validate(one)
    wanted = {
        "kind": "disposition",
        "decision_id": f"d-{place}",
        "workflow": "billing",
        "entity": "acct-17",
        "reason": SHED,
        "stage": "shedding",
        "age_ms": 6_000,
        "budget_ms": 10_000,
        "deadline_ms": NOW_MS + 4_000,
        "final_deadline_ms": NOW_MS + 4_000,
        "value_minor": 3,
        "currency": "USD",
        "decision": None,
        "raw": None,
        "raw_sha256": sha256(value).hexdigest(),
        "raw_bytes": len(value),
        "source": {"topic": batch.topic, "partition": 2, "offset": place},
        "policy": "billing@3",
    }
    assert {name: one[name] for name in wanted} == wanted
    assert LEAST in one["detail"]
    assert one["exception_id"] == exception_id(batch.topic, 2, place, SHED)
    read = msgspec.json.decode(found.records[place].value, type=ExceptionRecord)
    assert orjson.loads(msgspec.json.encode(read)) == one
    headers = dict(found.records[place].headers)
    assert headers["__sluicegate.errors.reason"] == SHED.encode()
    assert headers["__sluicegate.errors.stage"] == b"shedding"
    assert headers["ce_id"] == one["exception_id"].encode()


def test_there_is_one_answer_for_each_record_in_its_order_and_all_are_counted() -> None:
    first, second = queue([{"value_minor": n} for n in range(50)]), queue([{}] * 10, first_offset=50)
    later = fetched([successor(observed_at_ms=NOW_MS - 6_000)], source="successors", broker_ms=NOW_MS - 6_000)
    found = decided([first, later, second], [OVERLOAD], memory=overloaded())
    places = [(one["source"]["topic"], one["source"]["offset"]) for one in (record(found, n) for n in range(61))]
    decisions = [("t.decisions", offset) for offset in range(60)]
    assert places == [*decisions[:50], ("t.successors", 0), *decisions[50:]]
    assert found.counts["billing", "exceptions", SHED] == len(shed(found))
    assert sum(found.counts.values()) == 61


@pytest.mark.parametrize(
    "value",
    [
        b"{not json",
        b"[" * 100_000,
        encoded(decision(observed_at_ms=NOW_MS + 60_000)),
        encoded(decision(observed_at_ms=-1)),
        encoded(decision(observed_at_ms=10**30)),
        encoded(decision(expires_at_ms=-1)),
        encoded(decision(id="d~2")),
        encoded(decision(id="")),
        encoded(decision(workflow="nobody's")),
        encoded(decision(entity="another")),
        encoded(decision(value_minor=2**60)),
        encoded(decision(id="\ud800")),
        b"\xff",
        b"",
        None,
        b" " * 300_000,
    ],
)
def test_what_a_glance_cannot_vouch_for_takes_the_full_path(value: bytes | None) -> None:
    batch = fetched([value] * 20, keys=[b"acct-17"] * 20, broker_ms=NOW_MS - 6_000)
    assert {outcome.partition(".")[0] for outcome in outcomes(decided(batch, [OVERLOAD], memory=overloaded()))} <= {
        "invalid",
        "duplicate",
    }


def test_a_successor_is_never_shed() -> None:
    made = [successor(f"r-{n}", observed_at_ms=NOW_MS - 6_000) for n in range(30)]
    batch = fetched(made, source="successors", broker_ms=NOW_MS - 6_000)
    assert outcomes(decided(batch, [OVERLOAD], memory=overloaded())) == ["commands"] * 30


def test_without_the_brokers_time_the_age_of_the_queue_is_unknown_and_nothing_is_shed() -> None:
    assert shed(decided(queue([{}] * 30, broker_time=False), [OVERLOAD], memory=overloaded())) == []


def test_an_id_that_was_shed_may_come_again_and_is_decided() -> None:
    memory = overloaded()
    many = queue([{"value_minor": number} for number in range(60)])
    place = shed(decided(many, [OVERLOAD], memory=memory))[0]
    again = queue([{"id": f"d-{place}", "value_minor": place}], 1_000, first_offset=60)
    assert outcomes(decided(again, [OVERLOAD], memory=memory)) == ["commands"]


def test_a_shorter_budget_is_pressed_earlier_and_pays_for_it_alone() -> None:
    other = policy([ALL], workflow="slow", index=1, budget="10m", overload={})
    fields = [{"workflow": ("billing", "slow")[number % 2], "value_minor": 9} for number in range(60)]
    gone = shed(decided(queue(fields), [OVERLOAD, other], memory=overloaded()))
    assert gone
    assert all(place % 2 == 0 for place in gone)


def test_a_batch_that_came_to_nothing_is_decided_the_same_again() -> None:
    memory, batch = overloaded(), queue([{"value_minor": number} for number in range(50)])
    first, second = (decide([batch], NOW_MS, Snapshot([OVERLOAD]), memory) for _ in range(2))
    assert first == second
    assert memory.admission is not None
    before = memory.admission.learnt
    memory.commit(first.remembered, NOW_MS)
    assert memory.admission.learnt is not before


def test_fractions_of_a_record_are_carried_over() -> None:
    memory, kept = overloaded(), 0
    for number in range(90):
        batch = queue([{"id": f"d-{number}", "value_minor": number % 7}], 6_250)
        kept += not shed(decided(batch, [OVERLOAD], memory=memory))
    assert 25 <= kept <= 35


def test_events_are_shed_too_and_an_expiry_in_a_header_counts() -> None:
    expiry = b"2025-11-24T16:00:00.040Z"  # NOW_MS + 40
    ce = [("ce_specversion", b"1.0"), ("ce_id", b"e"), ("ce_source", b"s"), ("ce_type", b"t")]
    headers: list[Sequence[tuple[str, bytes | None]]] = [
        [*ce, ("ce_expirytime", expiry)],
        [*ce, ("ce_expirytime", b"soon")],
        [("traceparent", b"00-1-2-01")],
        [*ce, ("ce_specversion", b"9")],
    ]
    found = decided(replace(queue([{}] * 4), headers=headers), [OVERLOAD], memory=overloaded(100))
    assert outcomes(found) == [SHED, "invalid.schema", "commands", "invalid.schema"]
    assert record(found, 0)["deadline_ms"] == NOW_MS + 40


def test_values_and_rooms_that_are_remembered_are_bounded() -> None:
    memory = overloaded()
    for batch in range(3):
        fields = [{"id": f"{batch}-{n}", "currency": f"{n:03}", "value_minor": n} for n in range(600)]
        decided(queue(fields), [OVERLOAD], memory=memory)
    assert memory.admission is not None
    recent = memory.admission.learnt.recent
    assert len(recent) <= 256
    assert all(len(one) <= 512 for one in recent.values())


def test_segments_have_budgets_of_their_own() -> None:
    by_segment = policy([ALL], budget="10m", overload={}, segments={"hot": {"budget": "10s"}})
    fields: list[dict[str, Any]] = [{"segment": "hot"}, {"segment": "cold"}, {}] * 20
    found = decided(queue(fields), [by_segment], memory=overloaded())
    gone = shed(found)
    assert gone
    assert Counter(place % 3 for place in gone).keys() == {0}
    assert record(found, gone[0])["budget_ms"] == 10_000


def test_where_two_budgets_are_pressed_each_gives_by_its_own_demand() -> None:
    longer = policy([ALL], workflow="slow", index=1, budget="20s", overload={"start": 0.25})
    fields: list[dict[str, Any]] = [
        {"workflow": ("billing", "slow")[number % 2], "value_minor": number // 2} for number in range(200)
    ]
    gone = Counter(place % 2 for place in shed(decided(queue(fields, 6_000), [OVERLOAD, longer], memory=overloaded())))
    # of all 200 the longer budget wants few to go, and takes half of them itself; the shorter wants two thirds
    assert gone[0] == 100
    assert 0 < gone[1] < 30


def test_what_has_no_value_in_a_currency_of_its_own_is_shed_like_the_rest_without_one() -> None:
    fields: list[dict[str, Any]] = [{"value_minor": ..., "currency": "EUR"}, {"value_minor": 5}] * 30
    gone = shed(decided(queue(fields), [OVERLOAD], memory=overloaded(arrivals_per_s=3_000)))
    assert gone
    assert all(place % 2 == 0 for place in gone)


def test_without_cloudevents_headers_only_those_of_dead_letters_are_there() -> None:
    memory, batch = overloaded(), queue([{"value_minor": number} for number in range(50)])
    found = decide([batch], NOW_MS, Snapshot([OVERLOAD]), memory, HeaderSettings("g", cloudevents=False))
    place = shed(found)[0]
    headers = dict(found.records[place].headers)
    assert not [name for name in headers if name.startswith("ce_")]
    assert headers["__dlq.errors.offset"] == b"%d" % place
    assert headers["__dlq.errors.group"] == b"g"
