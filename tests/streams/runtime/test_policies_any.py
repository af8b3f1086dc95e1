"""Whatever stands in a file of policies, or on their topic: a policy, or what is wrong with it and where. No error."""

from __future__ import annotations

import copy
import datetime
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.published import current_key, policy_key
from streams.document import document_of
from streams.policy import Policy, compile_policy
from streams.rulebook import Compiler, Rulebook
from streams.runtime.evaluators.http import HttpEvaluator
from streams.runtime.policies import content_of
from streams.terms import Problem, duration_ms

WHOLE: dict[str, Any] = {
    "workflow": "payout",
    "version": 1,
    "freshness": {
        "budget": "10m",
        "total": "30m",
        "skew_tolerance": "2s",
        "on_stale": "reevaluate",
        "max_attempts": 3,
        "segments": {"express": {"budget": "2m", "on_stale": "drop"}},
        "context": ["rate_card"],
        "supersede": True,
        "allowance": {"initial": "250ms", "at_most": "5s"},
        "overload": {"start": 0.25, "newest_first": True},
    },
    "evaluator": {"url": "http://rater:8080/evaluate", "timeout": "2s", "action_types": ["pay"]},
    "review": {
        "quorum": 2,
        "sla": "30m",
        "approvers": [{"role": "clerk", "value_minor_at_most": 5, "currency": "EUR"}],
    },
    "boundary": {
        "rules": [
            {"name": "sanctioned", "when": {"attributes.country": {"in": ["kp", "ir"]}}, "then": "block"},
            {"name": "odd", "when": {"value_minor": {"at_least": 7, "currency": "EUR"}}, "then": "escalate"},
            {"name": "said", "then": "escalate", "cel": "attributes.vip == true", "shadow": True},
            {"name": "sure", "then": "autonomous", "limits": {"value_minor_at_most": 25000, "currency": "EUR"}},
        ],
        "exposure": [{"name": "hourly", "window": "1h", "per": ["segment"], "count_at_most": 500}],
        "audit_sample": 0.01,
    },
}
TEXT = orjson.dumps(WHOLE, option=orjson.OPT_INDENT_2).decode()  # JSON is YAML
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=4),
    st.sampled_from([10**400, -(10**400), "\ud800", "x" * 5_000, "9" * 5_000 + "m", "http://h:80800/", "http://[::1/"]),
    st.sampled_from(
        [
            datetime.date(2020, 1, 1),
            datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
            "(" * 3_000,
            "\0",
            "true ==",
            "^(",
            "@",
        ]
    ),
    st.sampled_from([set(), {"a", "b"}, frozenset({1}), (1, 2), [("a", 1)], "EUR", "1h", "0s", 0, 1]),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from([*WHOLE, "when", "a"]), st.integers(), st.text(max_size=3)), inner),
    ),
    max_leaves=12,
)
PIECES = [
    *("!!set {a, b}", "&a", "*a", "!!binary aGk=", "!!binary '%'", "? [a]", "<<: *a", "!!bool x", "!!int x", "!!map"),
    *("!!float y", "!!timestamp 2020-13-45", "!!python/object:os.system {}", "- ", "{", "[" * 2_000, ": ", "---\n"),
    *('"\\ud800"', '"\\U00110000"', "\x01", "\ufeff", "\x85", "0x", "190:20:30", ".nan", "~", "=", "!", "|", ">", "%Y"),
    *("- " * 500, "? " * 500, "{a: " * 500, "[" * 100_000),
]


def tried(content: Any) -> None:
    document, problems = document_of(content)
    if document is None:
        assert problems
    else:
        policy, problems = compile_policy(document, 0)
        assert (policy is None) == bool(problems)
        if policy is not None:
            used(policy)
    for problem in problems:
        assert isinstance(problem, Problem)
        assert all(isinstance(part, str) for part in problem)
        assert all(len(part) < 2_000 for part in problem)
        str(problem).encode()


def used(policy: Policy) -> None:
    """What a worker makes of a policy when it takes it over."""
    msgspec.json.encode(policy.document)
    if policy.evaluator is not None and policy.evaluator.url is not None:
        HttpEvaluator(policy.evaluator)
    for limit in policy.exposure:
        float(limit.at_most)


