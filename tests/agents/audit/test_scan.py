"""The quick way and the slow way to a member's exact text agree, on anything that JSON can look like."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.audit.scan import document, walk

NAMES = st.sampled_from(["action", 'x"action', "action ", "id", '"action"', "Action", "\\", ""])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | NAMES
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS | st.text(), lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner), max_leaves=8
)
SPACE = st.text(" \t\n\r", max_size=2)


@st.composite
def objects(draw: st.DrawFn) -> tuple[str, str | None, bool]:
    """An object's text, the text of its last `action`, and whether a name stands in it twice."""
    seen: list[str] = []
    members, wanted = [], None
    for _ in range(draw(st.integers(0, 5))):
        name, value = draw(NAMES), json.dumps(draw(VALUES), indent=draw(st.sampled_from([None, 1])))
        spelt = "".join(f"\\u{ord(sign):04x}" for sign in name) if draw(st.booleans()) else json.dumps(name)[1:-1]
        members.append(f'{draw(SPACE)}"{spelt}"{draw(SPACE)}:{draw(SPACE)}{value}{draw(SPACE)}')
        seen.append(name)
        wanted = value if name == "action" else wanted
    return f"{draw(SPACE)}{{{','.join(members)}{draw(SPACE)}}}{draw(SPACE)}", wanted, len(set(seen)) < len(seen)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(objects())
def test_the_text_of_a_member_is_found_in_both_ways(case: tuple[str, str | None, bool]) -> None:
    text, wanted, repeated = case
    found = document(text.encode(), "action")
    assert found is not None
    assert (found.fields, found.verbatim, found.repeated) == (json.loads(text), wanted, repeated)
    assert walk(text, "action") == found


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "{",
            "{}x",
            "[]",
            "1",
            '{"a"}',
            '{"a":}',
            '{"a":1,}',
            "{,}",
            '{"a":1 "b":2}',
            '{"a":01}',
            "{a:1}",
            "{}{}",
        ),
        *('{"a":NaN}', '{"a":-Infinity}', '{"a":"\t"}', "\ufeff{}", "\u00a0{}", '{"a":1]', '{"action":1,"action":}'),
    ],
)
def test_what_is_no_json_object_is_refused_in_both_ways(text: str) -> None:
    assert document(text.encode(), "action") is None
    with pytest.raises(ValueError):  # noqa: PT011 - of any kind: json's own or ours
        walk(text, "action")


def test_bytes_that_are_not_utf8_and_nesting_without_end_are_no_json_object() -> None:
    assert document(b'{"a":"\xff"}', "action") is None
    assert document(b'{"action":' + b"[" * 100_000, "action") is None
    assert document(None, "action") is None
