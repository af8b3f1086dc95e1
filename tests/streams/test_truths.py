"""Three truths about how far was read: which combinations are ordinary, and which are somebody's interference."""

from __future__ import annotations

import pytest

from streams.truths import (
    IDENTITY,
    Apart,
    Identity,
    Place,
    Told,
    TopicIdentity,
    identity_in,
    kept_in,
    must_be_same,
    position,
    written,
)

PLACE = Place("gate", "t.gate", "t.", "decisions", 2)
NOW = Identity("c1", "t.gate", {"decisions": TopicIdentity("d1", 4), "successors": TopicIdentity("s1", 4)})


@pytest.mark.parametrize(
    ("committed", "kept", "start", "same_group", "at"),
    [
        (None, None, 7, True, 7),  # a first start
        (None, 40, 7, True, 40),  # a week without members, and Kafka has forgotten the group's offsets
        (40, 40, 7, True, 40),
        (7, None, 7, True, 7),  # somebody set the group to the beginning before the first start: nothing is skipped
        (3, 3, 7, True, 3),  # 3 to 6 were removed before they were read: told by the lane
        (12, 40, 7, False, 40),  # another group went on from 12 to 40
        (12, None, 7, False, 7),  # an input that is new to the role
    ],
)
def test_what_is_ordinary(committed: int | None, kept: int | None, start: int, same_group: bool, at: int) -> None:
    assert position(PLACE, Told(committed, kept, start, 100), same_group) == at


@pytest.mark.parametrize(
    ("committed", "kept", "end", "says", "cure"),
    [
        (118, 18, 200, "committed offset 118, the changelog in t.state says 18", "offsets accept changelog"),
        (10, 18, 200, "committed offset 10, the changelog in t.state says 18", "offsets accept changelog"),
        (18, None, 200, "t.state remembers nothing", "offsets accept group"),
        (18, 18, 17, "ends before offset 18", "Use another --prefix"),
    ],
)
def test_what_somebody_did(committed: int, kept: int | None, end: int, says: str, cure: str) -> None:
    with pytest.raises(Apart) as raised:
        position(PLACE, Told(committed, kept, 0, end), same_group=True)
    assert str(raised.value).startswith("t.decisions/2")
    assert says in str(raised.value)
    assert cure in str(raised.value)


@pytest.mark.parametrize(
    ("then", "says"),
    [
        (Identity("c0", "t.gate", NOW.topics), "t.state was written on the cluster c0, and this is c1"),
        (Identity("c1", "t.gate", {"successors": TopicIdentity("s0", 4)}), "the topic t.successors was made again"),
        (Identity("c1", "t.gate", {"decisions": TopicIdentity("d1", 1)}), "t.decisions had 1 partition and has 4"),
    ],
)
def test_offsets_of_something_else_are_refused(then: Identity, says: str) -> None:
    with pytest.raises(Apart) as raised:
        must_be_same(NOW, then, PLACE)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    "then",
    [
        None,  # an earlier version wrote the changelog
        NOW,
        Identity("c1", "another", {"decisions": TopicIdentity(None, 4)}),  # a broker that gave topics no ids
        Identity("c1", "t.gate", {"gone": TopicIdentity("g", 9)}),  # an input that the role no longer has
    ],
)
def test_what_is_the_same_as_far_as_anybody_can_know(then: Identity | None) -> None:
    must_be_same(NOW, then, PLACE)


def test_what_is_written_is_read_back() -> None:
    slots = written(NOW, {"decisions": 41})
    assert identity_in(slots) == NOW
    assert (kept_in(slots, "decisions"), kept_in(slots, "successors")) == (41, None)
    assert identity_in({}) is None


@pytest.mark.parametrize("value", [b"", b"\xff", b"[]", b'{"cluster": 1}'])
def test_an_identity_that_cannot_be_read_is_not_passed_over(value: bytes) -> None:
    with pytest.raises(ValueError, match="the slot identity holds no identity"):
        identity_in({IDENTITY: value})
