"""The rulebook: a fold that nothing stops; and the snapshots that follow from it."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.policy import PolicyDocument
from schemas.published import Halt, Preapproval, Scope, preapproval_key, recall_key
from schemas.verdict import SIGNATURE_HEADER
from streams.errors import ConfigurationError
from streams.governing import (
    Signed,
    Write,
    applied,
    halted,
    recalled,
    resumed,
    rolled_back,
    still_stopped,
    unknown_workflow,
)
from streams.rulebook import UNREADABLE, Compiler, Rulebook

ANA = Signed("ana", "a reason", 1_000)


def document(workflow: str = "billing", version: int = 1, **more: Any) -> PolicyDocument:
    fields = {"workflow": workflow, "version": version, "freshness": {"budget": "10m"}, "boundary": {}, **more}
    return msgspec.convert(fields, PolicyDocument)


class Topic:
    """A rulebook and what is written to it, with offsets as a transactional topic has them."""

    def __init__(self) -> None:
        self.book, self.offset = Rulebook(), 0

    def write(self, *writes: Write) -> None:
        for one in writes:
            self.put(one.key, one.value, dict(one.headers))
        self.offset += 1  # the marker

    def put(self, key: str, value: bytes | None, headers: dict[str, bytes] | None = None) -> None:
        self.book.take(self.offset, key.encode(), value, tuple((headers or {}).items()))
        self.offset += 1

    def apply(self, *documents: PolicyDocument, signed: Signed = ANA) -> None:
        self.write(*applied(self.book.edition(), documents, "keep", signed))

    def names(self) -> list[str]:
        return [policy.name for policy in Compiler().snapshot(self.book.edition())[0].by_index]

    def troubles(self) -> list[str]:
        return Compiler().snapshot(self.book.edition())[1]


def test_what_was_applied_is_in_force_and_a_version_never_changes() -> None:
    topic = Topic()
    topic.apply(document(), document("routing"))
    assert topic.names() == ["billing@1", "routing@1"]
    assert applied(topic.book.edition(), [document()], "keep", ANA) == []
    with pytest.raises(ConfigurationError, match=r"billing@1 was published by ana with other content.*version 2"):
        topic.apply(document(freshness={"budget": "11m"}))
    topic.apply(document(version=3))
    with pytest.raises(ConfigurationError, match=r"billing@2 is not above billing@3: give it 4"):
        topic.apply(document(version=2))
    assert (topic.names(), topic.troubles()) == (["billing@3", "routing@1"], [])


def test_a_rollback_goes_to_the_one_before_and_the_pointer_remembers_its_way() -> None:
    topic = Topic()
    with pytest.raises(ConfigurationError, match=r"no policy of the workflow 'billing' is in force; .*: none"):
        rolled_back(topic.book.edition(), "billing", None, "keep", ANA)
    topic.apply(document())
    with pytest.raises(ConfigurationError, match=r"billing@1 is the first"):
        rolled_back(topic.book.edition(), "billing", None, "keep", ANA)
    topic.apply(document(version=2), signed=Signed("bo", "better", 500))
    version, writes = rolled_back(topic.book.edition(), "billing", None, "invalidate", Signed("ana", "worse", 700))
    topic.write(*writes)
    current = topic.book.edition().currents["billing"]
    assert (version, current.version, current.pending, topic.names()) == (1, 1, "invalidate", ["billing@1"])
    assert [(step.version, step.by, step.at_ms) for step in current.before] == [(2, "bo", 1_001), (1, "ana", 1_000)]
    assert current.at_ms == 1_002, "the times of a pointer's moves rise, whatever the clocks say"
    for wanted, told in ((1, "in force already"), (9, "was never published; there are 1, 2")):
        with pytest.raises(ConfigurationError, match=told):
            rolled_back(topic.book.edition(), "billing", wanted, "keep", ANA)
    assert rolled_back(topic.book.edition(), "billing", 2, "keep", ANA)[0] == 2


def test_a_rollback_never_goes_back_to_what_was_left_by_one() -> None:
    topic = Topic()
    for version in (1, 2, 3):
        topic.apply(document(version=version))
    for wanted in (2, 1):
        version, writes = rolled_back(topic.book.edition(), "billing", None, "keep", ANA)
        topic.write(*writes)
        assert (version, topic.names()) == (wanted, [f"billing@{wanted}"])
    with pytest.raises(ConfigurationError, match=r"Say which with --to; there are 1, 2, 3"):
        rolled_back(topic.book.edition(), "billing", None, "keep", ANA)
    topic.apply(document(version=4))
    assert rolled_back(topic.book.edition(), "billing", None, "keep", ANA)[0] == 1, "3 and 2 were left, 4 came after 1"
    topic.write(*rolled_back(topic.book.edition(), "billing", 3, "keep", ANA)[1])
    assert rolled_back(topic.book.edition(), "billing", None, "keep", ANA)[0] == 4, "it was said by name"


def test_of_two_who_leave_a_version_at_once_the_second_changes_nothing() -> None:
    topic = Topic()
    for version in (1, 2, 3):
        topic.apply(document(version=version))
    topic.write(*rolled_back(topic.book.edition(), "billing", None, "keep", ANA, leaving=3)[1])
    with pytest.raises(ConfigurationError, match=r"billing@3 is not in force any more: ana put billing@2"):
        rolled_back(topic.book.edition(), "billing", None, "keep", Signed("bo", "it is wrong", 2_000), leaving=3)


def test_what_else_stops_a_scope_is_told_when_it_is_resumed() -> None:
    topic, billing = Topic(), Scope("billing")
    for scope in (Scope(), billing, Scope("billing", "retail"), Scope("routing"), Scope(model="m")):
        topic.write(*halted(scope, ANA))
    topic.write(*resumed(topic.book.edition(), billing, ANA))
    all_of_it, part = still_stopped(topic.book.edition(), billing)
    assert all_of_it == ["everything, by ana: a reason"]
    assert part == ["model 'm', by ana: a reason", "workflow 'billing', segment 'retail', by ana: a reason"]
    assert still_stopped(topic.book.edition(), Scope("routing", "vip"))[0] == [
        "everything, by ana: a reason",
        "workflow 'routing', by ana: a reason",
    ]


def test_a_halt_under_a_key_that_names_no_scope_ends_with_that_of_everything() -> None:
    topic = Topic()
    topic.put("halt/a/b", b'{"halted": true, "why": "w", "by": "b", "at_ms": 1}')
    assert topic.book.edition().strange == ("halt/a/b",)
    assert still_stopped(topic.book.edition(), Scope("billing"))[0] != []
    topic.write(*resumed(topic.book.edition(), Scope(), ANA))
    assert topic.book.edition().strange == ()
    assert not topic.book.halts


def test_a_halt_under_a_key_that_is_too_long_stops_everything_until_that_is_resumed() -> None:
    topic = Topic()
    topic.put("halt/" + "x" * 20_000, b'{"halted": true, "why": "w", "by": "b", "at_ms": 1}')
    assert topic.book.halts.over("billing", None, None, None) is not None
    topic.write(*resumed(topic.book.edition(), Scope(), ANA))
    assert not topic.book.halts
    with pytest.raises(ConfigurationError, match=r"its key would have 20011 bytes, and has at most 16384"):
        halted(Scope("b", "x" * 20_000), ANA)


def test_a_workflow_that_nothing_answers_to_is_told() -> None:
    topic = Topic()
    topic.apply(document())
    edition = topic.book.edition()
    assert unknown_workflow(edition, "biling") == ("no policy of the workflow 'biling' is in force; there are: billing")
    assert (unknown_workflow(edition, "billing"), unknown_workflow(edition, None)) == (None, None)


def test_a_version_that_cannot_be_used_leaves_the_last_good_one_in_force() -> None:
    topic = Topic()
    topic.apply(document())
    writes = applied(topic.book.edition(), [document(version=2)], "keep", ANA)
    newer = orjson.loads(writes[0].value)
    newer["document"]["a_field_of_tomorrow"] = True
    topic.write(Write(writes[0].key, orjson.dumps(newer)), writes[1])
    assert topic.names() == ["billing@1"]
    [told] = topic.troubles()
    assert told.startswith("billing@2 cannot be used here: ")
    assert "a_field_of_tomorrow" in told
    assert told.endswith("; billing@1 stays in force")


def test_a_workflow_that_never_had_a_usable_version_has_none() -> None:
    topic = Topic()
    writes = applied(topic.book.edition(), [document()], "keep", ANA)
    topic.write(writes[1])
    assert topic.names() == []
    assert topic.troubles() == ["billing@1 cannot be used here: it was not published; no version of it is in force"]


def test_a_workflow_keeps_its_index_while_others_come() -> None:
    topic, compiler = Topic(), Compiler()
    topic.apply(document("routing"))
    first, _ = compiler.snapshot(topic.book.edition())
    topic.apply(document("billing"), document("routing", 2))
    second, _ = compiler.snapshot(topic.book.edition())
    assert [policy.workflow for policy in second.by_index] == ["routing", "billing"]
    assert (first.by_workflow["routing"].index, second.by_workflow["routing"].index) == (0, 0)
    assert second.by_workflow["routing"].name == "routing@2"


def test_the_second_record_of_a_version_does_not_count() -> None:
    topic = Topic()
    topic.apply(document())
    other = applied(Rulebook().edition(), [document(freshness={"budget": "1m"})], "keep", ANA)[0]
    topic.put(*other[:2])
    assert topic.book.edition().versions["billing", 1].digest != orjson.loads(other.value)["digest"]
    assert any("published before with other content" in told for told in topic.troubles())


def test_halts_come_and_go_and_the_smallest_key_is_named() -> None:
    topic = Topic()
    topic.write(*halted(Scope("billing"), Signed("ana", "double charges", 5)))
    topic.write(*halted(Scope(model="m/1 *"), ANA))
    halts = topic.book.halts
    found = halts.over("billing", None, "m/1 *", None)
    assert str(found) == "model 'm/1 *' is halted by ana: a reason"
    assert str(halts.over("billing", None, None, None)) == "workflow 'billing' is halted by ana: double charges"
    assert halts.over("routing", None, "m/2", None) is None
    assert halts.over("routing", None, "m/1 *", "x") is not None
    with pytest.raises(
        ConfigurationError, match=r"no halt stops exactly segment 's'; halted: model .*; workflow 'billing'"
    ):
        resumed(topic.book.edition(), Scope(segment="s"), ANA)
    topic.write(*resumed(topic.book.edition(), Scope("billing"), ANA))
    assert topic.book.halts.over("billing", None, None, None) is None
    assert topic.book.edition().halts[Scope("billing")] == Halt(False, "a reason", "ana", 1_000)


def test_a_halt_that_cannot_be_read_halts() -> None:
    topic = Topic()
    topic.put("halt/billing/*/*/*", b'{"halted": "perhaps"}')
    assert topic.book.halts.by_scope == {Scope("billing"): UNREADABLE}
    assert len(topic.troubles()) == 1
    topic.put("halt/billing/*/*/*", b'{"halted": false, "why": "w", "by": "b", "at_ms": 1}')
    assert (topic.book.halts.by_scope, topic.troubles()) == ({}, [])


def test_a_halt_of_a_scope_that_cannot_be_read_halts_everything() -> None:
    topic = Topic()
    for key in ("halt/a/b", "halt/%ff/*/*/*"):
        topic.put(key, b"{}")
        assert topic.book.halts.by_scope == {Scope(): UNREADABLE}
        assert len(topic.troubles()) == 1
        topic.put(key, None)
        assert (topic.book.halts.by_scope, topic.troubles()) == ({}, [])
    topic.put("halt/a/b", b'{"halted": true, "why": "w", "by": "b", "at_ms": 1}')
    assert topic.book.edition().halts == {Scope(): UNREADABLE}
    topic.put("halt/a/b", b'{"halted": false, "why": "w", "by": "b", "at_ms": 1}')
    assert not topic.book.halts


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("nonsense", b"{}", "no kind of record"),
        ("policy/billing@1", b"{", "cannot be used"),
        ("policy/billing@2", applied(Rulebook().edition(), [document()], "keep", ANA)[0].value, "it holds billing@1"),
        ("policy/billing@1", None, "never is"),
        ("current/x", applied(Rulebook().edition(), [document()], "keep", ANA)[1].value, "the workflow 'billing'"),
        ("halt/a/b", b"{}", "is not halt/"),
        ("halt/b/*/*/*", None, "never is"),
        ("preapproval/x", b"[]", "cannot be used"),
    ],
)
def test_a_record_that_is_no_use_is_told_and_stops_nobody(key: str, value: bytes | None, told: str) -> None:
    topic = Topic()
    topic.apply(document("routing"))
    topic.put(key, value)
    [trouble] = topic.troubles()
    assert told in trouble
    assert topic.names() == ["routing@1"]
    topic.book.take(99, None, b"x")
    assert topic.book.edition().next_offset == 100


def test_recalls_and_preapprovals_are_kept_by_their_names() -> None:
    topic = Topic()
    topic.write(*recalled("c-1", ANA))
    given = Preapproval(id="p/1", workflow="billing", from_ms=0, until_ms=9, by="ana", why="holiday", at_ms=1)
    value = msgspec.json.encode(given)
    topic.put(preapproval_key("p/1"), value, {SIGNATURE_HEADER: b"k:00"})
    snapshot, troubles = Compiler().snapshot(topic.book.edition())
    assert (list(topic.book.edition().recalls), troubles) == (["c-1"], [])
    assert [(one.preapproval, one.value, one.signature) for one in snapshot.preapprovals] == [(given, value, b"k:00")]
    topic.put(preapproval_key("p/1"), None)
    topic.put(recall_key("c-1"), None)
    assert not topic.book.edition().recalls
    assert Compiler().snapshot(topic.book.edition())[0].preapprovals == ()


parts = st.none() | st.text(max_size=12)


@given(st.builds(Scope, parts, parts, parts, parts))
def test_a_scope_comes_back_from_its_key(scope: Scope) -> None:
    key = scope.key
    assert Scope.of_key(key) == scope
    assert key.count("/") == 4
    assert key.isascii()


def test_a_record_of_no_known_kind_is_a_trouble_until_it_is_removed() -> None:
    topic = Topic()
    topic.apply(document())
    topic.put("x\ufffdy", b"whatever")
    assert ["no kind of record that this version knows" in one for one in topic.troubles()] == [True]
    topic.put("x\ufffdy", None)
    assert topic.troubles() == []
