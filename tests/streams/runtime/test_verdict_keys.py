"""The file of keys: what it gives, and what is wrong with one that gives nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.errors import ConfigurationError
from streams.review_keys import Unauthorised
from streams.runtime.verdict_keys import FILE_BYTES_MAX, read
from streams.signatures import sign

SECRET = "sixteen bytes at least"


def test_a_secret_is_in_the_file_in_a_variable_or_in_a_file_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bo.secret").write_text(f"{SECRET}\n")
    monkeypatch.setenv("DESK_SECRET", SECRET)
    file = tmp_path / "keys.yaml"
    file.write_text(
        f"""\
keys:
  one: {{secret: "{SECRET}", by: {{ana: [clerk]}}}}
  two: {{secret_env: DESK_SECRET, by: {{ana: [clerk], cy: []}}}}
  three: {{secret_file: bo.secret, by: {{bo: [controller, clerk]}}}}
"""
    )
    keys = read(file)
    for key_id, by, roles in (
        ("one", "ana", {"clerk"}),
        ("two", "cy", set()),
        ("three", "bo", {"controller", "clerk"}),
    ):
        assert keys.roles(sign(key_id, SECRET.encode(), b"v"), b"v", by) == roles
    assert keys.roles(sign("one", SECRET.encode(), b"v"), b"v", "bo") == Unauthorised(
        "verdict.by", "the key 'one' may not speak for 'bo'"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the document"),
        ("keys: [", "expected a YAML document with keys"),
        ("keys: {k: {by: {a: [b]}}}", "keys.k: found none of secret, secret_env or secret_file, expected one"),
        ("keys: {k: {secret: short, by: {a: [b]}}}", "keys.k: found a secret of 5 bytes, expected at least 16"),
        ("keys: {k: {secret: s, secret_env: e, by: {a: [b]}}}", "keys.k: found several of"),
        ("keys: {k: {secret_env: NOT_SET_HERE, by: {a: [b]}}}", "keys.k.secret_env: found no variable NOT_SET_HERE"),
        ("keys: {k: {secret_file: none, by: {a: [b]}}}", "keys.k.secret_file: found none"),
        ("keys: {k: {secret: s, by: {}}}", "keys.k.by: found nobody"),
        ("keys: {'k:1': {secret: s, by: {a: [b]}}}", "the key-id 'k:1' is not"),
        ("keys: {k: {secret: s, by: {a: [b]}, role: x}}", "unknown field role"),
        ("keys: {k: {secret: s, by: {a: b}}}", "Expected array, got str"),
        ("&a [*a]", "aliases that make more than"),
        ("keys: !!bool x", "expected a YAML document with keys"),
        ("keys: !!set {k}", "keys: "),
        ("keys: {k: {secret: !!binary '%', by: {a: [b]}}}", "Expected str | null"),
    ],
)
def test_a_file_that_is_wrong_says_where_and_what_is_expected(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as error:
        read(file)
    assert str(error.value).startswith(str(file))
    assert said in str(error.value)


def test_a_file_that_is_not_there_or_far_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        read(tmp_path / "none.yaml")
    (tmp_path / "large.yaml").write_text("#" * (FILE_BYTES_MAX + 1))
    with pytest.raises(ConfigurationError, match="expected a list of keys"):
        read(tmp_path / "large.yaml")
