"""Context: the present state of the entities, by version; what a decision rests on may have changed since.

A view knows one partition number of the topic `context`. Its memory is bounded: an entity takes at most 16 bytes and a
few numbers, and there are at most so many. What it does not know has no version: nothing acts on what it cannot check.

`context` is compacted, so what a view has seen of the past depends on when it began to read. It only ever errs to the
safe side: of an entity that it meets for the first time, everything has changed with the version it met. And compaction
keeps the last record of a key, whatever is in it: after a rebuild one that was refused before, for its falling version,
may be all there is, and is then the present one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from hashlib import blake2b
from typing import Annotated, NamedTuple, Protocol

from msgspec import Meta, Raw, Struct

from schemas.common import TIME_MS_MAX, VALUE_BYTES_MAX, Id, Version
from schemas.reevaluation import PresentContext
from schemas.rejection import Reason
from streams.foreign import Reader, Unreadable, json_of
from streams.policy import Policy

ENTITIES_MAX = 1_000_000  # per partition number; about 145 MB without states
STATE_BYTES_MAX = 512 * 1024 * 1024  # per partition number: states may be large, and the count alone bounds nothing

_NUMBER = struct.Struct(">Q")  # the version; and at_ms before a state
_FIELD = struct.Struct(">8sQ")  # digest of the value, the version with which it last changed
_DIGEST_BYTES = 16
_ABSENT = bytes(8)  # the digest of a field that is not there


class Contexts(Protocol):
    """What the path asks about the context of the entities of one partition number."""

    def version(self, entity: str) -> int | None:
        """The present version; None where the entity has no context (any more)."""

    def changed(self, entity: str, since: int, fields: frozenset[str]) -> bool:
        """Whether one of `fields` (of its state; empty: anything) has changed after version `since`.

        Where that is not known, because older versions were never seen, the answer is yes.
        """


class _NoContext:
    def version(self, entity: str) -> int | None:
        return None

    def changed(self, entity: str, since: int, fields: frozenset[str]) -> bool:
        return True


NO_CONTEXT: Contexts = _NoContext()


class Rejected(NamedTuple):
    """Why a record is not a context: data, not a Python exception."""

    reason: Reason
    detail: str


class _Record(Struct, gc=False):
    entity: Id
    at_ms: Annotated[int, Meta(ge=0, le=TIME_MS_MAX)]
    state: Raw
    version: Version | None = None


_record = Reader(_Record, again=False)  # its numbers are bounded where they stand, and its state is read as a whole
_fields_of = Reader(dict[str, Raw], again=False)


def watched(policies: Iterable[Policy]) -> frozenset[str] | None:
    """The fields that some policy names, for `ContextView`; None when no policy looks at context at all."""
    named = [one.freshness.context for one in policies if one.freshness.context is not None]
    return frozenset().union(*named) if named else None


class ContextView:
    """The context of the entities of one partition number: their versions, and the states where `keep_state`.

    `fields` are watched: of each the version with which it last changed is known. Values are compared byte for byte, so
    another order of an object's keys counts as a change too. `entities_max` and, for states, `state_bytes_max` bound
    it; an entity for which there is no room is forgotten and counted in `not_kept`.
    """

    def __init__(
        self,
        fields: frozenset[str] = frozenset(),
        keep_state: bool = False,
        entities_max: int = ENTITIES_MAX,
        state_bytes_max: int = STATE_BYTES_MAX,
    ) -> None:
        self.not_kept = 0  # records that brought an entity there was no room for
        self._fields = tuple(sorted(fields))
        self._at = {name: _NUMBER.size + index * _FIELD.size for index, name in enumerate(self._fields)}
        self._state_at = _NUMBER.size + len(self._fields) * _FIELD.size
        self._keep_state = keep_state
        self._entities_max = entities_max
        self._bytes_max = state_bytes_max if keep_state else entities_max * self._state_at
        self._bytes = 0
        self._entries: dict[bytes, bytes] = {}  # by entity: version, fields, at_ms and state

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def overflowed(self) -> bool:
        """Whether there may be entities with a context that this view does not know."""
        return self.not_kept > 0

    def apply(self, key: bytes | None, value: bytes | None) -> Rejected | None:
        """Takes in one record of `context`, or says why it is none; then the present context stays as it is.

        A null value removes the entity; what comes after that begins anew, with whatever version.
        """
        if key is None:
            return Rejected("invalid.key", "the record has no key, which is the entity")
        digest = _digest(key)
        if value is None:
            self._forget(digest)
            return None
        record = _read(key, value)
        if isinstance(record, Rejected):
            return record
        version = record.version
        if version is None:
            return Rejected("version.absent", f"the context of {record.entity} has no version")
        known = self._entries.get(digest)
        if known is not None and version <= (present := _version(known)):
            told = f"version {version} of the context of {record.entity} comes after version {present}"
            return Rejected("version.falling", told)
        self._keep(digest, known, self._packed(record, version, known))
        return None

    def version(self, entity: str) -> int | None:
        """The present version; None where there is none, or none is known because the view is full."""
        entry = self._entries.get(_digest(entity.encode()))
        return None if entry is None else _version(entry)

    def changed(self, entity: str, since: int, fields: frozenset[str]) -> bool:
        """See `Contexts`. A field that is not watched counts as changed with every version."""
        entry = self._entries.get(_digest(entity.encode()))
        if entry is None:
            return True
        if not fields or not self._at.keys() >= fields:
            return _version(entry) > since
        return any(_FIELD.unpack_from(entry, self._at[name])[1] > since for name in fields)

    def present(self, entity: str) -> PresentContext | None:
        """The context as an evaluator is shown it; None where there is none, or no states are kept."""
        entry = self._entries.get(_digest(entity.encode()))
        if entry is None or not self._keep_state:
            return None
        (at_ms,) = _NUMBER.unpack_from(entry, self._state_at)
        return PresentContext(_version(entry), at_ms, Raw(entry[self._state_at + _NUMBER.size :]))

    def _packed(self, record: _Record, version: int, known: bytes | None) -> bytes:
        packed = _NUMBER.pack(version)
        if self._fields:
            state = _fields_of(record.state)
            assert not isinstance(state, Unreadable), "it was read as an object"
            for name, at in self._at.items():
                digest = blake2b(state[name], digest_size=8).digest() if name in state else _ABSENT
                since = version
                if known is not None and known[at : at + 8] == digest:
                    since = _FIELD.unpack_from(known, at)[1]
                packed += _FIELD.pack(digest, since)
        return packed + _NUMBER.pack(record.at_ms) + bytes(record.state) if self._keep_state else packed

    def _keep(self, digest: bytes, known: bytes | None, entry: bytes) -> None:
        grown = len(entry) - len(known or b"")
        if self._bytes + grown > self._bytes_max or (known is None and len(self._entries) >= self._entities_max):
            self._forget(digest)  # its old version is not the present one
            self.not_kept += 1
            return
        self._entries[digest] = entry
        self._bytes += grown

    def _forget(self, digest: bytes) -> None:
        self._bytes -= len(self._entries.pop(digest, b""))


def _read(key: bytes, value: bytes) -> _Record | Rejected:
    if len(value) > VALUE_BYTES_MAX:
        return Rejected("invalid.oversized", f"the value has {len(value)} bytes, more than {VALUE_BYTES_MAX}")
    record = _record(value)
    if isinstance(record, Unreadable):
        told = "it is not a context" if record.part == "schema" else "the value cannot be read"
        return Rejected("invalid.schema" if record.part == "schema" else "invalid.json", f"{told}: {record.why}")
    state = json_of(memoryview(record.state))
    if isinstance(state, Unreadable):
        return Rejected("invalid.json", f"the value cannot be read: {state.why}")
    if not isinstance(state, dict):
        return Rejected("invalid.schema", "it is not a context: `state` is no object")
    if record.entity.encode() != key:
        return Rejected("invalid.key", f"its key is not its entity, {record.entity}")
    return record


def _digest(key: bytes) -> bytes:
    """A short one stands for itself; none that long could be taken for the digest of another."""
    return key if len(key) < _DIGEST_BYTES else blake2b(key, digest_size=_DIGEST_BYTES).digest()


def _version(entry: bytes) -> int:
    return int.from_bytes(entry[: _NUMBER.size])
