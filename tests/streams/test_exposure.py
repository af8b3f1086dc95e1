"""Exposure on the path: what counts, what is over, what is remembered and what is said about it."""

from __future__ import annotations

from typing import Any

import orjson

from schemas.lease import ExposureSeen
from streams.exposure import Exposures, Held
from streams.exposure_terms import GRACE_MS
from streams.memory import Memory
from streams.partitioning import Home, partition_of
from streams.path import Snapshot, decide
from streams.policy import Policy
from tests.streams.exposing import limited, open_to_all, terms
from tests.streams.making import NOW_MS, decided, decision, fetched, outcomes

THREE = {"name": "three", "window": "1h", "count_at_most": 3}
TEN_EUR = {"name": "sum", "window": "1h", "value_minor_at_most": 1_000, "currency": "EUR"}
HOUR_MS = 3_600_000


def go(
    memory: Memory, policy: Policy, *decisions: dict[str, Any], at_ms: int = NOW_MS, offset: int = 0
) -> tuple[list[str], list[dict[str, Any]]]:
    """The outcome of each, and its record."""
    seen = [{**one, "observed_at_ms": at_ms - 1_000} for one in decisions]
    batch = fetched(seen, first_offset=offset, broker_ms=at_ms - 20, read_ms=at_ms - 5)
    found = decided(batch, [policy], memory=memory, now_ms=at_ms)
    return outcomes(found), [orjson.loads(sent.value) for sent in found.records]


def test_what_is_over_the_limit_goes_to_a_person_in_the_order_of_the_input() -> None:
    told, records = go(Memory(), limited(THREE), *[decision(n) for n in range(5)])
    assert told == ["commands"] * 3 + ["reviews: exposure"] * 2
    assert [one["exposure_seen"]["three"] for one in records] == [{"used": used, "held": 3} for used in (0, 1, 2, 3, 3)]


def test_what_is_over_is_blocked_where_the_policy_says_so_with_the_limit_the_account_and_the_amounts() -> None:
    policy = limited({**THREE, "count_at_most": 1, "then": "block", "per": ["segment"]})
    told, records = go(Memory(), policy, *[decision(n, segment="fleet-2") for n in range(2)])
    assert told == ["commands", "boundary.limit"]
    assert records[1]["stage"] == "boundary"
    assert records[1]["detail"] == (
        "limit 'three' for segment 'fleet-2': 1 on top of 1 is more than the 1 commands, of 1 in this window, that its "
        "partition holds"
    )


