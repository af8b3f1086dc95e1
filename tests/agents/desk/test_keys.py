"""The reviewer's key: from a file or the environment, named where there are several, never guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.desk.keys import KEY_VARIABLE, Key, key_of
from streams.errors import ConfigurationError


def test_a_key_comes_from_a_file_of_lines(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# mine\nana-1:se:cret\n\nana-2:other\n")
    assert key_of(file, "ana-1") == Key("ana-1", b"se:cret")
    with pytest.raises(ConfigurationError, match="holds the keys ana-1, ana-2: say which"):
        key_of(file, None)


def test_a_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "ana-1:secret")
    assert key_of(None, None) == Key("ana-1", b"secret")
    assert "secret" not in repr(key_of(None, None))
    monkeypatch.delenv(KEY_VARIABLE)
    with pytest.raises(ConfigurationError, match="no key to sign with"):
        key_of(None, None)


@pytest.mark.parametrize("line", ["secret", "k:", ":secret", "k 1:secret"])
def test_a_line_that_is_no_key_is_named_and_not_repeated(tmp_path: Path, line: str) -> None:
    file = tmp_path / "keys"
    file.write_text(f"good:one\n{line}\n")
    with pytest.raises(ConfigurationError, match="line 2") as caught:
        key_of(file, "good")
    assert "secret" not in str(caught.value).replace("<secret>", "")
