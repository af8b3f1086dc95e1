"""Records that are CloudEvents, and records that are nearly so, for the tests of whoever reads them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from streams.batch import Decided
from tests.streams.making import NOW_MS, decided, decision, encoded, fetched, outcomes, policy

Pairs = Sequence[tuple[str, bytes | None]]
STRUCTURED = (("content-type", b"application/cloudevents+json"),)
# everything goes to a person, so the decision can be seen as the gate has read it
TO_A_PERSON = policy([])


def binary(**attributes: str | None) -> Pairs:
    named = {"specversion": "1.0", "id": "e-1", "source": "/rater", "type": "decision", **attributes}
    return tuple((f"ce_{name}", text.encode()) for name, text in named.items() if text is not None)


def envelope(data: Any = ..., **attributes: Any) -> bytes:
    named = {"specversion": "1.0", "id": "e-1", "source": "/rater", "type": "decision", **attributes}
    named |= {"data": decision() if data is ... else data}
    return encoded({name: value for name, value in named.items() if value is not ...})


def gated(value: Any, headers: Pairs, key: bytes = b"acct-17", **about: Any) -> Decided:
    """What becomes of one record with these headers."""
    return decided(replace(fetched([value], keys=[key], **about), headers=[tuple(headers)]))


def outcome(value: Any, headers: Pairs, **about: Any) -> str:
    (one,) = outcomes(gated(value, headers, **about))
    return one


SOON_MS = NOW_MS + 5_000
SOON = "2025-11-24T16:00:05Z"

NAMES = st.sampled_from(
    [
        "ce_specversion",
        "ce_id",
        "ce_source",
        "ce_time",
        "ce_expirytime",
        "CE_TIME",
        "content-type",
        "Content-Type",
        "traceparent",
        "tracestate",
        "__dlq.errors.topic",
        "__dlq.errors.message",
        "__dlq.errors.delivery.count",
        "",
        "ce_",
    ]
) | st.text(max_size=8)
TEXTS = st.sampled_from(
    [
        b"1.0",
        b"application/cloudevents+json",
        b"application/cloudevents-batch+json",
        b"application/json",
        SOON.encode(),
        b"9999-12-31T23:59:60-23:59",
        b"\xff",
        b"",
        b"/rater",
    ]
)
LOOSE = st.lists(st.tuples(NAMES, st.none() | TEXTS | st.binary(max_size=12)), max_size=4).map(tuple)
HEADERS = st.tuples(st.sampled_from([(), binary(source=None), binary(expirytime=SOON), STRUCTURED]), LOOSE).map(
    lambda parts: (*parts[0], *parts[1])
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
VALUES = (
    st.sampled_from(
        [encoded(decision()), envelope(), envelope(time="x"), encoded(decision(value_minor=9_999_999)), b"", None]
    )
    | st.binary(max_size=20)
    | JSON.map(lambda value: json.dumps(value).encode())
    | JSON.map(envelope)
    | st.dictionaries(st.sampled_from(["id", "time", "expirytime", "source", "type", "data", "specversion"]), JSON).map(
        lambda fields: envelope(**fields)
    )
)
