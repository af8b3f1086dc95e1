"""The key that a reviewer signs with: `<key-id>:<secret>`, from a file or the environment, never from an option."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from streams.errors import ConfigurationError
from streams.signatures import sign

KEY_VARIABLE = "SLUICEGATE_VERDICT_KEY"
KEY_BYTES_MAX = 64 * 1024  # of the file: keys, not a page
_WHERE = f"name a file of lines <key-id>:<secret> with --key-file or SLUICEGATE_KEY_FILE, or set {KEY_VARIABLE}"


@dataclass(frozen=True)
class Key:
    id: str
    secret: bytes = field(repr=False)


def key_of(file: Path | None, key_id: str | None) -> Key:
    """The key with this id; the only one there is, without an id. Raises ConfigurationError."""
    if file is None:
        text, where = os.environ.get(KEY_VARIABLE, ""), KEY_VARIABLE
    else:
        text, where = _read(file), str(file)
    keys = parsed(text, where)
    if not keys:
        raise ConfigurationError(f"there is no key to sign with: {_WHERE}")
    if key_id is None and len(keys) == 1:
        return keys[0]
    found = [key for key in keys if key.id == key_id]
    if not found:
        known = ", ".join(key.id for key in keys)
        asked = "say which with --key-id" if key_id is None else f"{key_id!r} is not among them"
        raise ConfigurationError(f"{where} holds the keys {known}: {asked}")
    return found[0]


def parsed(text: str, where: str) -> list[Key]:
    """The keys of a text, one a line; blank lines and those that begin with `#` are none."""
    keys = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key_id, colon, secret = line.strip().partition(":")
        if not colon or not secret:
            raise ConfigurationError(f"{where}, line {number}: expected <key-id>:<secret>")
        try:
            sign(key_id, b"", b"")
        except ValueError as error:
            raise ConfigurationError(f"{where}, line {number}: {error}") from error
        keys.append(Key(key_id, secret.encode()))
    return keys


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(KEY_BYTES_MAX).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the key file {file} cannot be read ({error}): {_WHERE}") from error
