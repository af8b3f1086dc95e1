"""What nobody said: policies that change, later observations, and approvals given beforehand."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.common import Source
from schemas.published import Current, Move, Preapproval
from streams.halts import Granted
from streams.review_later import Commanded
from streams.signatures import sign
from tests.streams.making import NOW_MS, encoded
from tests.streams.reviewing import (
    ASKING,
    SECRET,
    Desk,
    gate,
    observed,
    policy,
    records,
    told,
    verdict,
)


def moved(*moves: tuple[int, Any, int]) -> dict[str, Current]:
    """A pointer that was moved to these versions, oldest first, with what was said of pending reviews, and when."""
    made = [Move(version, pending, "ops", "because", at_ms) for version, pending, at_ms in moves]
    last = made[-1]
    before = made[-2::-1]
    current = Current(
        workflow="billing",
        version=last.version,
        pending=last.pending,
        by="ops",
        why="w",
        at_ms=last.at_ms,
        before=before,
    )
    return {"billing": current}


@pytest.mark.parametrize(
    ("moves", "outcome"),
    [
        (((3, "keep", 1), (4, "keep", NOW_MS + 1)), []),
        (((3, "keep", 1), (4, "invalidate", NOW_MS + 1)), ["review.invalidated"]),
        (((3, "keep", 1), (4, "reevaluate", NOW_MS + 1)), ["review.invalidated"]),
        (((3, "keep", 1), (4, "invalidate", NOW_MS + 1), (3, "keep", NOW_MS + 2)), ["review.invalidated"]),
        (((2, "invalidate", 1), (3, "invalidate", 2)), []),
        (((4, "invalidate", 1), (3, "invalidate", NOW_MS + 5)), []),  # opened by a clock that is behind
        (((3, "keep", 1), (4, "invalidate", NOW_MS - 5)), ["review.invalidated"]),  # the gate had not heard of it yet
    ],
)
def test_a_policy_says_what_becomes_of_what_is_pending(moves: Any, outcome: list[str]) -> None:
    desk = Desk(ASKING)
    desk.currents = moved((3, "keep", 1))
    review = desk.opens()
    desk.currents = moved(*moves)
    found = desk.step()
    assert told(found) == outcome
    for one in found:
        assert one["output"] == ("reevaluations" if moves[1][1] == "reevaluate" else "exceptions")
    assert desk.step() == []
    assert told(desk.says(verdict(review))) == (["verdict.ended"] if outcome else ["commands"])


def test_a_later_observation_retires_what_is_open() -> None:
    desk = Desk(policy(freshness={"supersede": True}))
    first = desk.opens(1)
    value = gate(observed(2, NOW_MS - 500), desk.policy, 2)
    (ended,) = desk.step(records("reviews", value, at=9))
    assert (ended["reason"], ended["caused_by"]["offset"]) == ("superseded", 9)
    assert told(desk.says(verdict(first))) == ["verdict.ended"]


PLACE = Source("t.commands", 2, 77)


def command(observed_at_ms: int, kind: str = "invoice.post", **about: Any) -> bytes:
    """What is read of a command that was issued 5 s after its observation."""
    fields = {"command_id": "c-1", "workflow": "billing", "entity": "acct-17", "action": {"type": kind}}
    return encoded({**fields, "gated_at_ms": observed_at_ms + 5_000, "age_ms": 5_000, **about})


@pytest.mark.parametrize(
    ("value", "retires"),
    [
        (command(NOW_MS - 500), True),
        (command(NOW_MS - 1_000), False),
        (command(NOW_MS - 2_000), False),
        (command(NOW_MS - 500, "credit.post"), False),
        (command(NOW_MS - 500, entity="acct-18"), False),
        (command(NOW_MS - 500, workflow="routing"), False),
        (b"no command", False),
        (None, False),
    ],
)
@pytest.mark.parametrize("when", ["open", "opening", "restored"])
def test_a_command_on_a_later_observation_retires_what_is_open(value: bytes | None, retires: bool, when: str) -> None:
    desk = Desk(policy(freshness={"supersede": True}))
    if when == "opening":
        desk.commanded.take(PLACE, value)
    review = gate(observed(1, NOW_MS - 1_000), desk.policy, 1)
    found = desk.step(records("reviews", review, at=1))
    if when == "restored":
        desk.crash()
    if when != "opening":
        desk.commanded.take(PLACE, value)
        due = desk.reviews.due_ms(desk.snapshot(), NOW_MS, desk.commanded)
        assert (due == NOW_MS) or not retires
        found = desk.step()
    assert [(one["reason"], one["kind"]) for one in found] == [("superseded", "followup")] * retires
    assert desk.commanded.changed == set()
    if retires:
        assert found[0]["caused_by"] == {"topic": "t.commands", "partition": 2, "offset": 77}
    assert desk.step() == []


def test_where_the_policy_does_not_supersede_a_command_retires_nothing() -> None:
    desk = Desk()
    desk.opens(1)
    desk.commanded.take(PLACE, command(NOW_MS))
    assert desk.step() == []


def test_of_many_entities_the_oldest_are_forgotten() -> None:
    commanded = Commanded(frozenset({"billing"}), entities_max=3)
    for number in range(5):
        commanded.take(PLACE, command(NOW_MS, entity=f"e-{number}"))
    assert len(commanded) == 3


def granted(by: str = "ana", secret: bytes = SECRET, **more: Any) -> Granted:
    fields = {"from_ms": 0, "until_ms": NOW_MS + 9, "why": "holidays", "at_ms": 0, **more}
    given = Preapproval(id="p", workflow="billing", by=by, **fields)
    value = encoded({"id": "p", "by": by})
    return Granted(given, value, sign("desk-1", secret, value))


@pytest.mark.parametrize(
    ("given", "counts"),
    [
        (granted(), True),
        (granted(value_minor_at_most=1_250, currency="USD", entity="acct-17", action_type="invoice.post"), True),
        (granted(value_minor_at_most=1_249, currency="USD"), False),
        (granted(value_minor_at_most=9_999, currency="EUR"), False),
        (granted(entity="acct-18"), False),
        (granted(segment="s"), False),
        (granted(until_ms=NOW_MS), False),
        (granted(from_ms=NOW_MS + 1), False),
        (granted(revoked=True), False),
        (granted(secret=b"another secret, as long"), False),
        (granted(by="zoe"), False),
        (granted(by="rating-service"), False),
    ],
)
def test_a_pre_approval_counts_as_that_persons_when_the_review_comes(given: Granted, counts: bool) -> None:
    desk = Desk()
    desk.granted = [given]
    value = gate({**observed(1, NOW_MS - 1_000), "proposer": "rating-service"}, desk.policy)
    found = desk.step(records("reviews", value, at=5))
    assert told(found) == (["commands"] if counts else [])
    if counts:
        assert found[0]["caused_by"] == {"topic": "t.reviews", "partition": 2, "offset": 5}
