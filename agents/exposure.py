"""The allocator: reads on `workers` what gates ask for, and leases out the pools of shared exposure limits, to one gate
or another. One owner at a time, exactly once: what it has granted is in its changelog, in the transaction of the grant.

Its own grants and the heartbeats of workers come in as well; they are passed over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import structlog

from schemas.lease import DEMAND, Demand, lease_key
from streams.batch import Fetched, Sent
from streams.encoding import readable
from streams.exposure_terms import ExposureTerms
from streams.foreign import Reader, Unreadable
from streams.headers import DEFAULTS, HeaderSettings
from streams.leases import Ledger
from streams.policy import Policy
from streams.rejections import rejection
from streams.runtime.in_force import InForce
from streams.runtime.settings import Role
from streams.runtime.stage import Batch

log = structlog.get_logger()

NAME = "exposure"
_demand = Reader(Demand)


class ExposureStage:
    """The one partition number of `workers`, and the book of what was granted. `partitions`: of `decisions`."""

    intact = False  # one demand after the other is entered

    def __init__(self, number: int, in_force: InForce, partitions: int, headers: HeaderSettings = DEFAULTS) -> None:
        self._number = number
        self._in_force = in_force
        self._headers = headers
        self._ledger = Ledger(partitions)
        self._policies: Sequence[Policy] = ()

    def restore(self, changelog: Mapping[str, bytes], now_ms: int) -> None:
        self._ledger.restore(changelog)

    async def learn(self, goes_on: Callable[[], None]) -> None:
        """Reads what is in force."""
        await self._in_force.complete(self._number, goes_on)

    async def prepare(self, fetched: Sequence[Fetched]) -> None:
        """Nothing takes time here."""

    def due_ms(self) -> int | None:
        """Nothing is due that no record asks for."""
        return None

    def committed(self) -> None:
        """Nothing is left to do."""

    def undone(self) -> bool:
        """What was granted stands in the book already."""
        return False

    def decide(self, fetched: Sequence[Fetched], now_ms: int, commit_ms: int = 0) -> Batch:
        """An answer to each demand that is of a limit in force, and to what cannot be read; nothing to the others."""
        policies = self._in_force.snapshot.by_index
        if policies is not self._policies:
            self._policies = policies
            self._ledger.limits = {(one.workflow, one.name): one for one in limits_of(policies)}
        self._ledger.begin(now_ms)
        records = [*_refused(fetched, self._headers)]
        granted: set[str] = set()
        amounts: Counter[tuple[str, str, str]] = Counter()
        for demand in demands(fetched):
            answer = self._ledger.hear(demand)
            if answer is None:
                continue
            account = demand.account
            key = lease_key(account.id, demand.partition).encode()
            records.append(Sent("workers", key, readable(answer.lease)))
            if answer.amount:
                granted.add(account.id)
                amounts["leased", account.workflow, account.limit] += answer.amount
        return Batch(records, self._ledger.written(granted), None, exposed=amounts)


def _refused(fetched: Sequence[Fetched], headers: HeaderSettings) -> Iterator[Sent]:
    """What stands for records that cannot be read, or decided."""
    for batch in fetched:
        for offset, why in (batch.unread or {}).items():
            index = batch.offsets.index(offset)
            yield rejection(batch.place(index), batch.keys[index], batch.values[index], why.reason, why.detail, headers)


def limits_of(policies: Sequence[Policy]) -> list[ExposureTerms]:
    """The limits that are leased out."""
    return [terms for one in policies for terms in one.exposure if not terms.of_entity]


def demands(fetched: Sequence[Fetched]) -> list[Demand]:
    """The demands among the records of `workers`, in their order."""
    found = []
    for batch in fetched:
        for offset, key, value in zip(batch.offsets, batch.keys, batch.values, strict=True):
            if batch.unread is not None and offset in batch.unread:
                continue
            if key is None or value is None or not key.startswith(DEMAND.encode()):
                continue
            demand = _demand(value)
            if isinstance(demand, Unreadable):
                log.warning("a demand cannot be read", offset=offset, why=demand.why)
            else:
                found.append(demand)
    return found


def role(group: str, in_force: InForce, partitions: int, headers: HeaderSettings = DEFAULTS) -> Role:
    """The allocator's role. `partitions`: how many `decisions` has."""
    return Role(
        NAME,
        group,
        ("workers",),
        lambda number: ExposureStage(number, in_force, partitions, headers),
        released=in_force.drop,
        loses_quietly=True,  # heartbeats are kept for a day; demands and leases carry totals and come again
    )
