"""The roles of a worker, each put together from what it needs: one name, one process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agents import exposure, gate, reevaluation, reviews
from streams.errors import ConfigurationError
from streams.headers import HeaderSettings
from streams.path import Snapshot
from streams.review_keys import NO_KEYS
from streams.runtime import verdict_keys
from streams.runtime.clock import clock_ms
from streams.runtime.evaluators import Evaluators
from streams.runtime.in_force import InForce
from streams.runtime.leases import Leases
from streams.runtime.metrics import Meter
from streams.runtime.settings import Kafka, Role
from streams.runtime.world import Needs
from streams.window import IDS_MAX


async def _nothing() -> None:
    return


@dataclass(frozen=True, slots=True)
class Given:
    """What a process is told about its work. `partitions`: of the data topics."""

    kafka: Kafka
    group: str
    partitions: int
    meter: Meter
    headers: HeaderSettings
    window_ids: int = IDS_MAX
    capacity_per_s: float | None = None
    verdict_keys: Path | None = None

    def in_force(self, needs_of: Callable[..., Needs]) -> InForce:
        return InForce(self.kafka, needs_of, clock_ms, self.meter, self.headers)


@dataclass(frozen=True, slots=True)
class Assembled:
    """A role and what runs beside it. `check` is awaited once the policies are read, and raises ConfigurationError."""

    role: Role
    in_force: InForce
    beside: Sequence[Callable[[], Awaitable[None]]] = ()
    check: Callable[[], Awaitable[None]] = field(default=_nothing)
    close: Callable[[], Awaitable[None]] = field(default=_nothing)


def _gate(given: Given) -> Assembled:
    in_force, leases = given.in_force(Needs.of_gate), Leases(given.kafka, given.partitions, clock_ms)
    role = gate.role(given.group, in_force, given.headers, given.window_ids, given.capacity_per_s, leases)
    return Assembled(role, in_force, (leases.run,))


def _reevaluation(given: Given) -> Assembled:
    evaluators = Evaluators(Snapshot(()), given.meter.asked)
    in_force = InForce(given.kafka, Needs.of_reevaluation, clock_ms, given.meter, given.headers, ready=evaluators.adopt)

    async def check() -> None:
        if wrong := await evaluators.check():
            raise ConfigurationError("the evaluators cannot be used:\n" + "\n".join(f"  {one}" for one in wrong))

    role = reevaluation.role(given.group, in_force, evaluators, clock_ms, given.headers)
    return Assembled(role, in_force, check=check, close=evaluators.close)


def _reviews(given: Given) -> Assembled:
    in_force = given.in_force(Needs.of_reviews)
    keys = NO_KEYS if given.verdict_keys is None else verdict_keys.read(given.verdict_keys)
    return Assembled(reviews.role(given.group, in_force, clock_ms, keys, given.headers), in_force)


def _exposure(given: Given) -> Assembled:
    in_force = given.in_force(lambda policies: Needs(None))
    return Assembled(exposure.role(given.group, in_force, given.partitions, given.headers), in_force)


ROLES: Mapping[str, Callable[[Given], Assembled]] = {
    gate.NAME: _gate,
    reevaluation.NAME: _reevaluation,
    reviews.NAME: _reviews,
    exposure.NAME: _exposure,
}