def test_a_window_ends_and_the_next_one_begins_at_nothing() -> None:
    memory, policy = Memory(), limited(THREE)
    end_ms = (NOW_MS // HOUR_MS + 1) * HOUR_MS
    assert go(memory, policy, *[decision(n) for n in range(4)], at_ms=end_ms - 1)[0][-1] == "reviews: exposure"
    told, records = go(memory, policy, decision(9), at_ms=end_ms)
    assert told == ["commands"]
    assert records[0]["exposure_seen"]["three"]["used"] == 0


def test_sums_count_by_magnitude_and_need_an_amount_in_their_currency() -> None:
    in_eur = [decision(n, value_minor=amount, currency="EUR") for n, amount in enumerate((600, -300, 101, 100))]
    policy = open_to_all(TEN_EUR)
    told, _ = go(Memory(), policy, *in_eur, decision(5), decision(6, value_minor=..., currency=...))
    assert told == [
        *("commands", "commands", "reviews: exposure", "commands"),
        *("reviews: currency_mismatch", "reviews: field_missing"),
    ]


def test_a_decision_takes_from_all_of_its_accounts_or_from_none() -> None:
    memory, policy = Memory(), open_to_all({**THREE, "count_at_most": 2}, TEN_EUR)
    big, small = decision(1, value_minor=900, currency="EUR"), decision(3, value_minor=50, currency="EUR")
    told, records = go(memory, policy, big, decision(2, value_minor=900, currency="EUR"), small, decision(4))
    assert told == ["commands", "reviews: exposure", "commands", "reviews: currency_mismatch, exposure"]
    assert [one["exposure_seen"]["three"]["used"] for one in records] == [0, 1, 1, 2]


def test_accounts_are_kept_apart_by_segment_action_type_and_entity() -> None:
    policy = limited({**THREE, "count_at_most": 1, "per": ["segment", "action_type", "entity"]})
    told, _ = go(
        Memory(),
        policy,
        decision(1, segment="a"),
        decision(2, segment="b"),
        decision(3, segment=...),
        decision(4, segment="a", action={"type": "other"}),
        decision(5, segment="a", entity="acct-18"),
        decision(6, segment="a"),
    )
    assert told == ["commands"] * 5 + ["reviews: exposure"]


def test_what_does_not_run_counts_for_nothing() -> None:
    memory, policy = Memory(), limited(THREE)
    unsure = [decision(n, confidence=0.1) for n in range(5)]
    repeats = [decision(9)] * 5
    told, _ = go(memory, policy, *unsure, *repeats, decision(10), decision(11), decision(12))
    assert told[5:] == ["commands", *["duplicate.repeat"] * 4, "commands", "commands", "reviews: exposure"]


def test_a_batch_that_came_to_nothing_took_nothing() -> None:
    memory, policy = Memory(), limited(THREE)
    batch = fetched([decision(n) for n in range(3)])
    for _ in range(3):
        assert outcomes(decide([batch], NOW_MS, Snapshot([policy]), memory)) == ["commands"] * 3


def test_the_next_owner_knows_what_was_used() -> None:
    memory, policy = Memory(), limited(THREE)
    changelog: dict[str, bytes] = {}
    for number in range(2):
        found = decide([fetched([decision(number)])], NOW_MS, Snapshot([policy]), memory)
        changelog |= memory.commit(found.remembered, NOW_MS)
    heir = Memory()
    heir.restore(changelog, NOW_MS + 1)
    assert go(heir, policy, decision(8), decision(9))[0] == ["commands", "reviews: exposure"]


def test_an_owner_whose_clock_is_far_behind_lets_nothing_run() -> None:
    """What was used in that window may be forgotten already, so nothing may be used of it again."""
    memory, policy = Memory(), limited(THREE)
    changelog = memory.commit(decide([fetched([decision(1)])], NOW_MS, Snapshot([policy]), memory).remembered, NOW_MS)
    heir = Memory()
    heir.restore(changelog, NOW_MS)
    assert go(heir, policy, decision(2), at_ms=NOW_MS - GRACE_MS)[0] == ["commands"]
    assert go(heir, policy, decision(3), at_ms=NOW_MS - GRACE_MS - 1)[0] == ["reviews: exposure"]


def test_one_account_too_many_is_not_let_run_and_ended_ones_make_room() -> None:
    exposure = Exposures(accounts_max=2)
    memory, policy = Memory(exposure=exposure), limited({**THREE, "per": ["segment"]})
    four = [decision(n, segment=segment) for n, segment in enumerate("abca")]
    assert go(memory, policy, *four)[0] == ["commands", "commands", "reviews: exposure", "commands"]
    assert exposure.no_room == 1
    later = NOW_MS + HOUR_MS + GRACE_MS
    assert go(memory, policy, decision(9, segment="c"), at_ms=later)[0] == ["commands"]


def test_a_partition_has_its_part_and_what_it_was_leased() -> None:
    limit = terms(count_at_most=40)
    exposure = Exposures(2, 4)
    memory, policy = Memory(exposure=exposure), limited({"name": "hourly", "window": "1h", "count_at_most": 40})
    assert go(memory, policy, *[decision(n) for n in range(3)])[0] == ["commands"] * 2 + ["reviews: exposure"]
    exposure.leases = {limit.account((), NOW_MS): Held(1, 31, 40)}
    assert go(memory, policy, decision(8), decision(9))[0] == ["commands", "reviews: exposure"]


def test_it_asks_for_a_lease_before_it_has_nothing_and_again_for_what_it_lacks() -> None:
    memory = Memory(exposure=Exposures(2, 4))
    policy = limited({"name": "hourly", "window": "1h", "count_at_most": 400})
    asked = []
    for number in range(22):
        found = decide([fetched([decision(number)])], NOW_MS, Snapshot([policy]), memory)
        memory.commit(found.remembered, NOW_MS)
        asked.append([(one.held, one.needed) for one in found.remembered.demands.values()])
    # of 20 it owns, it asks once half of a lease of 20 is left; then for one more
    assert asked == [[]] * 9 + [[(0, 0)]] * 11 + [[(0, 1)]] * 2


def test_it_does_not_ask_where_nothing_is_left() -> None:
    limit, exposure = terms(count_at_most=40), Exposures(2, 4)
    memory, policy = Memory(exposure=exposure), limited({"name": "hourly", "window": "1h", "count_at_most": 40})
    exposure.leases = {limit.account((), NOW_MS): Held(0, 0, 40)}
    found = decide([fetched([decision(n) for n in range(5)])], NOW_MS, Snapshot([policy]), memory)
    assert found.remembered.demands == {}
    exposure.leases = {limit.account((), NOW_MS): Held(0, 0, 39)}  # it is of another amount: there may be more now
    found = decide([fetched([decision(n) for n in range(5)])], NOW_MS, Snapshot([policy]), memory)
    assert len(found.remembered.demands) == 1


def test_a_chain_takes_what_its_steps_come_to() -> None:
    steps = [{"type": "a", "value_minor": 400}, {"type": "b", "value_minor": 400}]
    chain = decision(1, action=steps, value_minor=500, currency="EUR")
    told, records = go(Memory(), open_to_all(TEN_EUR), chain, decision(2, value_minor=201, currency="EUR"))
    assert told == ["commands", "reviews: exposure"]
    assert records[1]["exposure_seen"][TEN_EUR["name"]]["used"] == 800


def test_a_limit_per_action_type_is_not_got_round_by_a_chain() -> None:
    policy = open_to_all({**THREE, "count_at_most": 1, "per": ["action_type"]})
    single, chain = decision(1, action={"type": "a"}), decision(2, action=[{"type": "a"}] * 2)
    mixed = decision(3, action=[{"type": "a"}, {"type": "b"}])
    assert go(Memory(), policy, single, chain, mixed)[0] == [
        "commands",
        "reviews: exposure",
        "reviews: field_missing",
    ]


def test_an_entity_has_the_whole_limit_in_its_partition_and_none_in_another() -> None:
    policy = limited({**THREE, "per": ["entity"]})
    number = partition_of(b"acct-17", 4)
    here, elsewhere = Home(number, 4), Home((number + 1) % 4, 4)
    told, _ = go(Memory(exposure=Exposures(number, 4), home=here), policy, *[decision(n) for n in range(4)])
    assert told == ["commands"] * 3 + ["reviews: exposure"]
    memory = Memory(exposure=Exposures(elsewhere.number, 4), home=elsewhere)
    assert go(memory, policy, decision(1))[0] == ["invalid.key"]


def test_a_replay_with_what_was_seen_decides_the_same() -> None:
    """From the middle of a window, as one who holds other leases: what a record saw is enough."""
    limit, live = terms(count_at_most=40), Exposures(2, 4)
    memory, policy = Memory(exposure=live), limited({"name": "hourly", "window": "1h", "count_at_most": 40})
    told, records = go(memory, policy, *[decision(n) for n in range(3)])
    live.leases = {limit.account((), NOW_MS): Held(2, 30, 40)}
    more = go(memory, policy, *[decision(n) for n in range(3, 7)], offset=3)
    told, records = told + more[0], records + more[1]
    assert told[1:] == ["commands", "reviews: exposure", "commands", "commands"] + ["reviews: exposure"] * 2

    replay = Exposures()
    replay.recorded = lambda row, name: ExposureSeen(**records[row.offset]["exposure_seen"][name])
    again = go(Memory(exposure=replay), policy, *[decision(n) for n in range(1, 7)], offset=1)
    assert again[0] == told[1:]
    assert [one["exposure_seen"] for one in again[1]] == [one["exposure_seen"] for one in records[1:]]
