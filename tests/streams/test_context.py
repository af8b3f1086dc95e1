"""Context: what a view takes in, what it refuses and why, and that it errs to the safe side."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.reevaluation import PresentContext
from streams.context import NO_CONTEXT, ContextView, Rejected, watched
from tests.streams.making import policy

ANY: frozenset[str] = frozenset()
CARD, RATE = frozenset({"card"}), frozenset({"rate"})


def context(version: Any, entity: str = "acct-17", state: Any = None, **more: Any) -> bytes:
    """A field given as `...` is left out."""
    fields = {
        "entity": entity,
        "version": version,
        "at_ms": 1,
        "state": {"card": 1} if state is None else state,
        **more,
    }
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode()


def taken(view: ContextView, version: int, entity: str = "acct-17", state: Any = None) -> None:
    assert view.apply(entity.encode(), context(version, entity, state)) is None


def test_the_present_version_is_the_one_that_came_last() -> None:
    view = ContextView()
    assert view.version("acct-17") is None
    taken(view, 41)
    taken(view, 43)
    taken(view, 7, "acct-18")
    assert (view.version("acct-17"), view.version("acct-18"), view.version("acct-19")) == (43, 7, None)
    assert len(view) == 2
    assert view.changed("acct-17", 42, ANY)
    assert not view.changed("acct-17", 43, ANY)
    assert view.changed("acct-19", 43, ANY)


def test_entities_with_long_names_are_known_by_their_digests() -> None:
    view, long = ContextView(), "acct-" + "1" * 100
    taken(view, 41, long)
    taken(view, 42, long + "2")
    assert (view.version(long), view.version(long + "2"), view.version(long[:-1])) == (41, 42, None)


def test_null_removes_an_entity_and_what_comes_then_begins_anew() -> None:
    view = ContextView(CARD)
    taken(view, 41)
    assert view.apply(b"acct-17", None) is None
    assert view.version("acct-17") is None
    assert view.apply(b"never-seen", None) is None
    taken(view, 3)
    assert view.version("acct-17") == 3
    assert view.changed("acct-17", 2, CARD)


@pytest.mark.parametrize(
    ("key", "value", "reason", "detail"),
    [
        (None, context(1), "invalid.key", "no key"),
        (None, None, "invalid.key", "no key"),
        (b"acct-18", context(1), "invalid.key", "not its entity, acct-17"),
        (b"acct-17", b"", "invalid.json", "cannot be read"),
        (b"acct-17", b'{"entity"', "invalid.json", "cannot be read"),
        (b"acct-17", b"\xff\xfe", "invalid.json", "cannot be read"),
        (b"acct-17", context(1).replace(b'"card"', b'"\xff"'), "invalid.json", "cannot be read"),
        (b"acct-17", context(1).replace(b'"card"', b'"\\ud800"'), "invalid.json", "cannot be read"),
        (b"acct-17", context(1)[:-1] + b',"x":' + b"[" * 100_000, "invalid.json", "cannot be read"),
        (b"acct-17", context(1).replace(b'{"card": 1}', b"[" * 2000 + b"]" * 2000), "invalid.json", "cannot be read"),
        (b"acct-17", b"[]", "invalid.schema", "not a context"),
        (b"acct-17", context(1, state=[1]), "invalid.schema", "no object"),
        (b"acct-17", context(1, state=...), "invalid.schema", "state"),
        (b"acct-17", context(1, at_ms=...), "invalid.schema", "at_ms"),
        (b"acct-17", context(1, at_ms=-1), "invalid.schema", "at_ms"),
        (b"", context(1, entity=""), "invalid.schema", "entity"),
        (b"acct-17", context("42"), "invalid.schema", "version"),
        (b"acct-17", context(-1), "invalid.schema", "version"),
        (b"acct-17", context(2**60), "invalid.schema", "version"),
        (b"acct-17", context(...), "version.absent", "no version"),
        (b"acct-17", context(None), "version.absent", "no version"),
        (b"acct-17", context(1, state={"card": "x" * 262_144}), "invalid.oversized", "more than 262144"),
    ],
)
def test_what_is_no_context_is_refused_with_its_reason(
    key: bytes | None, value: bytes | None, reason: str, detail: str
) -> None:
    view = ContextView(CARD, keep_state=True)
    found = view.apply(key, value)
    assert isinstance(found, Rejected)
    assert found.reason == reason
    assert detail in found.detail
    assert len(view) == 0


@pytest.mark.parametrize("version", [41, 40, 0])
def test_a_version_that_does_not_rise_is_refused_and_the_present_one_stays(version: int) -> None:
    view = ContextView(CARD, keep_state=True)
    taken(view, 41, state={"card": "new"})
    found = view.apply(b"acct-17", context(version, state={"card": "old"}))
    assert found == Rejected("version.falling", f"version {version} of the context of acct-17 comes after version 41")
    present = view.present("acct-17")
    assert present is not None
    assert (present.version, bytes(present.state)) == (41, b'{"card": "new"}')


def test_only_a_change_of_a_named_field_counts_where_fields_are_named() -> None:
    view = ContextView(CARD | RATE)
    taken(view, 1, state={"card": "a", "rate": 1, "seen": 1})
    taken(view, 2, state={"card": "a", "rate": 1, "seen": 2})
    taken(view, 5, state={"card": "a", "rate": 2, "seen": 2})
    assert not view.changed("acct-17", 1, CARD)
    assert view.changed("acct-17", 1, RATE)
    assert view.changed("acct-17", 1, CARD | RATE)
    assert view.changed("acct-17", 4, RATE)
    assert not view.changed("acct-17", 5, RATE)
    assert view.changed("acct-17", 4, ANY)


def test_a_field_that_comes_or_goes_has_changed() -> None:
    view = ContextView(CARD)
    taken(view, 1, state={})
    taken(view, 2, state={"card": None})
    assert view.changed("acct-17", 1, CARD)
    taken(view, 3, state={"other": 1})
    assert view.changed("acct-17", 2, CARD)
    taken(view, 4, state={})
    assert not view.changed("acct-17", 3, CARD)


def test_what_came_before_the_first_record_seen_counts_as_changed() -> None:
    """After a rebuild from the compacted topic older versions are gone: nobody knows what changed with them."""
    view = ContextView(CARD)
    taken(view, 41)
    assert view.changed("acct-17", 40, CARD)
    assert not view.changed("acct-17", 41, CARD)


def test_a_field_that_nobody_watches_counts_as_changed_with_every_version() -> None:
    view = ContextView(CARD)
    taken(view, 1, state={"card": 1, "rate": 1})
    taken(view, 2, state={"card": 1, "rate": 1})
    assert view.changed("acct-17", 1, RATE)
    assert view.changed("acct-17", 1, RATE | CARD)


def test_numbers_are_compared_to_the_last_digit() -> None:
    view = ContextView(CARD)
    assert view.apply(b"acct-17", context(1).replace(b'"card": 1', b'"card": 123456789012345678901')) is None
    assert view.apply(b"acct-17", context(2).replace(b'"card": 1', b'"card": 123456789012345678902')) is None
    assert view.changed("acct-17", 1, CARD)


def test_a_full_view_takes_no_new_entity_and_says_so() -> None:
    view = ContextView(entities_max=2)
    taken(view, 1, "a")
    taken(view, 1, "b")
    assert view.not_kept == 0
    taken(view, 1, "c")
    assert view.overflowed
    assert view.not_kept == 1
    assert view.version("c") is None
    taken(view, 2, "a")
    assert view.version("a") == 2
    assert view.apply(b"b", None) is None
    taken(view, 2, "c")
    assert view.version("c") == 2
    assert view.overflowed, "other entities may have been passed over"


def test_states_are_bounded_in_bytes_and_an_old_one_is_not_kept_for_a_new_one_without_room() -> None:
    view = ContextView(keep_state=True, state_bytes_max=200)
    taken(view, 1, "a", {"x": "y" * 50})
    taken(view, 1, "b", {"x": "y" * 50})
    taken(view, 2, "a", {"x": "y" * 150})
    assert view.overflowed
    assert view.version("a") is None, "version 1 is not the present one"
    assert view.present("b") is not None
    taken(view, 3, "a", {"x": "y" * 50})
    assert view.version("a") == 3


def test_the_state_is_shown_as_it_came_and_only_where_states_are_kept() -> None:
    state = b'{"rate":  1.250, "big": 123456789012345678901}'
    value = b'{"entity":"acct-17","version":42,"at_ms":1764000000000,"note":"carried","state":' + state + b"}"
    keeping, versions = ContextView(CARD, keep_state=True), ContextView(CARD)
    for view in (keeping, versions):
        assert view.apply(b"acct-17", value) is None
    present = keeping.present("acct-17")
    assert isinstance(present, PresentContext)
    assert (present.version, present.at_ms, bytes(present.state)) == (42, 1_764_000_000_000, state)
    assert versions.present("acct-17") is None
    assert keeping.present("acct-18") is None


def test_fields_are_watched_for_all_policies_together_and_nothing_is_where_none_looks() -> None:
    blind, wide = policy(workflow="a"), policy(workflow="b", context="any")
    one, other = policy(workflow="c", context=["card"]), policy(workflow="d", context=["rate", "card"])
    assert watched([blind]) is None
    assert watched([blind, wide]) == ANY
    assert watched([blind, wide, one, other]) == CARD | RATE
    assert NO_CONTEXT.version("acct-17") is None
    assert NO_CONTEXT.changed("acct-17", 1, ANY)


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 9), st.one_of(st.none(), st.integers(0, 2)), st.integers(0, 2)),
        max_size=30,
    )
)
def test_it_knows_what_a_plain_model_knows(steps: list[tuple[str, int, int | None, int]]) -> None:
    view, model = ContextView(CARD | RATE), dict[str, list[tuple[int, dict[str, int]]]]()
    for entity, version, card, rate in steps:
        if card is None:
            assert view.apply(entity.encode(), None) is None
            model.pop(entity, None)
            continue
        state = {"card": card, "rate": rate}
        refused = view.apply(entity.encode(), context(version, entity, state))
        history = model.get(entity, [])
        if history and version <= history[-1][0]:
            assert refused is not None
        else:
            assert refused is None
            model[entity] = [*history, (version, state)]
    for entity in "ab":
        history = model.get(entity, [])
        assert view.version(entity) == (history[-1][0] if history else None)
        for since, past in history:
            later = [state for version, state in history if version >= since]
            for name in ("card", "rate"):
                changed = any(state[name] != past[name] for state in later)
                assert view.changed(entity, since, frozenset({name})) == changed
