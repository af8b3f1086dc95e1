"""The file of keys: who may sign verdicts, for whom, and in which roles.

keys:
  desk-1:
    secret_env: DESK_1_SECRET      # or secret_file: a path, seen from this file; or secret: the text itself
    by: {ana: [clerk], bo: [clerk, controller]}
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from streams.errors import ConfigurationError
from streams.foreign import text_of
from streams.foreign import told as told_of
from streams.review_keys import Key, Keys
from streams.runtime.policies import content_of
from streams.signatures import sign

FILE_BYTES_MAX = 1024 * 1024
SECRET_BYTES_MIN = 16  # a shorter one can be tried out against a signature that was seen
_HOW = "secret, secret_env or secret_file"


class _Key(msgspec.Struct, forbid_unknown_fields=True):
    by: dict[str, list[str]]
    secret: str | None = None
    secret_env: str | None = None
    secret_file: str | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True):
    keys: dict[str, _Key]


def read(file: Path) -> Keys:
    """The keys in a YAML file. Raises ConfigurationError that says where in it what was found, and what is expected."""
    try:
        with file.open("rb") as opened:
            text = opened.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigurationError(f"the file of keys {file} cannot be read: {error.strerror}") from error
    if len(text) > FILE_BYTES_MAX:
        raise ConfigurationError(f"{file}: found more than {FILE_BYTES_MAX} bytes, expected a list of keys")
    content, problems = content_of(text_of(text) or "- not UTF-8")
    for path, told, _ in problems:
        raise ConfigurationError(f"{file}: {path or 'the document'}: found {told}, expected a YAML document with keys")
    try:
        found = msgspec.convert(content, _File)
    except msgspec.ValidationError as error:
        what, _, path = str(error).replace("`", "").partition(" - at $.")
        raise ConfigurationError(f"{file}: {path or 'the document'}: {what}") from error
    except (ValueError, RecursionError, OverflowError) as error:
        raise ConfigurationError(f"{file}: found {told_of(error)}, expected a YAML document with keys") from error
    return Keys({name: _key(file, name, given) for name, given in found.keys.items()})


def _key(file: Path, name: str, given: _Key) -> Key:
    path = f"{file}: keys.{name}"
    try:
        sign(name, b"", b"")
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    if not given.by:
        raise ConfigurationError(f"{path}.by: found nobody, expected persons and their roles")
    secret = _secret(file, path, given)
    if len(secret) < SECRET_BYTES_MIN:
        raise ConfigurationError(f"{path}: found a secret of {len(secret)} bytes, expected at least {SECRET_BYTES_MIN}")
    return Key(secret, {person: frozenset(roles) for person, roles in given.by.items()})


def _secret(file: Path, path: str, given: _Key) -> bytes:
    stated = [one for one in (given.secret, given.secret_env, given.secret_file) if one is not None]
    if len(stated) != 1:
        raise ConfigurationError(f"{path}: found {'none' if not stated else 'several'} of {_HOW}, expected one")
    if given.secret is not None:
        return given.secret.encode()
    if given.secret_env is not None:
        text = os.environ.get(given.secret_env)
        if text is None:
            raise ConfigurationError(f"{path}.secret_env: found no variable {given.secret_env}, expected it to be set")
        return text.encode()
    assert given.secret_file is not None
    try:
        return (file.parent / given.secret_file).read_bytes().strip()
    except OSError as error:
        told = f"{path}.secret_file: found {given.secret_file} ({error.strerror}), expected a file with the secret"
        raise ConfigurationError(told) from error
