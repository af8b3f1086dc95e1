"""The answer to a record that is shed, as the bytes and headers that go out: id, source and hash, not the body.

It has to cost little, so only what varies is made for each; the rest is made once for all of a batch that are shed for
the same reason. Field by field it is an `ExceptionRecord`: a test reads the bytes back into one.
"""

from __future__ import annotations

from hashlib import sha256

import msgspec

from schemas import headers as names
from schemas.common import Source
from schemas.exception import ExceptionRecord
from streams.batch import Fetched, Headers, Refused, Sent
from streams.foreign import own
from streams.glance import Glance
from streams.headers import Came, HeaderSettings, answer_headers, dead_letter_of
from streams.policy import Policy

SHED = "shed.overload"
STAGE = "shedding"
_SUFFIX = f":{SHED}".encode()
_encode = msgspec.json.Encoder().encode
_members = own(dict[str, msgspec.Raw])


class _Varies(msgspec.Struct, frozen=True, gc=False):
    exception_id: str
    decision_id: str
    entity: str
    age_ms: int
    value_minor: int | None
    currency: str | None
    deadline_ms: int
    final_deadline_ms: int
    raw_sha256: str
    raw_bytes: int


_SAME = tuple(name for name in ExceptionRecord.__struct_fields__ if name not in (*_Varies.__struct_fields__, "source"))


class Answers:
    """Answers records of one batch that are shed for one reason under one policy and budget."""

    def __init__(
        self, batch: Fetched, policy: Policy, budget_ms: int, refused: Refused, now_ms: int, settings: HeaderSettings
    ) -> None:
        self.workflow = policy.workflow
        self.count = 0  # how many it has answered
        self._batch = batch
        self._refused = refused
        self._now_ms = now_ms
        self._budget_ms = budget_ms
        self._total_ms = policy.freshness.total_ms
        self._settings = settings
        self._same = _same(policy, budget_ms, refused, now_ms, batch)
        self._named = f"exception:{batch.topic}/{batch.partition}/".encode()  # as `exception_id` has it
        self._headers = list(self._all_headers("", "", 0, ()))
        found = [name for name, _ in self._headers]
        self._id_at = found.index(names.CE_ID) if names.CE_ID in found else None
        self._subject_at = found.index(names.CE_SUBJECT) if names.CE_SUBJECT in found else None
        self._offset_at = found.index(names.DLQ_OFFSET)

    def answer(self, index: int, seen: Glance) -> Sent:
        """The exception that record `index` of the batch ends in."""
        self.count += 1
        batch = self._batch
        value, offset = batch.values[index] or b"", b"%d" % batch.offsets[index]
        identifier = "x-" + sha256(self._named + offset + _SUFFIX).hexdigest()[:32]
        observed_ms, expires_ms = seen.observed_at_ms, seen.expires_at_ms
        deadline_ms, final_ms = observed_ms + self._budget_ms, observed_ms + self._total_ms
        if expires_ms is not None:
            deadline_ms, final_ms = min(deadline_ms, expires_ms), min(final_ms, expires_ms)
        varies = _Varies(
            identifier,
            seen.id,
            seen.entity,
            self._now_ms - observed_ms if observed_ms < self._now_ms else 0,
            seen.value_minor,
            seen.currency,
            deadline_ms,
            final_ms,
            sha256(value).hexdigest(),
            len(value),
        )
        headers = self._headers_of(identifier, batch.keys[index] or b"", offset, index)
        text = b"".join((_encode(varies)[:-1], self._same, offset, b"}}"))
        return Sent("exceptions", batch.keys[index], text, headers)

    def _headers_of(self, identifier: str, entity: bytes, offset: bytes, index: int) -> Headers:
        came = None if self._batch.headers is None else self._batch.headers[index]
        if came:
            return self._all_headers(identifier, entity.decode(), int(offset), came)
        made = self._headers.copy()
        if self._id_at is not None and self._subject_at is not None:
            made[self._id_at] = names.CE_ID, identifier.encode()
            made[self._subject_at] = names.CE_SUBJECT, entity
        made[self._offset_at] = names.DLQ_OFFSET, offset
        return tuple(made)

    def _all_headers(self, identifier: str, entity: str, offset: int, came: Came) -> Headers:
        source = Source(self._batch.topic, self._batch.partition, offset)
        return answer_headers("exceptions", identifier, entity, None, came, self._settings) + dead_letter_of(
            source, 1, STAGE, self._refused, came, self._settings
        )


def _same(policy: Policy, budget_ms: int, refused: Refused, now_ms: int, batch: Fetched) -> bytes:
    """What all of them have in common, from the comma on, and their source up to the offset."""
    whole = ExceptionRecord(
        exception_id="",
        kind="disposition",
        decision_id=None,
        workflow=policy.workflow,
        entity=None,
        reason=SHED,
        stage=STAGE,
        detail=refused.detail,
        age_ms=None,
        budget_ms=budget_ms,
        policy=policy.name,
        rule=None,
        attempt=1,
        first_reason=SHED,
        fingerprint=None,
        value_minor=None,
        currency=None,
        caused_by=None,
        gated_at_ms=now_ms,
        deadline_ms=None,
        final_deadline_ms=None,
        stages_ms=None,
        decision=msgspec.Raw(b"null"),
        raw=None,
        raw_sha256="0" * 64,
        raw_bytes=0,
        source=Source("", 0, 0),
        trace=[],
    )
    fields = _members(_encode(whole))
    same = b"," + _encode({name: fields[name] for name in _SAME if name in fields})[1:-1]
    return same + b',"source":{"topic":%s,"partition":%d,"offset":' % (_encode(batch.topic), batch.partition)
