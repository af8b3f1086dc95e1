"""The slow road: what CONTRACT refuses in a value as such, told precisely."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.strict_json import examine
from tests.corpus.cases import CASES, Case
from tests.streams.making import NOW_MS

AS_SUCH = [case for case in CASES if case.reason in ("invalid.encoding", "invalid.json")]
FINE = [case for case in CASES if case.reason in (None, "invalid.key", "invalid.time", "invalid.future")]


def sent(case: Case) -> bytes:
    value = case.at(NOW_MS)
    assert value is not None
    return value


@pytest.mark.parametrize("case", AS_SUCH, ids=lambda case: case.name)
def test_tells_what_is_wrong_with_the_bytes(case: Case) -> None:
    problem = examine(sent(case))
    assert problem is not None
    assert problem[0] == case.reason
    assert 10 < len(problem[1]) < 300


@pytest.mark.parametrize("case", FINE, ids=lambda case: case.name)
def test_finds_nothing_in_what_is_strict_json(case: Case) -> None:
    assert examine(sent(case)) is None


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (b'"\xff"', "the value is not UTF-8: byte 1 cannot be read"),
        (b'"\xef\xbb\xbf"', "the value has a byte order mark at byte 1"),
        (rb'{"a":"\ud800"}', "the value has a lone surrogate escaped at byte 6"),
        (rb'"\ud83d\ude00\ud83d"', "the value has a lone surrogate escaped at byte 13"),
        (b"[" * 65 + b"]" * 65, "nested 65 deep; at most 64 is allowed"),
        (b"1" * 301, "a number of 301 digits; at most 300 are allowed"),
        (b"1", "the value is JSON but no object"),
        (b'{"a":1,"a":2}', "a: the field stands twice"),
        (b'{"attributes":{"a":1,"a":2}}', "attributes.a: the field stands twice"),
        (b'{"action":{"type":1,"type":2}}', "action.type: the field stands twice"),
        (b'{"action":[{"type":1},{"x":[0,{"b":1,"b":1}]}]}', "action[1].x[1].b: the field stands twice"),
    ],
)
def test_the_sentence_says_what_and_where(value: bytes, sentence: str) -> None:
    problem = examine(value)
    assert problem is not None and problem[1] == sentence


# st.text() makes no surrogates unless asked; U+FEFF is a byte order mark once it is encoded
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff"))
INTEGERS = st.integers(-(2**80), 2**80)


@given(st.dictionaries(TEXT, st.recursive(st.none() | INTEGERS | TEXT, st.lists, max_leaves=20)))
def test_accepts_what_the_standard_library_writes(value: dict[str, object]) -> None:
    """Escaped or not: no false alarm."""
    assert examine(json.dumps(value).encode()) is None
    assert examine(json.dumps(value, ensure_ascii=False).encode()) is None


HALF = 128 * 1024
ADVERSARIAL = {
    "quotes": b'"' * 2 * HALF,
    "backslashes": b"\\" * 2 * HALF,
    "an open string of backslashes": b'"' + b"\\" * 2 * HALF,
    "escaped quotes": b'\\"' * HALF,
    "quote and backslash": b'"\\' * HALF,
    "open brackets": b"[" * 2 * HALF,
    "brackets": b"[]" * HALF,
    "open objects": b'{"":' * (HALF // 2),
    "digits": b"1" * 2 * HALF,
    "numbers": b"1 " * HALF,
    "minus": b"-" * 2 * HALF,
    "exponents": b"1e" * HALF,
    "escapes": rb"\ud83d" * (HALF // 3),
    "an open string of escapes": b'"' + rb"\ud83d\ude00" * (HALF // 6),
    "unicode escapes cut short": rb"\u" * HALF,
    "byte order marks": b"\xef\xbb" * HALF,
    "colons": b'{"a":1' + b":" * 2 * HALF,
    "one name": b"{" + b'"a":1,' * (HALF // 3) + b'"a":1}',
    "many names": b"{" + b",".join(b'"%d":1' % n for n in range(HALF // 6)) + b"}",
    "types": b'{"action":{' + b",".join([b'"t":1'] * (HALF // 3)) + b"}}",
    "arrays of numbers": b'{"a":[' + b",".join([b"1"] * HALF) + b"]}",
}


@pytest.mark.parametrize("value", ADVERSARIAL.values(), ids=ADVERSARIAL)
@pytest.mark.timeout(20)
def test_answers_in_time_on_values_of_the_largest_size_made_to_be_slow(value: bytes) -> None:
    """What grows faster than the value would not come back before the timeout: 256 KiB squared is an hour."""
    examine(value)
