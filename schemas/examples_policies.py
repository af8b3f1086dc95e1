"""What stands on `policies` and `workers` around the decision of `schemas.examples`."""

from __future__ import annotations

from msgspec import Raw

from schemas.heartbeat import Heartbeat
from schemas.identifiers import action_digest
from schemas.published import Current, Halt, Move, Preapproval, PublishedPolicy, Recall

_OBSERVED_MS = 1_764_000_000_000
_POLICY = (
    b'{"workflow":"billing","version":3,"freshness":{"budget":"10m"},'
    b'"boundary":{"rules":[{"name":"small-and-sure","then":"autonomous"}]}}'
)
_APPLIED_MS = _OBSERVED_MS - 86_400_000
PUBLISHED = PublishedPolicy(
    workflow="billing",
    version=3,
    document=Raw(_POLICY),
    digest=action_digest(_POLICY),
    by="olga",
    why="small invoices may go out alone",
    at_ms=_APPLIED_MS,
)
CURRENT = Current(
    workflow="billing",
    version=3,
    pending="keep",
    by=PUBLISHED.by,
    why=PUBLISHED.why,
    at_ms=_APPLIED_MS,
    before=[Move(2, "reevaluate", "olga", "the new rates", _APPLIED_MS - 86_400_000)],
)
HALT = Halt(True, "the rates of today are wrong", "ana", _OBSERVED_MS + 120_000)
RECALL = Recall("the account is closed", "ana", _OBSERVED_MS + 20)
HEARTBEAT = Heartbeat(
    worker="executor/erp-2/5c1d0a9e",
    role="executor",
    at_ms=HALT.at_ms + 40,
    every_ms=5_000,
    policies_offset=118,
)
PREAPPROVAL = Preapproval(
    id="year-end",
    workflow="billing",
    segment="fleet-2",
    value_minor_at_most=500_000,
    currency="USD",
    from_ms=_OBSERVED_MS,
    until_ms=_OBSERVED_MS + 3 * 86_400_000,
    by="ana",
    why="the closing of the year",
    at_ms=_OBSERVED_MS - 3_600_000,
)