def places(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner: Any = content.items() if isinstance(content, dict) else ()
    inner = enumerate(content) if isinstance(content, list) else inner
    return [path, *(place for name, one in inner for place in places(one, (*path, name)))]


def changed(data: st.DataObject) -> Any:
    whole: Any = copy.deepcopy(WHOLE)
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(places(whole)[1:]))
        at: Any = whole
        for name in path[:-1]:
            at = at[name]
        how = data.draw(st.sampled_from(["replaced", "removed", "added"]))
        if how == "removed":
            del at[path[-1]]
        elif how == "added" and isinstance(at, dict):
            at[data.draw(st.one_of(st.text(max_size=3), st.integers(), st.just("cel"), st.just("in")))] = data.draw(
                ANYTHING
            )
        else:
            at[path[-1]] = data.draw(ANYTHING)
    return whole


def test_the_whole_document_is_right() -> None:
    document, _ = document_of(content_of(TEXT)[0])
    assert document is not None
    assert compile_policy(document, 0)[1] == []


@settings(max_examples=150, deadline=None)
@given(ANYTHING)
def test_anything_is_a_policy_or_has_problems(content: Any) -> None:
    tried(content)


@settings(max_examples=250, deadline=None)
@given(st.data())
def test_a_changed_policy_is_one_or_has_problems(data: st.DataObject) -> None:
    tried(changed(data))


@settings(max_examples=120, deadline=None)
@given(st.integers(0, len(TEXT)), st.one_of(st.sampled_from(PIECES), st.text(max_size=4)), st.integers(0, 20))
def test_any_text_is_a_policy_or_has_problems(at: int, piece: str, gone: int) -> None:
    content, problems = content_of(TEXT[:at] + piece + TEXT[at + gone :])
    if problems:
        assert len(problems) == 1
    else:
        tried(content)


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_what_is_published_stops_nobody(data: st.DataObject) -> None:
    """Also a record of somebody else's: what was in force stays, and the trouble is told."""
    try:
        document = msgspec.json.encode(changed(data))
    except (TypeError, ValueError):
        document = b"{}"
    fields: dict[str, Any] = {"workflow": "payout", "version": 2, "digest": "", "by": "ana", "why": "so", "at_ms": 5}
    if data.draw(st.booleans()):
        name = data.draw(st.sampled_from(sorted(fields)))
        fields[name] = data.draw(st.sampled_from([10**20, -1, "", "x" * 1_001, None, 0.5, [], 2**53 + 1]))
    body = msgspec.json.encode({**fields, "document": msgspec.Raw(document)})
    pointer = {**fields, "before": [{"version": 1, "pending": "keep", "by": "ana", "why": "so", "at_ms": 1}]}
    good: dict[str, Any] = {"workflow": "payout", "version": 1, "digest": "", "by": "ana", "why": "so", "at_ms": 1}
    book, compiler = Rulebook(), Compiler()
    book.take(
        0, policy_key("payout", 1).encode(), msgspec.json.encode({**good, "document": msgspec.Raw(TEXT.encode())})
    )
    book.take(1, current_key("payout").encode(), msgspec.json.encode(good))
    assert [policy.name for policy in compiler.snapshot(book.edition())[0].by_index] == ["payout@1"]
    book.take(2, policy_key("payout", 2).encode(), body)
    book.take(3, current_key("payout").encode(), msgspec.json.encode(pointer))
    snapshot, troubles = compiler.snapshot(book.edition())
    (policy,) = snapshot.by_index
    assert policy.name in ("payout@1", "payout@2")
    assert all(isinstance(trouble, str) for trouble in troubles)
    assert policy.name == "payout@2" or troubles


@pytest.mark.parametrize(
    "text", ["9" * 5_000 + "ms", "1h" * 5_000, "\u0663m", "1" * 13 + "ms", "", "1", "m", "1.5h", "-1s"]
)
def test_what_is_no_length_of_time(text: str) -> None:
    assert duration_ms(text) is None
