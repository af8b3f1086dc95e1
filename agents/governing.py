"""Changing what is in force, and waiting until everybody who lives has it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from schemas.heartbeat import Heartbeat
from streams.errors import BrokerUnreachable
from streams.governing import Write
from streams.rulebook import Edition
from streams.runtime.living import ERRORS, Listening
from streams.runtime.policies_topic import Written, change
from streams.runtime.settings import Kafka

CONNECT_S = 8.0


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Who has a change in force, who has not (yet), and how long it took until the last had, its writing included."""

    having: Sequence[Heartbeat]
    lacking: Sequence[Heartbeat]
    seconds: float

    def of_roles(self) -> str:
        """`2 gate, 1 reviews`."""
        roles: dict[str, int] = {}
        for beat in self.having:
            roles[beat.role] = roles.get(beat.role, 0) + 1
        return ", ".join(f"{count} {role}" for role, count in sorted(roles.items())) or "nobody"


class Waiting(Listening):
    """Reads heartbeats from before a change on, so that its acknowledgements are heard as they come.

    async with Waiting(kafka) as waiting: ... change ...; await waiting.until(behind, timeout_s)
    """

    def __init__(self, kafka: Kafka) -> None:
        super().__init__(kafka)
        self._kafka = kafka
        self._opened_s = 0.0

    async def __aenter__(self) -> Waiting:
        try:
            await asyncio.wait_for(self.start(), CONNECT_S)
        except ERRORS as error:
            await self.__aexit__()
            raise BrokerUnreachable(
                f"no Kafka answers for {self.partition.topic} at {self._kafka.bootstrap} "
                f"({type(error).__name__}): start one with `sluicegate broker`, or say where yours is with --bootstrap "
                "or SLUICEGATE_BOOTSTRAP"
            ) from error
        self._opened_s = time.monotonic()
        return self

    async def __aexit__(self, *ignored: object) -> None:
        await self.stop()

    async def until(self, behind: int, timeout_s: float) -> Acknowledged:
        """Returns when all who live have everything before offset `behind` of `policies` in force, or after the time.

        Raises BrokerUnreachable.
        """
        started_s = time.monotonic()
        while True:
            living = self.workers.living(self.now_ms())
            lacking = [beat for beat in living if beat.policies_offset < behind]
            waited_s = time.monotonic() - started_s
            if not lacking or waited_s >= timeout_s:
                having = [beat for beat in living if beat.policies_offset >= behind]
                return Acknowledged(having, lacking, time.monotonic() - self._opened_s)
            try:
                await self.read(min(100, int((timeout_s - waited_s) * 1000) + 1))
            except ERRORS as error:
                raise BrokerUnreachable(f"the Kafka at {self._kafka.bootstrap} does not answer any more") from error


async def put_in_force(
    kafka: Kafka, make: Callable[[Edition], Sequence[Write]], timeout_s: float
) -> tuple[Edition, Written, Acknowledged]:
    """Writes what `make` wants, and waits for those who live; and what stood before.

    Raises what `make` and `change` raise.
    """
    async with Waiting(kafka) as waiting:
        before, written = await change(kafka, make)
        if written.at_ms is not None:
            waiting.hears(written.at_ms)
        return before, written, await waiting.until(written.behind, timeout_s)


def not_using(found: Acknowledged, versions: Mapping[str, int]) -> list[str]:
    """A sentence for each worker that has read these versions and does not use them."""
    told = []
    for beat in found.having:
        for workflow, version in versions.items():
            if beat.role != "executor" and beat.policies.get(workflow) != version:
                why = "; ".join(beat.troubles) or "it does not say why"
                told.append(f"{beat.worker} goes on with {workflow}@{beat.policies.get(workflow, 'none')}: {why}")
    return told
